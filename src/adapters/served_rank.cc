#include "adapters/served_rank.h"

namespace umbel {

int64_t served_rank(std::string_view peft_type, int64_t rank) {
  if (peft_type != "LOHA" || rank < 0) return rank;
  constexpr int64_t kRootMost = 3'037'000'499;  // of INT64_MAX
  return rank > kRootMost ? INT64_MAX : rank * rank;
}

}  // namespace umbel
