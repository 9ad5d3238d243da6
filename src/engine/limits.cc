#include "engine/limits.h"

#include <algorithm>
#include <cstdio>

#include "base/log.h"
#include "engine/memory_probe.h"
#include "engine/runner.h"
#include "engine/scheduler.h"

namespace umbel {
namespace {

// Left to the operating system, thread stacks, HTTP and the tokenizer.
constexpr double kUsableShare = 0.9;
// A context chosen by us is not made shorter than this for lack of memory.
constexpr int32_t kContextFloor = 2048;

std::string mebibytes(size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  return text;
}

Status check_limits(const Model& model, const Limits& limits) {
  const int64_t context = model.config().max_position_embeddings;
  if (limits.context_max < 0 || limits.context_max > context) {
    return Status(Code::kTooLong, "a context of " + std::to_string(limits.context_max) +
                                      " tokens is asked for, but the model has " + std::to_string(context));
  }
  const auto below = [](int32_t value, int32_t least) { return value < least; };
  if (below(limits.sequences_max, 1)) return invalid_argument("sequences_max must be at least 1");
  if (below(limits.step_tokens_max, 1)) return invalid_argument("step_tokens_max must be at least 1");
  if (below(limits.queue_max, 1)) return invalid_argument("queue_max must be at least 1");
  if (below(limits.prefill_chunk_max, 1)) return invalid_argument("prefill_chunk_max must be at least 1");
  if (below(limits.prompt_logprob_rows_max, 1)) return invalid_argument("prompt_logprob_rows_max must be at least 1");
  if (below(limits.kv_blocks, 0)) return invalid_argument("kv_blocks must be at least 0");
  return ok_status();
}

Status does_not_fit(const MemoryPlan& plan, size_t available) {
  return Status(Code::kOutOfMemory,
                "the memory plan does not fit: " + plan.to_string() + ", but only " + mebibytes(available) +
                    " are free beside the weights; make the context, the KV memory or the adapters' budget smaller");
}

// Memory of logits, rows, sampling, and the kernels' scratch.
size_t step_bytes(const Model& model, const Limits& limits) {
  const size_t vocab = model.config().vocab_size;
  const size_t logits = static_cast<size_t>(step_logit_rows_max(limits)) * vocab * sizeof(float);
  const size_t sampling = vocab * 16 * 16;  // SamplerScratch of 16 threads
  return logits + sampling + model.scratch_bytes(step_rows_max(limits), step_logit_rows_max(limits),
                                                 limits.adapter_rank_max);
}

}  // namespace

std::string MemoryPlan::to_string() const {
  return "weights " + mebibytes(weights_bytes) + " + KV cache " + mebibytes(kv_bytes) + " + step " +
         mebibytes(scratch_bytes) + " + adapters at most " + mebibytes(adapters_bytes) + " = " +
         mebibytes(total_bytes());
}

Result<MemoryPlan> plan_memory(const Model& model, size_t adapters_bytes, Limits& limits) {
  RETURN_IF_ERROR(check_limits(model, limits));
  MemoryPlan plan{.weights_bytes = model.weight_bytes(), .adapters_bytes = adapters_bytes};
  plan.scratch_bytes = step_bytes(model, limits);
  const size_t available = available_memory_bytes();  // the weights are there already
  const size_t usable = static_cast<size_t>(static_cast<double>(available) * kUsableShare);
  const size_t taken = plan.scratch_bytes + plan.adapters_bytes;
  const size_t room = usable - std::min(usable, taken);
  const size_t block_bytes = model.kv_shape().block_bytes();

  const bool chosen_context = limits.context_max == 0;
  if (chosen_context) limits.context_max = static_cast<int32_t>(model.config().max_position_embeddings);
  if (limits.kv_blocks == 0 && limits.kv_bytes == 0) {
    // Room for every sequence's whole context where there is plenty, else half of what is free.
    const size_t wanted = static_cast<size_t>(limits.sequences_max) * blocks_for(limits.context_max);
    const size_t one = blocks_for(limits.context_max);
    const size_t half = std::max(room / 2 / block_bytes, std::min(room / block_bytes, one));
    limits.kv_blocks = static_cast<int32_t>(std::min<size_t>({wanted, half, INT32_MAX / kernels::kKvBlockSize}));
  } else if (limits.kv_blocks == 0) {
    limits.kv_blocks = static_cast<int32_t>(std::min<size_t>(limits.kv_bytes / block_bytes, INT32_MAX / kernels::kKvBlockSize));
  }
  limits.kv_bytes = static_cast<size_t>(limits.kv_blocks) * block_bytes;
  plan.kv_bytes = limits.kv_bytes;
  const int32_t kv_tokens = limits.kv_blocks * kernels::kKvBlockSize;
  if (chosen_context && kv_tokens < limits.context_max && kv_tokens >= std::min(kContextFloor, limits.context_max)) {
    LOG_WARN("the context is cut from {} to {} tokens: there is no memory for more", limits.context_max, kv_tokens);
    limits.context_max = kv_tokens;
  }
  if (plan.kv_bytes > room || kv_tokens < kernels::kKvBlockSize || (chosen_context && kv_tokens < limits.context_max)) {
    plan.kv_bytes = std::max(plan.kv_bytes, blocks_for(limits.context_max) * block_bytes);
    return does_not_fit(plan, available);
  }
  return plan;
}

}  // namespace umbel
