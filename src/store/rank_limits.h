// RankLimits: the largest rank of an adapter that is loaded, by kind. A row of a FLoRA (or HiRA) adapter of rank r costs r rows,
// one of a LoRA far less, so one number would not do.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/status.h"

namespace umbel {

struct RankLimits {
  int32_t other = 4096;  // kinds that are not in the list
  std::map<std::string, int32_t, std::less<>> by_kind = {{"flora", 128}, {"hira", 128}};

  int32_t of(std::string_view kind) const {
    const auto found = by_kind.find(kind);
    return found == by_kind.end() ? other : found->second;
  }
};

// "64" (all kinds), or "lora=256,flora=32" (the others as they are by default). kInvalidArgument names the known kinds.
Result<RankLimits> parse_rank_limits(std::string_view text);
// kUnsupported with both numbers, the kind and the flag, when the rank is over its kind's limit.
Status check_rank(const RankLimits& limits, std::string_view kind, int64_t rank);

}  // namespace umbel
