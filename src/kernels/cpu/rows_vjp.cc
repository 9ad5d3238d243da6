// Backward of the row-wise kernels, the row scale and the loss.
#include <algorithm>
#include <cmath>

#include "kernels/api_vjp.h"
#include "kernels/cpu/gemm_add.h"
#include "kernels/cpu/split.h"
#include "kernels/table.h"

namespace umbel::kernels {
namespace {

constexpr int64_t kExpCost = 4;

}  // namespace

void rms_norm_vjp(Context& context, ConstMatrixF x, PerRow gain, float epsilon, ConstMatrixF dy, MatrixF dx, Write write) {
  CHECK(x.rows == dy.rows && x.cols == dy.cols && dx.rows == x.rows && dx.cols == x.cols, "rms_norm_vjp: shapes differ");
  const auto leaf = write == Write::kAdd ? context.table.vjp.rms_norm_add : context.table.vjp.rms_norm;
  for_rows(context, x.rows, 3 * x.cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) leaf({x.row(i), gain[i], epsilon, x.cols}, dy.row(i), dx.row(i));
  });
}

void layer_norm_vjp(Context& context, ConstMatrixF x, const Affine& affine, ConstMatrixF dy, const Written& dx) {
  CHECK(x.rows == dy.rows && x.cols == dy.cols && dx.to.rows == x.rows && dx.to.cols == x.cols, "layer_norm_vjp: shapes differ");
  const auto leaf = dx.how == Write::kAdd ? context.table.vjp.layer_norm_add : context.table.vjp.layer_norm;
  for_rows(context, x.rows, 4 * x.cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) leaf({x.row(i), affine.gain[i], nullptr, affine.epsilon, x.cols}, dy.row(i), dx.to.row(i));
  });
}

void activation_vjp(Context& context, Activation kind, const Gated& in, ConstMatrixF dy, const GatedGradient& d) {
  const bool gated = in.up.data != nullptr;
  CHECK(in.gate.cols == dy.cols && d.gate.cols == dy.cols, "activation_vjp: shapes differ");
  CHECK(!gated || (in.up.cols == dy.cols && d.up.cols == dy.cols), "activation_vjp: gate and up differ");
  const auto leaf = context.table.vjp.activation[static_cast<int>(kind)];
  for_rows(context, dy.rows, kExpCost * dy.cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      leaf({in.gate.row(i), gated ? in.up.row(i) : nullptr, dy.row(i), dy.cols}, d.gate.row(i), gated ? d.up.row(i) : nullptr);
    }
  });
}

void soft_cap_vjp(Context& context, float cap, ConstMatrixF y, MatrixF dx) {
  CHECK(cap > 0 && y.rows == dx.rows && y.cols == dx.cols, "soft_cap_vjp: shapes differ");
  for_rows(context, dx.rows, 2 * dx.cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) context.table.vjp.soft_cap(cap, y.row(i), dx.row(i), dx.cols);
  });
}

void rope_vjp(Context& context, ConstMatrixF angles, int64_t head_dim, MatrixF dx) {
  CHECK(head_dim > 0 && head_dim % 2 == 0 && dx.cols % head_dim == 0, "rope_vjp: whole heads of even size");
  CHECK(angles.rows == dx.rows && angles.cols <= head_dim && angles.cols % 2 == 0, "rope_vjp: one row of angles per row");
  for_rows(context, dx.rows, 2 * dx.cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) context.table.vjp.rope({angles.row(i), angles.cols, head_dim, dx.cols / head_dim}, dx.row(i));
  });
}

size_t rms_norm_vjp_gain_scratch_bytes(int64_t rows) { return static_cast<size_t>(rows) * sizeof(float) + 64; }

void rms_norm_vjp_gain(Context& context, ConstMatrixF x, float epsilon, ConstMatrixF dy,
                       std::span<const RowsGradient> gradients) {
  CHECK(x.rows == dy.rows && x.cols == dy.cols, "rms_norm_vjp_gain: shapes differ");
  Arena::Mark mark(context.scratch);
  const std::span<float> inverse = context.scratch.take<float>(x.rows);
  for_rows(context, x.rows, x.cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) inverse[i] = context.table.vjp.rms_inverse(x.row(i), epsilon, x.cols);
  });
  for_cols(context, x.cols, [&](int64_t col, int64_t count) {
    for (const RowsGradient& entry : gradients) {
      for (int64_t i = entry.row_begin; i < entry.row_begin + entry.row_count; ++i) {
        context.table.vjp.product_add(dy.row(i) + col, x.row(i) + col, inverse[i], entry.gradient + col, count);
      }
    }
  });
}

size_t layer_norm_vjp_gain_scratch_bytes(int64_t rows) { return static_cast<size_t>(rows) * sizeof(Moments) + 64; }

void layer_norm_vjp_gain(Context& context, ConstMatrixF x, float epsilon, ConstMatrixF dy,
                         std::span<const RowsGradient> gradients) {
  CHECK(x.rows == dy.rows && x.cols == dy.cols, "layer_norm_vjp_gain: shapes differ");
  Arena::Mark mark(context.scratch);
  const std::span<Moments> moments = context.scratch.take<Moments>(x.rows);
  for_rows(context, x.rows, 2 * x.cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) moments[i] = context.table.vjp.moments(x.row(i), epsilon, x.cols);
  });
  for_cols(context, x.cols, [&](int64_t col, int64_t count) {
    for (const RowsGradient& entry : gradients) {
      for (int64_t i = entry.row_begin; i < entry.row_begin + entry.row_count; ++i) {
        context.table.vjp.normed_add(dy.row(i) + col, x.row(i) + col, moments[i], entry.gradient + col, count);
      }
    }
  });
}

void add_bias_vjp(Context& context, ConstMatrixF dy, std::span<const RowsGradient> gradients) {
  for_cols(context, dy.cols, [&](int64_t col, int64_t count) {
    for (const RowsGradient& entry : gradients) {
      for (int64_t i = entry.row_begin; i < entry.row_begin + entry.row_count; ++i) {
        context.table.scale_add(dy.row(i) + col, nullptr, entry.gradient + col, count);
      }
    }
  });
}

void embedding_vjp(Context& context, std::span<const int32_t> tokens, ConstMatrixF dy, MatrixF dtable) {
  CHECK(dy.rows == static_cast<int64_t>(tokens.size()) && dy.cols == dtable.cols, "embedding_vjp: one row per token");
  for_cols(context, dy.cols, [&](int64_t col, int64_t count) {
    for (int64_t i = 0; i < dy.rows; ++i) {
      context.table.scale_add(dy.row(i) + col, nullptr, dtable.row(tokens[i]) + col, count);
    }
  });
}

size_t matmul_vjp_w_scratch_bytes(int64_t rows, int64_t out) {
  return static_cast<size_t>(rows * out) * sizeof(float) + gemm_add_scratch_bytes(1) + 128;
}

void matmul_vjp_w(Context& context, ConstMatrixF dy, ConstMatrixF x, MatrixF dw) {
  CHECK(dy.rows == x.rows && dw.rows == dy.cols && dw.cols == x.cols, "matmul_vjp_w: dw is [out, in]");
  Arena::Mark mark(context.scratch);
  const std::span<float> dy_t = context.scratch.take<float>(dy.rows * dy.cols);
  for_cols(context, dy.cols, [&](int64_t col, int64_t count) {
    context.table.vjp.transpose({dy.data + col, dy.stride, dy.rows, count}, dy_t.data() + col * dy.rows, dy.rows);
  });
  const ExpandTile product = {.h = dy_t.data(), .h_stride = dy.rows, .rows = dy.cols, .rank = dy.rows, .b = x.data,
                              .b_stride = x.stride, .cols = x.cols, .u = nullptr, .scale = 1.0f, .y = dw.data,
                              .y_stride = dw.stride};
  gemm_add(context, {&product, 1});
}

void gather_scaled_vjp(Context& context, ConstMatrixF x, const ScaledRows& rows, ConstMatrixF dexpanded, MatrixF dx) {
  CHECK(rows.first.size() == rows.rows.size() && (dx.data == nullptr || x.cols == dx.cols) && dexpanded.cols == x.cols,
        "gather_scaled_vjp: shapes differ");
  for_cols(context, x.cols, [&](int64_t col, int64_t count) {
    const auto part = [&](const float* vector) { return vector == nullptr ? nullptr : vector + col; };
    for (size_t i = 0; i < rows.rows.size(); ++i) {
      const ScaledRow& row = rows.rows[i];
      const auto leaf = rows.first[i] != 0 ? context.table.scale : context.table.scale_add;
      if (dx.data != nullptr) leaf(dexpanded.row(i) + col, part(row.pre), dx.row(row.source_row) + col, count);
      if (!rows.gradients.empty() && rows.gradients[i].pre != nullptr) {
        context.table.vjp.product_add(dexpanded.row(i) + col, x.row(row.source_row) + col, 1.0f,
                                      rows.gradients[i].pre + col, count);
      }
    }
  });
}

void combine_scaled_vjp(Context& context, ConstMatrixF u, const ScaledRows& rows, ConstMatrixF dy, MatrixF du) {
  CHECK(u.cols == dy.cols && du.cols == dy.cols, "combine_scaled_vjp: shapes differ");
  for_cols(context, dy.cols, [&](int64_t col, int64_t count) {
    for (size_t i = 0; i < rows.rows.size(); ++i) {
      const ScaledRow& row = rows.rows[i];
      const float* g = dy.row(row.source_row) + col;
      if (!rows.gradients.empty() && rows.gradients[i].post != nullptr) {
        context.table.vjp.product_add(g, u.row(i) + col, 1.0f, rows.gradients[i].post + col, count);
      }
      context.table.scale(g, row.post == nullptr ? nullptr : row.post + col, du.row(i) + col, count);
    }
  });
}

void cross_entropy(Context& context, ConstMatrixF logits, std::span<const int32_t> labels, std::span<float> losses) {
  CHECK(logits.rows == static_cast<int64_t>(labels.size()) && losses.size() == labels.size(), "cross_entropy: one label a row");
  for_rows(context, logits.rows, kExpCost * logits.cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      CHECK(labels[i] < logits.cols, "cross_entropy: a label outside the vocabulary");
      losses[i] = labels[i] < 0 ? 0.0f : log_sum_exp(context, logits.row_span(i)) - logits.row(i)[labels[i]];
    }
  });
}

void cross_entropy_vjp(Context& context, ConstMatrixF logits, std::span<const int32_t> labels,
                       std::span<const float> weights, MatrixF dlogits) {
  CHECK(logits.rows == static_cast<int64_t>(labels.size()) && weights.size() == labels.size(),
        "cross_entropy_vjp: one label and one weight a row");
  for_rows(context, logits.rows, 2 * kExpCost * logits.cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* d = dlogits.row(i);
      if (labels[i] < 0) {
        std::fill(d, d + logits.cols, 0.0f);
        continue;
      }
      const float total = log_sum_exp(context, logits.row_span(i));
      context.table.vjp.weighted_exp(logits.row(i), total, weights[i], d, logits.cols);
      d[labels[i]] -= weights[i];
    }
  });
}

}  // namespace umbel::kernels
