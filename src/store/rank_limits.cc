#include "store/rank_limits.h"

#include <charconv>
#include <optional>

#include "adapters/registry.h"

namespace umbel {
namespace {

constexpr int32_t kRankMost = 4096;  // step memory is planned for no more

std::optional<int32_t> whole_number(std::string_view text) {
  int32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool good = error == std::errc() && end == text.data() + text.size() && value >= 1 && value <= kRankMost;
  return good ? std::optional(value) : std::nullopt;
}

std::string known_kinds() {
  std::string kinds;
  for (const std::string& type : kind_types()) kinds += (kinds.empty() ? "" : ", ") + std::string(kind_name(type));
  return kinds;
}

bool is_kind(std::string_view name) {
  for (const std::string& type : kind_types()) {
    if (kind_name(type) == name) return true;
  }
  return false;
}

}  // namespace

Result<RankLimits> parse_rank_limits(std::string_view text) {
  const std::string rule = "--max-rank is one number, or a list like lora=256,flora=32 (kinds: " + known_kinds() + "), each from 1 to " +
                           std::to_string(kRankMost);
  if (const auto all = whole_number(text)) return RankLimits{.other = *all, .by_kind = {}};
  RankLimits limits;
  while (true) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view item = text.substr(0, comma);
    const size_t equals = std::min(item.find('='), item.size());
    const auto number = whole_number(item.substr(std::min(equals + 1, item.size())));
    if (!number || !is_kind(item.substr(0, equals))) return invalid_argument(rule);
    limits.by_kind[std::string(item.substr(0, equals))] = *number;
    if (comma == text.size()) return limits;
    text.remove_prefix(comma + 1);
  }
}

Status check_rank(const RankLimits& limits, std::string_view kind, int64_t rank) {
  if (rank <= limits.of(kind)) return ok_status();
  return unsupported("adapter_config.json: the rank " + std::to_string(rank) + " is over the limit of " + std::to_string(limits.of(kind)) +
                     " for adapters of kind " + std::string(kind) + " (--max-rank)");
}

}  // namespace umbel
