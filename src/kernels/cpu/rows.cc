// Row-wise kernels: scale terms, bias, norms, activations, soft cap, rotary embedding, embedding look-up, copies of heads.
#include <cmath>
#include <cstring>

#include "kernels/api.h"
#include "kernels/cpu/split.h"
#include "kernels/table.h"

namespace umbel::kernels {
namespace {

// A transcendental per element costs about this many multiplications.
constexpr int64_t kExpCost = 4;

}  // namespace

void gather_scaled(Context& context, ConstMatrixF x, std::span<const ScaledRow> rows, MatrixF expanded) {
  CHECK(expanded.cols == x.cols && expanded.rows >= static_cast<int64_t>(rows.size()), "gather_scaled: shapes differ");
  for_rows(context, static_cast<int64_t>(rows.size()), x.cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      context.table.scale(x.row(rows[i].source_row), rows[i].pre, expanded.row(i), x.cols);
    }
  });
}

void combine_scaled(Context& context, ConstMatrixF u, std::span<const ScaledRow> rows, std::span<const uint8_t> first,
                    MatrixF y) {
  CHECK(y.cols == u.cols && u.rows >= static_cast<int64_t>(rows.size()), "combine_scaled: shapes differ");
  CHECK(first.size() == rows.size(), "combine_scaled: one mark per entry");
  const int64_t count = static_cast<int64_t>(rows.size());
  // A cut moves on to the next change of source row, so that one task owns all entries of a row of y.
  const auto boundary = [&](int64_t i) {
    while (i > 0 && i < count && rows[i].source_row == rows[i - 1].source_row) ++i;
    return i;
  };
  for_rows(context, count, u.cols, [&](int64_t begin, int64_t end) {
    end = boundary(end);
    for (int64_t i = boundary(begin); i < end; ++i) {
      const auto kernel = first[i] != 0 ? context.table.scale : context.table.scale_add;
      kernel(u.row(i), rows[i].post, y.row(rows[i].source_row), u.cols);
    }
  });
}

void add_bias(Context& context, PerRow bias, MatrixF y) {
  if (bias.each.empty() && bias.shared == nullptr) return;
  for_rows(context, y.rows, y.cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (bias[i] != nullptr) context.table.scale_add(bias[i], nullptr, y.row(i), y.cols);
    }
  });
}

void rms_norm(Context& context, ConstMatrixF x, PerRow gain, float epsilon, MatrixF y) {
  CHECK(x.rows == y.rows && x.cols == y.cols, "rms_norm: shapes differ");
  for_rows(context, x.rows, 2 * x.cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) context.table.rms_norm(x.row(i), gain[i], epsilon, y.row(i), x.cols);
  });
}

void add(Context& context, ConstMatrixF x, MatrixF y) {
  CHECK(x.rows == y.rows && x.cols == y.cols, "add: shapes differ");
  for_rows(context, x.rows, x.cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) context.table.scale_add(x.row(i), nullptr, y.row(i), x.cols);
  });
}

void layer_norm(Context& context, ConstMatrixF x, const Affine& affine, MatrixF y) {
  CHECK(x.rows == y.rows && x.cols == y.cols, "layer_norm: shapes differ");
  for_rows(context, x.rows, 3 * x.cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      context.table.layer_norm({x.row(i), affine.gain[i], affine.bias[i], affine.epsilon, x.cols}, y.row(i));
    }
  });
}

void multiply(Context& context, float factor, MatrixF x) {
  for_rows(context, x.rows, x.cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) context.table.multiply(factor, x.row(i), x.cols);
  });
}

void activation(Context& context, Activation kind, const Gated& in, MatrixF y) {
  const bool gated = in.up.data != nullptr;
  CHECK(in.gate.rows == y.rows && in.gate.cols == y.cols, "activation: shapes differ");
  CHECK(!gated || (in.up.rows == y.rows && in.up.cols == y.cols), "activation: gate and up differ");
  const auto leaf = context.table.activation[static_cast<int>(kind)];
  for_rows(context, y.rows, kExpCost * y.cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) leaf(in.gate.row(i), gated ? in.up.row(i) : nullptr, y.row(i), y.cols);
  });
}

void soft_cap(Context& context, float cap, MatrixF x) {
  CHECK(cap > 0, "soft_cap: a positive cap");
  for_rows(context, x.rows, kExpCost * x.cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) context.table.soft_cap(cap, x.row(i), x.cols);
  });
}

void copy_heads(Context& context, ConstMatrixF x, const HeadCopy& copy, MatrixF y) {
  CHECK(x.rows == y.rows, "copy_heads: rows differ");
  CHECK(copy.count > 0 && copy.from + (copy.count - 1) * copy.from_stride + copy.dim <= x.cols &&
            copy.to + (copy.count - 1) * copy.to_stride + copy.dim <= y.cols,
        "copy_heads: heads within the rows");
  for_rows(context, x.rows, copy.count * copy.dim, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t head = 0; head < copy.count; ++head) {
        context.table.scale(x.row(i) + copy.from + head * copy.from_stride, nullptr, y.row(i) + copy.to + head * copy.to_stride,
                            copy.dim);
      }
    }
  });
}

void rope(Context& context, ConstMatrixF angles, int64_t head_dim, MatrixF x) {
  CHECK(head_dim > 0 && head_dim % 2 == 0 && x.cols % head_dim == 0, "rope: whole heads of even size");
  CHECK(angles.rows == x.rows && angles.cols <= head_dim && angles.cols % 2 == 0, "rope: one row of angles per row");
  for_rows(context, x.rows, 2 * x.cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) context.table.rope({angles.row(i), angles.cols, head_dim, x.cols / head_dim}, x.row(i));
  });
}

void embedding(Context& context, const TensorView& table, std::span<const int32_t> tokens, MatrixF y) {
  CHECK(table.shape.size() == 2 && table.shape[1] == y.cols, "embedding: the table is [vocab, dim]");
  CHECK(y.rows >= static_cast<int64_t>(tokens.size()), "embedding: one row per token");
  const size_t row_bytes = static_cast<size_t>(y.cols) * size_of(table.dtype);
  const char* data = static_cast<const char*>(table.data);
  const bool wide_load = table.dtype == DType::kBF16 && reinterpret_cast<uintptr_t>(data) % 2 == 0;
  for_rows(context, static_cast<int64_t>(tokens.size()), y.cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      CHECK(tokens[i] >= 0 && tokens[i] < table.shape[0], "embedding: a token outside the vocabulary");
      const char* row = data + static_cast<size_t>(tokens[i]) * row_bytes;
      if (wide_load) {
        context.table.widen_bf16(reinterpret_cast<const uint16_t*>(row), y.row(i), y.cols);
      } else {
        widen_to_f32(table.dtype, row, y.row(i), static_cast<size_t>(y.cols));
      }
    }
  });
}

int64_t argmax(const Context& context, std::span<const float> values) {
  CHECK(!values.empty(), "argmax of nothing");
  return context.table.argmax(values.data(), static_cast<int64_t>(values.size()));
}

float log_sum_exp(const Context& context, std::span<const float> values) {
  const int64_t count = static_cast<int64_t>(values.size());
  const float largest = context.table.max(values.data(), count);
  if (std::isinf(largest)) return largest;
  return largest + std::log(context.table.sum_exp(values.data(), largest, count));
}

}  // namespace umbel::kernels
