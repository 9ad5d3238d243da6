#include <cmath>

#include "adapters/parts.h"

namespace umbel {

std::vector<float> dora_row_norms(const Target& target, const LowRankTerm& term) {
  const int64_t in = target.in;
  std::vector<float> a(static_cast<size_t>(term.rank) * in);
  widen_to_f32(term.dtype, term.a, a.data(), a.size());
  std::vector<float> b_t(static_cast<size_t>(term.rank) * target.out);
  widen_to_f32(term.dtype, term.b_t, b_t.data(), b_t.size());

  std::vector<float> norms(target.out);
  std::vector<float> row(in);
  for (int64_t out = 0; out < target.out; ++out) {
    read_weight_row(target, out, row.data());
    for (int32_t j = 0; j < term.rank; ++j) {
      const float factor = term.scale * b_t[j * target.out + out];
      const float* a_row = a.data() + j * in;
      for (int64_t i = 0; i < in; ++i) row[i] += factor * a_row[i];
    }
    double sum = 0.0;
    for (int64_t i = 0; i < in; ++i) sum += static_cast<double>(row[i]) * row[i];
    norms[out] = static_cast<float>(std::sqrt(sum));
  }
  return norms;
}

}  // namespace umbel
