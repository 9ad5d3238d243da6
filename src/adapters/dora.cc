#include "adapters/dora.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace umbel {
namespace {

constexpr int64_t kRowsPerTask = 32;

// The factors in f32: as they are, or widened into `wide`.
const float* widened(const LowRankTerm& term, const void* factor, int64_t count, std::vector<float>& wide) {
  if (term.dtype == DType::kF32) return static_cast<const float*>(factor);
  wide.resize(static_cast<size_t>(count));
  widen_to_f32(term.dtype, factor, wide.data(), wide.size());
  return wide.data();
}

}  // namespace

void dora_row_norms(const Target& target, const LowRankTerm& term, std::span<float> norms, ThreadPool* pool) {
  const int64_t in = target.in;
  std::vector<float> a_wide, b_wide;
  const float* a = widened(term, term.a, term.rank * in, a_wide);
  const float* b_t = widened(term, term.b_t, term.rank * target.out, b_wide);
  const int64_t tasks = (target.out + kRowsPerTask - 1) / kRowsPerTask;
  std::vector<float> rows(static_cast<size_t>(in * (pool != nullptr ? pool->threads() : 1)));
  const auto some_rows = [&](int64_t task, int worker) {
    float* row = rows.data() + in * worker;
    for (int64_t out = task * kRowsPerTask; out < std::min(target.out, (task + 1) * kRowsPerTask); ++out) {
      read_weight_row(target, out, row);
      for (int32_t j = 0; j < term.rank; ++j) {
        const float factor = term.scale * b_t[j * target.out + out];
        const float* a_row = a + j * in;
        for (int64_t i = 0; i < in; ++i) row[i] += factor * a_row[i];
      }
      double sum = 0.0;
      for (int64_t i = 0; i < in; ++i) sum += static_cast<double>(row[i]) * row[i];
      norms[out] = static_cast<float>(std::sqrt(sum));
    }
  };
  if (pool != nullptr) {
    pool->parallel_for(tasks, some_rows);
  } else {
    for (int64_t task = 0; task < tasks; ++task) some_rows(task, 0);
  }
}

}  // namespace umbel
