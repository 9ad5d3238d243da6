#include "serve/keys/usage.h"

#include <array>

namespace umbel::serve {
namespace {

Json limits_json(const KeyLimits& limits) {
  const auto value = [](const std::optional<int64_t>& limit) { return limit ? Json(*limit) : Json(nullptr); };
  return {{"requests_per_minute", value(limits.requests_per_minute)},
          {"tokens_per_minute", value(limits.tokens_per_minute)},
          {"running", value(limits.running)},
          {"queued", value(limits.queued)},
          {"body_bytes", value(limits.body_bytes)}};
}

constexpr size_t kKeyLabelsMax = 1000;
constexpr const char* kOtherKeys = "(other)";  // no key can have this name

struct Series {
  const char* name;
  const char* help;
  int64_t KeyUsage::* value;
};
constexpr std::array<Series, 4> kSeries = {{
    {"umbel_key_requests_total", "Requests let in, by key.", &KeyUsage::requests},
    {"umbel_key_rate_limited_total", "Requests refused by a limit a minute, by key.", &KeyUsage::rate_limited},
    {"umbel_key_prompt_tokens_total", "Prompt tokens, by key.", &KeyUsage::prompt_tokens},
    {"umbel_key_generated_tokens_total", "Tokens generated, by key.", &KeyUsage::answer_tokens},
}};

}  // namespace

std::vector<KeyRef> usage_shown(const std::vector<KeyRef>& keys, const Caller& caller) {
  if (has_scope(caller, Scope::kAdmin)) return keys;
  return {caller.identity};
}

Json usage_json(const std::vector<KeyRef>& keys) {
  Json data = Json::array();
  for (const KeyRef& key : keys) {
    const KeyUsage usage = key->tenant->usage();
    data.push_back({{"key", key->spec.name},
                    {"requests", usage.requests},
                    {"rate_limited", usage.rate_limited},
                    {"prompt_tokens", usage.prompt_tokens},
                    {"completion_tokens", usage.answer_tokens},
                    {"total_tokens", usage.prompt_tokens + usage.answer_tokens},
                    {"limits", limits_json(key->spec.limits)}});
  }
  return {{"object", "list"}, {"data", std::move(data)}};
}

std::string audit_exposition(const AuditLog& audit) {
  std::string text;
  const auto add = [&](const std::string& name, const char* help, int64_t value) {
    text += "# HELP " + name + " " + help + "\n# TYPE " + name + " counter\n" + name + " " + std::to_string(value) + "\n";
  };
  add("umbel_audit_lines_total", "Lines written to the audit log.", audit.lines_written());
  add("umbel_audit_lost_lines_total", "Lines that the disk refused or was too slow for.", audit.lines_lost());
  return text;
}

std::string usage_exposition(const std::vector<KeyRef>& keys) {
  std::string text;
  for (const Series& series : kSeries) {
    if (keys.empty()) break;
    text += std::string("# HELP ") + series.name + " " + series.help + "\n# TYPE " + series.name + " counter\n";
    const auto add = [&](const std::string& label, int64_t value) {
      text += std::string(series.name) + "{key=\"" + label + "\"} " + std::to_string(value) + "\n";
    };
    int64_t others = 0;
    for (size_t i = 0; i < keys.size(); ++i) {
      const int64_t value = keys[i]->tenant->usage().*series.value;
      if (i < kKeyLabelsMax) {
        add(keys[i]->spec.name, value);
      } else {
        others += value;
      }
    }
    if (keys.size() > kKeyLabelsMax) add(kOtherKeys, others);
  }
  return text;
}

}  // namespace umbel::serve
