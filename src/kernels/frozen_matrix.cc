#include "kernels/frozen_matrix.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/matmul_table.h"

namespace umbel::kernels {
namespace {

// Elements of one output that share a packed cell: a bf16 cell is the pair (k, k + 1), see matmul_table.h.
int64_t cell_elements(DType dtype) { return dtype == DType::kBF16 ? 2 : 1; }

// Writes one row of cells into its column of the panel.
template <typename Cell>
void scatter_row(const void* row, int64_t cells, int64_t lane, void* panel) {
  const char* source = static_cast<const char*>(row);
  Cell* target = static_cast<Cell*>(panel) + lane;
  for (int64_t i = 0; i < cells; ++i) std::memcpy(target + i * kPanel, source + i * sizeof(Cell), sizeof(Cell));
}

}  // namespace

int64_t FrozenMatrix::panels() const { return (out_ + kPanel - 1) / kPanel; }
int64_t FrozenMatrix::in_padded() const {
  const int64_t cell = cell_elements(dtype_);
  return (in_ + cell - 1) / cell * cell;
}
int64_t FrozenMatrix::panel_bytes() const { return in_padded() * kPanel * static_cast<int64_t>(size_of(dtype_)); }

FrozenMatrix FrozenMatrix::pack(const TensorView& weight, DType stored, const Choice& choice) {
  CHECK(weight.shape.size() == 2, "a frozen matrix is packed from [out, in]");
  CHECK(stored == DType::kF32 || stored == DType::kBF16 || stored == DType::kF16, "weights are stored in a float type");
  FrozenMatrix matrix;
  matrix.out_ = weight.shape[0];
  matrix.in_ = weight.shape[1];
  matrix.dtype_ = stored;
  matrix.arithmetic_ = stored == DType::kBF16 ? choice.arithmetic : Arithmetic::kF32Fma;
  matrix.data_ = Tensor(stored, {matrix.panels(), matrix.in_padded(), kPanel});
  const size_t source_row_bytes = matrix.in_ * size_of(weight.dtype);
  const int64_t cell = cell_elements(stored);
  std::vector<float> wide(matrix.in_);
  std::vector<float> row(matrix.in_padded());  // bytes of one stored row, zero-padded
  for (int64_t out = 0; out < matrix.out_; ++out) {
    const char* source = static_cast<const char*>(weight.data) + out * source_row_bytes;
    char* panel = static_cast<char*>(matrix.data_.data()) + out / kPanel * matrix.panel_bytes();
    if (stored == weight.dtype) {
      std::memcpy(row.data(), source, source_row_bytes);
    } else {
      widen_to_f32(weight.dtype, source, wide.data(), matrix.in_);
      narrow_from_f32(wide.data(), stored, row.data(), matrix.in_);
    }
    const int64_t cells = matrix.in_padded() / cell;
    if (stored == DType::kF16) {
      scatter_row<uint16_t>(row.data(), cells, out % kPanel, panel);
    } else {
      scatter_row<uint32_t>(row.data(), cells, out % kPanel, panel);
    }
  }
  return matrix;
}

void FrozenMatrix::read_row(int64_t index, float* target) const {
  CHECK(index >= 0 && index < out_, "row outside the frozen matrix");
  const char* panel = static_cast<const char*>(packed()) + index / kPanel * panel_bytes();
  const int64_t lane = index % kPanel;
  const int64_t cell = cell_elements(dtype_);
  const size_t bytes = size_of(dtype_);
  for (int64_t k = 0; k < in_; ++k) {
    widen_to_f32(dtype_, panel + ((k / cell * kPanel + lane) * cell + k % cell) * bytes, target + k, 1);
  }
}

}  // namespace umbel::kernels
