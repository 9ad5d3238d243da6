#include "adapters/bounds.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace umbel {
namespace {

// std::max and comparisons lose a NaN; this keeps it.
double larger(double a, double b) { return a > b || std::isnan(a) ? a : b; }

double largest(const float* values, int64_t count) {
  if (values == nullptr) return 1.0;
  double result = 0.0;
  for (int64_t i = 0; i < count; ++i) result = larger(std::fabs(static_cast<double>(values[i])), result);
  return result;
}

// Rows of a matrix of either type, in f32.
std::vector<float> row_of(const void* data, DType dtype, int64_t row, int64_t stride, int64_t count) {
  const auto* first = static_cast<const std::byte*>(data) + static_cast<size_t>(row * stride) * size_of(dtype);
  const Tensor wide = Tensor::widened({dtype, {count}, first});
  return {wide.f32(), wide.f32() + count};
}

double growth_of(const LowRankTerm& term, const Target& target) {
  double sum = 0.0;
  for (int32_t j = 0; j < term.rank; ++j) {
    double in = 0.0, out = 0.0;
    for (const float value : row_of(term.a, term.dtype, j, term.a_stride, target.in)) in += std::fabs(static_cast<double>(value));
    for (const float value : row_of(term.b_t, term.dtype, j, term.b_stride, target.out)) {
      out = larger(std::fabs(static_cast<double>(value)), out);
    }
    sum += in * out;
  }
  return std::fabs(static_cast<double>(term.scale)) * largest(term.u, target.out) * largest(term.v, term.rank) * sum;
}

double growth_of(const LinearTerms& terms, const Target& target) {
  double sum = 0.0;
  for (const ScaleTerm& term : terms.scale) sum += largest(term.pre, target.in) * largest(term.post, target.out);
  for (const LowRankTerm& term : terms.low_rank) sum += growth_of(term, target);
  return sum;
}

double growth_of(const EmbeddingTerms& terms, const Target& target) {
  double sum = 0.0;
  for (int32_t j = 0; j < terms.rank; ++j) {
    double in = 0.0;
    for (int64_t token = 0; token < target.in; ++token) {
      in = larger(std::fabs(static_cast<double>(terms.a_t[token * terms.rank + j])), in);
    }
    sum += in * largest(terms.b_t + j * target.out, target.out);
  }
  return std::fabs(static_cast<double>(terms.scale)) * sum;
}

}  // namespace

Status check_growth(const Adapter& adapter, const TargetTable& targets) {
  for (int32_t index = 0; index < targets.size(); ++index) {
    const Target& target = targets[index];
    double growth = 0.0;
    if (const LinearTerms* terms = adapter.linear(index)) growth = growth_of(*terms, target);
    if (target.kind == TargetKind::kEmbedding && adapter.embedding() != nullptr) growth = growth_of(*adapter.embedding(), target);
    if (growth <= kAdapterGrowthMax) continue;  // not so for a NaN
    char number[32];
    std::snprintf(number, sizeof number, "%.3g", growth);
    return data_loss("adapter_model.safetensors: the terms of " + target.path + " may enlarge their input " + number +
                     " times, which f32 can't hold to the end; the training run broke, use an earlier checkpoint");
  }
  return ok_status();
}

}  // namespace umbel
