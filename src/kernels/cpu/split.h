// How rows are cut into tasks. A cut never changes a result (batch invariance), only who computes it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/context.h"

namespace umbel::kernels {

// Below this much work a parallel loop costs more than it saves (waking a worker takes about as long as 30'000 elements).
inline constexpr int64_t kTaskElements = 32768;

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Calls body(row_begin, row_end) over [0, rows) in parallel; a row costs row_elements units of work.
template <typename Body>
void for_rows(Context& context, int64_t rows, int64_t row_elements, const Body& body) {
  const int64_t per_task = std::max<int64_t>(1, kTaskElements / std::max<int64_t>(1, row_elements));
  context.pool.parallel_for(ceil_div(rows, per_task), [&](int64_t task, int) {
    body(task * per_task, std::min(rows, (task + 1) * per_task));
  });
}

// Calls body(col_begin, col_count) over [0, cols) in parallel: where a sum runs over rows, tasks never share an element of it.
template <typename Body>
void for_cols(Context& context, int64_t cols, const Body& body) {
  constexpr int64_t kCols = 128;
  context.pool.parallel_for(ceil_div(cols, kCols),
                            [&](int64_t task, int) { body(task * kCols, std::min(kCols, cols - task * kCols)); });
}

}  // namespace umbel::kernels
