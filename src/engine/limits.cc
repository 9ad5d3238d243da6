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
  const int64_t context = model.config().context_length();
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
  for (const int32_t cap : {limits.tenant_running_max, limits.tenant_queue_max, limits.adapter_running_max,
                            limits.adapter_queue_max}) {
    if (below(cap, 0)) return invalid_argument("the caps of tenants and adapters must be at least 0 (none)");
  }
  if (below(limits.adapter_vocab_extra, 0)) return invalid_argument("adapter_vocab_extra must be at least 0");
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
  const size_t vocab = model.config().vocab_size + limits.adapter_vocab_extra;
  const size_t logits = static_cast<size_t>(step_logit_rows_max(limits)) * vocab * sizeof(float);
  const size_t sampling = vocab * 16 * 16;  // SamplerScratch of 16 threads
  return logits + sampling + model.scratch_bytes(step_rows_max(limits), step_logit_rows_max(limits),
                                                 limits.adapter_rank_max);
}

// Room for every sequence's whole context where there is plenty; else half of what is free, but at least one context.
int32_t choose_kv_blocks(const Limits& limits, size_t room, size_t block_bytes) {
  size_t blocks = limits.kv_blocks;
  if (blocks == 0 && limits.kv_bytes > 0) blocks = limits.kv_bytes / block_bytes;
  if (blocks == 0 && limits.kv_bytes == 0) {
    const size_t one = blocks_for(limits.context_max);
    const size_t half = std::max(room / 2 / block_bytes, std::min(room / block_bytes, one));
    blocks = std::min(limits.sequences_max * one, half);
  }
  return static_cast<int32_t>(std::min<size_t>(blocks, INT32_MAX / kernels::kKvBlockSize));
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
  const bool chosen_kv = limits.kv_blocks == 0 && limits.kv_bytes == 0;
  if (chosen_context) limits.context_max = static_cast<int32_t>(model.config().context_length());
  limits.kv_blocks = choose_kv_blocks(limits, room, block_bytes);
  limits.kv_bytes = static_cast<size_t>(limits.kv_blocks) * block_bytes;
  plan.kv_bytes = limits.kv_bytes;
  const int32_t kv_tokens = limits.kv_blocks * kernels::kKvBlockSize;
  if (chosen_context && kv_tokens < limits.context_max && kv_tokens >= std::min(kContextFloor, limits.context_max)) {
    LOG_WARN("the context is cut from {} to {} tokens: there is no memory for more", limits.context_max, kv_tokens);
    limits.context_max = kv_tokens;
  }
  // KV memory that was asked for may be smaller than a whole context: longer requests are refused by number.
  const bool too_little = limits.kv_blocks == 0 || (chosen_kv && kv_tokens < limits.context_max);
  if (too_little) plan.kv_bytes = static_cast<size_t>(blocks_for(limits.context_max)) * block_bytes;
  if (too_little || plan.kv_bytes > room) return does_not_fit(plan, available);
  return plan;
}

}  // namespace umbel
