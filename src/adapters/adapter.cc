#include "adapters/adapter.h"

#include <algorithm>

namespace umbel {

std::string AdapterReport::coverage() const {
  std::string text =
      "applied " + std::to_string(targets_applied) + " of " + std::to_string(targets_declared) + " targets";
  if (modules_saved > 0) text += ", " + std::to_string(modules_saved) + " modules saved whole";
  return text;
}

LinearTerms& Adapter::edit_linear(int32_t target) {
  return linear_index_[target] < 0 ? add_linear(target) : linear_terms_[linear_index_[target]];
}

LinearTerms& Adapter::add_linear(int32_t target) {
  CHECK(linear_index_[target] < 0, "a target gets its terms once");
  linear_index_[target] = static_cast<int32_t>(linear_terms_.size());
  return linear_terms_.emplace_back();
}

EmbeddingTerms& Adapter::add_embedding() {
  has_embedding_ = true;
  return embedding_;
}

float* Adapter::keep_f32(Tensor tensor) {
  float* data = tensor.f32();
  keep(std::move(tensor));
  return data;
}

const void* Adapter::keep(Tensor tensor) {
  bytes_ += tensor.bytes();
  return tensors_.emplace_back(std::move(tensor)).data();
}

const kernels::FrozenMatrix* Adapter::keep(kernels::FrozenMatrix matrix) {
  bytes_ += matrix.bytes();
  return matrices_.emplace_back(std::make_unique<kernels::FrozenMatrix>(std::move(matrix))).get();
}

void Adapter::finish() {
  cost_ = 1;
  rank_max_ = 0;
  for (const LinearTerms& terms : linear_terms_) {
    cost_ = std::max(cost_, static_cast<int32_t>(terms.scale.size()));
    int32_t rank = 0;
    for (const LowRankTerm& term : terms.low_rank) rank += term.rank;
    rank_max_ = std::max(rank_max_, rank);
  }
  bytes_ += linear_terms_.size() * sizeof(LinearTerms) + linear_index_.size() * (sizeof(int32_t) + sizeof(float*));
}

}  // namespace umbel
