#include "engine/room.h"

#include <algorithm>
#include <string>

namespace umbel {
namespace {

int64_t kv_tokens(const Limits& limits) { return static_cast<int64_t>(limits.kv_blocks) * kernels::kKvBlockSize; }

}  // namespace

int64_t request_tokens_max(const Limits& limits) { return std::min<int64_t>(limits.context_max, kv_tokens(limits)); }

Status check_room(const Limits& limits, int64_t prompt_tokens, int64_t answer_tokens) {
  const int64_t most = request_tokens_max(limits);
  const int64_t asked = prompt_tokens + answer_tokens;
  if (asked <= most) return ok_status();
  const char* const what =
      most == limits.context_max ? "This model's maximum context length is " : "The KV memory has room for ";
  return Status(Code::kTooLong, what + std::to_string(most) + " tokens, but " + std::to_string(asked) +
                                    " were asked for: " + std::to_string(prompt_tokens) + " in the prompt and " +
                                    std::to_string(answer_tokens) + " for the answer");
}

}  // namespace umbel
