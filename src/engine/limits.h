// Limits: every maximum of the engine, and the memory that follows from them, computed and printed before it is taken.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/status.h"
#include "models/model.h"

namespace umbel {

struct Limits {
  int32_t context_max = 0;         // tokens of one sequence, prompt + answer; 0 = the model's
  int32_t sequences_max = 64;      // running at once
  int32_t step_tokens_max = 512;   // token budget of one step, cost-weighted (a FLoRA row of rank r weighs r)
  int32_t queue_max = 1024;        // waiting requests; past it kOverloaded
  int32_t tenant_running_max = 0;  // running sequences of one tenant; 0 = no limit of its own; TenantCaps go first
  int32_t tenant_queue_max = 0;    // waiting requests of one tenant, as above
  int32_t adapter_running_max = 0;  // running sequences of one adapter (one version, not the base); 0 = none
  int32_t adapter_queue_max = 0;    // waiting requests of one adapter, as above
  int32_t kv_blocks = 0;           // 0 = from kv_bytes
  size_t kv_bytes = 0;             // 0 = chosen from free memory
  int32_t prompt_logprob_rows_max = 64;  // logits rows held at once
  int32_t prefill_chunk_max = 512;
  int32_t adapter_rank_max = 4096;  // largest sum of low-rank ranks over one row's adapter; sizes scratch memory
  int32_t adapter_vocab_extra = 1024;  // tokens that an adapter's own vocabulary may have beyond the base's; sizes logits
  bool prefix_cache = true;
};

struct MemoryPlan {
  size_t weights_bytes = 0;
  size_t kv_bytes = 0;
  size_t scratch_bytes = 0;
  size_t adapters_bytes = 0;  // budget
  size_t total_bytes() const { return weights_bytes + kv_bytes + scratch_bytes + adapters_bytes; }
  std::string to_string() const;
};

// Fills the zeros of limits from the model and the machine's free memory; kOutOfMemory with the numbers when it cannot fit.
Result<MemoryPlan> plan_memory(const Model& model, size_t adapters_bytes, Limits& limits);

}  // namespace umbel
