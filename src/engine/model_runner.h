// ModelRunner: runs steps on the CPU: owns the KV cache, the step's arena and the logits.
#pragma once

#include <memory>
#include <vector>

#include "base/arena.h"
#include "base/threads.h"
#include "engine/limits.h"
#include "engine/runner.h"
#include "kernels/context.h"
#include "models/model.h"
#include "nn/kv_cache.h"

namespace umbel {

class ModelRunner final : public Runner {
 public:
  // pool outlives this. limits as filled by plan_memory: the memory is taken here, once.
  ModelRunner(std::shared_ptr<const Model> model, const kernels::Choice& choice, ThreadPool& pool, const Limits& limits);
  Ticket launch(const Plan& plan) override;
  ConstMatrixF collect(Ticket ticket) override;

 private:
  const std::shared_ptr<const Model> model_;
  const kernels::Choice choice_;
  Arena scratch_;
  kernels::Context context_;
  KvCache kv_;
  Batch batch_;
  int64_t logits_width_;  // the base's vocabulary, and room for tokens that adapters add
  std::vector<float> logits_;
  MatrixF wanted_;
  uint64_t launched_ = 0;
};

}  // namespace umbel
