// umbel keys add|list|revoke: the file of keys of a server (--keys).
#include <iostream>

#include "apps/exit.h"
#include "apps/table.h"
#include "apps/verb.h"
#include "base/utc.h"
#include "io/json.h"
#include "serve/keys/glob.h"
#include "serve/keys/key_file.h"

namespace umbel::apps {
namespace {

using serve::KeySpec;
using serve::Scope;

constexpr const char* kFooter = R"(
Examples:
  umbel keys add keys.json alice
  umbel keys add keys.json team-a --adapter 'team-a-*' --no-base --requests-per-minute 60 --tokens-per-minute 20000 --expires 90d
  umbel keys add keys.json prometheus --scope metrics
  umbel keys list keys.json
  umbel keys revoke keys.json alice
  umbel serve seedling --keys keys.json
`add` prints the new key once; the file holds its SHA-256 only. A running server reads a changed file by itself.)";

struct AddFlags {
  std::string file, name;
  std::vector<std::string> scopes = {"generate"};
  std::vector<std::string> adapters;
  bool no_base = false;
  serve::KeyLimits limits;
  std::string expires;
  bool json = false;
};

struct NameFlags {
  std::string file, name;
  bool json = false;
};

// "2027-01-31", "2027-01-31T12:00:00Z", or from now on: "90d", "12h".
Result<int64_t> expiry(const std::string& text, int64_t now_s) {
  constexpr int64_t kCountMax = 100000;
  const char unit = text.empty() ? '\0' : text.back();
  const std::string digits = text.substr(0, text.empty() ? 0 : text.size() - 1);
  const bool counted = (unit == 'd' || unit == 'h') && !digits.empty() && digits.size() <= 6 &&
                       digits.find_first_not_of("0123456789") == std::string::npos;
  if (counted) {
    const int64_t count = std::stoll(digits);
    if (count >= 1 && count <= kCountMax) return now_s + count * (unit == 'd' ? 86400 : 3600);
  }
  const Result<int64_t> moment = parse_utc(text);
  if (!moment.ok()) return invalid_argument("--expires " + text + ": expected 90d, 12h, 2027-01-31 or 2027-01-31T12:00:00Z");
  if (*moment <= now_s) return invalid_argument("--expires " + text + " is over already");
  return moment;
}

Result<KeySpec> spec_of(const AddFlags& flags, int64_t now_s) {
  KeySpec key{.name = flags.name, .base = !flags.no_base, .limits = flags.limits, .created_s = now_s};
  RETURN_IF_ERROR(serve::check_key_name(flags.name));
  for (const Scope scope : serve::kScopes) {
    if (std::count(flags.scopes.begin(), flags.scopes.end(), serve::scope_name(scope)) > 0) key.scopes.push_back(scope);
  }
  if (!flags.adapters.empty()) key.adapters = flags.adapters;
  for (const std::string& pattern : key.adapters) RETURN_IF_ERROR(serve::check_glob(pattern).with_context("--adapter"));
  if (!flags.expires.empty()) {
    ASSIGN_OR_RETURN(key.expires_s, expiry(flags.expires, now_s));
  }
  return key;
}

auto named(const std::string& name) {
  return [&name](const KeySpec& key) { return key.name == name; };
}

Status run_add(const AddFlags& flags) {
  ASSIGN_OR_RETURN(KeySpec key, spec_of(flags, utc_now_ms() / 1000));
  ASSIGN_OR_RETURN(const std::string text, serve::new_key());
  key.sha256 = serve::key_digest(text);
  RETURN_IF_ERROR(serve::edit_key_file(flags.file, [&](std::vector<KeySpec>& keys) {
    if (std::any_of(keys.begin(), keys.end(), named(key.name)))
      return Status(Code::kAlreadyExists, flags.file + " has a key \"" + key.name + "\" already; revoke it, or take another name");
    keys.push_back(key);
    return ok_status();
  }));
  if (flags.json) {
    std::cout << Json{{"name", key.name}, {"key", text}, {"sha256", key.sha256}, {"file", flags.file}}.dump() << "\n";
    return ok_status();
  }
  std::cout << text << "\n";
  std::cerr << "the key of \"" << key.name << "\" is shown this once; " << flags.file << " holds only its SHA-256\n";
  return ok_status();
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text.empty() ? "-" : text;
}

std::string limits_text(const serve::KeyLimits& limits) {
  std::vector<std::string> words;
  const auto add = [&](const char* name, const std::optional<int64_t>& limit) {
    if (limit) words.push_back(std::to_string(*limit) + name);
  };
  add(" req/min", limits.requests_per_minute);
  add(" tok/min", limits.tokens_per_minute);
  add(" running", limits.running);
  add(" queued", limits.queued);
  add(" body bytes", limits.body_bytes);
  return joined(words);
}

std::string expiry_text(const KeySpec& key, int64_t now_s) {
  if (!key.expires_s) return "-";
  return (*key.expires_s <= now_s ? "expired " : "") + utc_text_seconds(*key.expires_s);
}

Status run_list(const NameFlags& flags) {
  ASSIGN_OR_RETURN(const std::vector<KeySpec> keys, serve::read_key_file(flags.file));
  if (flags.json) {
    std::cout << serve::key_file_text(keys);
    return ok_status();
  }
  const int64_t now_s = utc_now_ms() / 1000;
  Table table({"name", "sha256", "scopes", "adapters", "base", "limits", "expires"});
  for (const KeySpec& key : keys) {
    std::vector<std::string> scopes;
    for (const Scope scope : key.scopes) scopes.emplace_back(serve::scope_name(scope));
    table.add({key.name, key.sha256.substr(0, 12), joined(scopes), joined(key.adapters), key.base ? "yes" : "no",
               limits_text(key.limits), expiry_text(key, now_s)});
  }
  std::cout << table.text();
  return ok_status();
}

Status run_revoke(const NameFlags& flags) {
  std::error_code error;
  if (!std::filesystem::exists(flags.file, error)) return not_found("no file of keys " + flags.file);
  RETURN_IF_ERROR(serve::edit_key_file(flags.file, [&](std::vector<KeySpec>& keys) {
    if (std::erase_if(keys, named(flags.name)) == 0) return not_found(flags.file + " has no key \"" + flags.name + "\"");
    return ok_status();
  }));
  if (flags.json) std::cout << Json{{"revoked", flags.name}, {"file", flags.file}}.dump() << "\n";
  return ok_status();
}

void declare_add(CLI::App& verb, Run& run) {
  auto flags = std::make_shared<AddFlags>();
  CLI::App* add = verb.add_subcommand("add", "make a key, add it to the file and print it once");
  add->add_option("FILE", flags->file, "file of keys; made when it is not there")->required();
  add->add_option("NAME", flags->name, "the key's name, in logs, metrics and usage")->required();
  add->add_option("--scope", flags->scopes, "generate, admin, metrics, jobs; several times for more")
      ->check(CLI::IsMember({"generate", "admin", "metrics", "jobs"}))
      ->capture_default_str();
  add->add_option("--adapter", flags->adapters, "pattern of adapters it may use (* and ?); several times for more; none = all");
  add->add_flag("--no-base", flags->no_base, "it may not use the base alone");
  const auto limit = [&](const char* flag, std::optional<int64_t>& into, const char* help) {
    add->add_option(flag, into, help)->check(CLI::Range(int64_t{1}, int64_t{1} << 50));
  };
  limit("--requests-per-minute", flags->limits.requests_per_minute, "requests a minute");
  limit("--tokens-per-minute", flags->limits.tokens_per_minute, "tokens of prompts and answers a minute");
  limit("--running", flags->limits.running, "answers made at once");
  limit("--queued", flags->limits.queued, "answers waiting at once");
  limit("--body-bytes", flags->limits.body_bytes, "bytes of one request's body");
  add->add_option("--expires", flags->expires, "90d, 12h, 2027-01-31 or 2027-01-31T12:00:00Z");
  add->add_flag("--json", flags->json, "name, key and digest as JSON");
  add->footer(kFooter);
  add->callback([flags, &run] { run = [flags] { return finish(run_add(*flags)); }; });
}

}  // namespace

void add_keys(CLI::App& program, Run& run) {
  CLI::App* verb = program.add_subcommand("keys", "add, list and revoke the API keys of a server");
  verb->require_subcommand(1);
  verb->footer(kFooter);
  declare_add(*verb, run);
  auto listed = std::make_shared<NameFlags>();
  CLI::App* list = verb->add_subcommand("list", "names, scopes, adapters, limits and expiry");
  list->add_option("FILE", listed->file, "file of keys")->required();
  list->add_flag("--json", listed->json, "the keys as JSON, one a line, as the file has them");
  list->footer(kFooter);
  list->callback([listed, &run] { run = [listed] { return finish(run_list(*listed)); }; });
  auto revoked = std::make_shared<NameFlags>();
  CLI::App* revoke = verb->add_subcommand("revoke", "take a key out of the file");
  revoke->add_option("FILE", revoked->file, "file of keys")->required();
  revoke->add_option("NAME", revoked->name, "the key's name")->required();
  revoke->add_flag("--json", revoked->json, "what was revoked as JSON");
  revoke->footer(kFooter);
  revoke->callback([revoked, &run] { run = [revoked] { return finish(run_revoke(*revoked)); }; });
}

}  // namespace umbel::apps
