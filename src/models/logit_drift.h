// How far two ways of computing one model are apart: logits of whole sequences, teacher-forced, compared row by row.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "adapters/adapter.h"
#include "base/threads.h"
#include "kernels/choice.h"
#include "models/model.h"

namespace umbel {

// Logits [tokens, vocab] of one sequence under an adapter (null: the base alone), in one pass with a KV cache of its own.
// 1 <= tokens <= model.config().context_length(). One thread calls; the pool computes.
std::vector<float> sequence_logits(const Model& model, const kernels::Choice& choice, ThreadPool& pool,
                                   std::span<const int32_t> tokens, const Adapter* adapter);

// Running comparison of logits `first` with `second`, both [rows, vocab].
class LogitDrift {
 public:
  void add(std::span<const float> first, std::span<const float> second, int64_t vocab);

  int64_t rows() const { return rows_; }
  double largest() const { return largest_; }  // of |first - second|
  double mean() const;                         // of |first - second|
  double top1_agreement() const;               // share of rows whose largest logit is the same token's
  double divergence() const;                   // mean over rows of KL(first || second), nats

 private:
  int64_t rows_ = 0;
  int64_t same_top_ = 0;
  double largest_ = 0;
  double sum_ = 0;
  int64_t count_ = 0;
  double divergence_ = 0;
};

}  // namespace umbel
