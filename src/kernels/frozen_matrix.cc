#include "kernels/frozen_matrix.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "kernels/matmul_table.h"

namespace umbel::kernels {
namespace {

// Elements of one output that share a packed cell: a bf16 cell is the pair (k, k + 1), an int8 cell four, see matmul_table.h.
int64_t cell_elements(DType dtype) {
  if (dtype == DType::kI8) return kInt8Cell;
  return dtype == DType::kBF16 ? 2 : 1;
}

constexpr int64_t kAmxUnit = 32;  // k of one tile instruction

// Cells of one output that are carried over at a time: 64 bytes of 32-bit cells, a cache line of source and target.
constexpr int64_t kBlockCells = 16;

// Copies elements [k, k + count) of row `row` into `cells`, in the stored type.
void read_elements(const TensorView& weight, DType stored, int64_t row, int64_t k, int64_t count, void* cells) {
  const char* source = static_cast<const char*>(weight.data) + (row * weight.shape[1] + k) * size_of(weight.dtype);
  if (stored == weight.dtype) {
    std::memcpy(cells, source, count * size_of(stored));
    return;
  }
  float wide[2 * kBlockCells];
  widen_to_f32(weight.dtype, source, wide, count);
  narrow_from_f32(wide, stored, cells, count);
}

// One panel: the transpose of its 32 rows of cells, block by block. `target` is zero where the weight has no rows.
template <typename Cell>
void pack_panel(const TensorView& weight, DType stored, int64_t panel, Cell* target) {
  const int64_t lanes = std::min(kPanel, weight.shape[0] - panel * kPanel);
  const int64_t in = weight.shape[1];
  const int64_t cell = cell_elements(stored);
  Cell block[kPanel][kBlockCells] = {};
  for (int64_t k = 0; k < in; k += kBlockCells * cell) {
    const int64_t count = std::min(kBlockCells * cell, in - k);
    const int64_t cells = (count + cell - 1) / cell;
    if (count % cell != 0) std::memset(block, 0, sizeof(block));  // the missing half of the last pair is zero
    for (int64_t lane = 0; lane < lanes; ++lane) {
      read_elements(weight, stored, panel * kPanel + lane, k, count, block[lane]);
    }
    for (int64_t i = 0; i < cells; ++i) {
      for (int64_t lane = 0; lane < kPanel; ++lane) target[lane] = block[lane][i];
      target += kPanel;
    }
  }
}

}  // namespace

int64_t FrozenMatrix::panels() const { return (out_ + kPanel - 1) / kPanel; }
int64_t FrozenMatrix::in_padded() const {
  const int64_t unit = arithmetic_ == Arithmetic::kAmxBf16 ? kAmxUnit : cell_elements(dtype_);
  return (in_ + unit - 1) / unit * unit;
}
int64_t FrozenMatrix::scale_bytes() const {
  switch (quantisation_) {
    case Quantisation::kNone: return 0;
    case Quantisation::kInt8: return kPanel * 4;
    case Quantisation::kNf4: return in_ / kNf4Block * kPanel * 4;
    case Quantisation::kNf4Dq: return in_ / kNf4Block * kPanel;
  }
  CHECK(false, "a frozen matrix of an unknown form");
}
int64_t FrozenMatrix::bytes_per_k() const {
  return is_nf4(quantisation_) ? kPanel / 2 : kPanel * static_cast<int64_t>(size_of(dtype_));
}
int64_t FrozenMatrix::panel_bytes() const { return scale_bytes() + in_padded() * bytes_per_k(); }

void FrozenMatrix::Unmap::operator()(void* memory) const { munmap(memory, bytes); }

std::unique_ptr<void, FrozenMatrix::Unmap> FrozenMatrix::map(size_t bytes) {
  constexpr size_t kHugePage = size_t{2} << 20;
  const size_t slack = bytes >= kHugePage ? kHugePage : 0;
  void* memory = mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED, "out of memory for packed weights");
  if (slack != 0) {  // begin on a huge page and give the rest back
    const size_t front = (kHugePage - reinterpret_cast<uintptr_t>(memory) % kHugePage) % kHugePage;
    char* begin = static_cast<char*>(memory) + front;
    const size_t used = (bytes + 4095) / 4096 * 4096;
    if (front != 0) munmap(memory, front);
    if (front + used < bytes + slack) munmap(begin + used, bytes + slack - front - used);
    memory = begin;
    madvise(memory, bytes, MADV_HUGEPAGE);  // advice: a system without huge pages runs on small ones
  }
  return {memory, Unmap{bytes}};
}

FrozenMatrix FrozenMatrix::pack(const TensorView& weight, DType stored, const Choice& choice, ThreadPool* pool) {
  CHECK(weight.shape.size() == 2 && weight.elements() > 0, "a frozen matrix is packed from [out, in]");
  CHECK(stored == DType::kF32 || stored == DType::kBF16 || stored == DType::kF16, "weights are stored in a float type");
  FrozenMatrix matrix;
  matrix.out_ = weight.shape[0];
  matrix.in_ = weight.shape[1];
  matrix.dtype_ = stored;
  matrix.arithmetic_ = stored == DType::kBF16 ? choice.arithmetic : Arithmetic::kF32Fma;
  matrix.data_ = map(matrix.panels() * matrix.panel_bytes());
  matrix.repack(weight, pool);
  return matrix;
}

FrozenMatrix FrozenMatrix::clone() const {
  FrozenMatrix copy;
  copy.out_ = out_;
  copy.in_ = in_;
  copy.dtype_ = dtype_;
  copy.quantisation_ = quantisation_;
  copy.arithmetic_ = arithmetic_;
  copy.absmax_mean_ = absmax_mean_;
  copy.data_ = map(bytes());
  std::memcpy(copy.data_.get(), data_.get(), bytes());
  return copy;
}

void FrozenMatrix::repack(const TensorView& weight, ThreadPool* pool) {
  CHECK(weight.shape.size() == 2 && weight.shape[0] == out_ && weight.shape[1] == in_, "repacked from the shape it has");
  CHECK(quantisation_ == Quantisation::kNone, "a quantised matrix is not repacked");
  const auto pack_one = [&](int64_t panel, int) {
    char* target = static_cast<char*>(data_.get()) + panel * panel_bytes();
    if (dtype_ == DType::kF16) {
      pack_panel(weight, dtype_, panel, reinterpret_cast<uint16_t*>(target));
    } else {
      pack_panel(weight, dtype_, panel, reinterpret_cast<uint32_t*>(target));
    }
  };
  if (pool != nullptr) {
    pool->parallel_for(panels(), pack_one);
  } else {
    for (int64_t panel = 0; panel < panels(); ++panel) pack_one(panel, 0);
  }
}

void FrozenMatrix::read_row(int64_t index, float* target) const {
  CHECK(index >= 0 && index < out_, "row outside the frozen matrix");
  if (quantisation_ != Quantisation::kNone) return read_quantised_row(index, target);
  const char* panel = static_cast<const char*>(packed()) + index / kPanel * panel_bytes();
  const int64_t lane = index % kPanel;
  const int64_t cell = cell_elements(dtype_);
  const size_t bytes = size_of(dtype_);
  for (int64_t k = 0; k < in_; ++k) {
    widen_to_f32(dtype_, panel + ((k / cell * kPanel + lane) * cell + k % cell) * bytes, target + k, 1);
  }
}

}  // namespace umbel::kernels
