#include "adapters/merge.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace umbel {
namespace {

struct WideTerm {
  const LowRankTerm* term;
  std::vector<float> a;    // [rank, in], v multiplied in
  std::vector<float> b_t;  // [rank, out], u and scale multiplied in
};

WideTerm widen(const LowRankTerm& term, int64_t in, int64_t out) {
  WideTerm wide{&term, std::vector<float>(term.rank * in), std::vector<float>(term.rank * out)};
  const size_t size = size_of(term.dtype);
  for (int32_t j = 0; j < term.rank; ++j) {
    float* a = wide.a.data() + j * in;
    float* b = wide.b_t.data() + j * out;
    widen_to_f32(term.dtype, static_cast<const std::byte*>(term.a) + j * term.a_stride * size, a, in);
    widen_to_f32(term.dtype, static_cast<const std::byte*>(term.b_t) + j * term.b_stride * size, b, out);
    const float v = term.v == nullptr ? 1.0f : term.v[j];
    for (int64_t i = 0; i < in; ++i) a[i] *= v;
    for (int64_t o = 0; o < out; ++o) b[o] *= term.scale * (term.u == nullptr ? 1.0f : term.u[o]);
  }
  return wide;
}

// row o of sum_k diag(post_k) W diag(pre_k), summed in double.
void scale_row(const std::vector<ScaleTerm>& scale, int64_t o, std::vector<float>& row) {
  if (scale.empty()) return;
  for (size_t i = 0; i < row.size(); ++i) {
    double factor = 0.0;
    for (const ScaleTerm& term : scale) {
      factor += static_cast<double>(term.post == nullptr ? 1.0f : term.post[o]) *
                static_cast<double>(term.pre == nullptr ? 1.0f : term.pre[i]);
    }
    row[i] = static_cast<float>(row[i] * factor);
  }
}

}  // namespace

MergedLinear merge_linear(const Target& target, const LinearTerms* terms) {
  static const LinearTerms kNone;
  const LinearTerms& all = terms == nullptr ? kNone : *terms;
  const kernels::FrozenMatrix& weight = all.own_weight != nullptr ? *all.own_weight : *target.weight;
  MergedLinear merged{Tensor(DType::kF32, {weight.out(), target.in}), {}};
  std::vector<WideTerm> low_rank;
  for (const LowRankTerm& term : all.low_rank) low_rank.push_back(widen(term, target.in, weight.out()));
  std::vector<float> row(target.in);
  for (int64_t o = 0; o < weight.out(); ++o) {
    weight.read_row(o, row.data());
    scale_row(all.scale, o, row);
    for (const WideTerm& wide : low_rank) {
      for (int32_t j = 0; j < wide.term->rank; ++j) {
        const float factor = wide.b_t[j * weight.out() + o];
        const float* a = wide.a.data() + j * target.in;
        for (int64_t i = 0; i < target.in; ++i) row[i] += factor * a[i];
      }
    }
    std::memcpy(merged.weight.f32() + o * target.in, row.data(), row.size() * sizeof(float));
  }
  const float* bias = all.bias != nullptr ? all.bias : target.vector;
  if (bias != nullptr) {
    merged.bias = Tensor(DType::kF32, {target.out});
    std::copy_n(bias, target.out, merged.bias.f32());
  }
  return merged;
}

Tensor merge_embedding(const Target& target, const EmbeddingTerms* terms) {
  const bool own = terms != nullptr && terms->own_table != nullptr;
  const int64_t rows = own && terms->table_rows > 0 ? terms->table_rows : target.in;
  const int64_t dim = target.out;
  Tensor table(DType::kF32, {rows, dim});
  for (int64_t token = 0; token < rows; ++token) {
    float* row = table.f32() + token * dim;
    if (own) {
      std::copy_n(terms->own_table + token * dim, dim, row);
    } else {
      read_weight_row(target, token, row);
    }
    for (int32_t j = 0; terms != nullptr && j < terms->rank; ++j) {
      const float factor = terms->scale * terms->a_t[token * terms->rank + j];
      for (int64_t i = 0; i < dim; ++i) row[i] += factor * terms->b_t[j * dim + i];
    }
  }
  if (terms == nullptr) return table;
  for (size_t i = 0; i < terms->replaced_tokens.size(); ++i) {
    std::copy_n(terms->replaced_rows + i * dim, dim, table.f32() + terms->replaced_tokens[i] * dim);
  }
  return table;
}

}  // namespace umbel
