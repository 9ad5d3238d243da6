// Step: what every layer of one forward call is given, gathered once. All borrowed; lives for the call.
#pragma once

#include <array>

#include "adapters/targets.h"
#include "kernels/api.h"
#include "nn/rows.h"
#include "nn/trace.h"

namespace umbel {

// Tables of angles that the layers of one model may turn by (Gemma 3 has a local and a global one).
inline constexpr int kRopesMax = 2;

struct Step {
  kernels::Context& context;
  const TargetTable& targets;
  const Rows& rows;
  std::array<ConstMatrixF, kRopesMax> angles = {};  // [M, rotary], of nn/rope.h; an Attention says which
  OpTrace* trace = nullptr;  // null: nobody wants to know

  int64_t count() const { return rows.count(); }
  void note(Op op, int32_t target) const {
    if (trace != nullptr) trace->forward.push_back({op, target});
  }
  void note_mirror(Op op, int32_t target) const {
    if (trace != nullptr) trace->mirror.push_back({op, target});
  }
};

// A layer's input and where its output is written (=).
struct Flow {
  ConstMatrixF x;
  MatrixF y;
};

// A dense [rows, cols] matrix from the step's arena; uninitialised, given back by the caller's Arena::Mark.
inline MatrixF take_matrix(kernels::Context& context, int64_t rows, int64_t cols) {
  return {context.scratch.take<float>(static_cast<size_t>(rows * cols)).data(), rows, cols};
}

// Cuts what a pass keeps for its mirror into matrices of M rows, one after another; without memory it only counts columns.
class SavedCut {
 public:
  SavedCut(float* memory, int64_t rows) : memory_(memory), rows_(rows) {}
  MatrixF next(int64_t cols) {
    const MatrixF matrix(memory_ == nullptr ? nullptr : memory_ + cols_ * rows_, rows_, cols);
    cols_ += cols;
    return matrix;
  }
  int64_t cols() const { return cols_; }

 private:
  float* memory_;
  int64_t rows_;
  int64_t cols_ = 0;
};

// Columns [begin, begin + count) of a matrix that may have no memory.
inline MatrixF columns(MatrixF matrix, int64_t begin, int64_t count) {
  return matrix.data == nullptr ? MatrixF(nullptr, matrix.rows, count) : matrix.middle_cols(begin, count);
}

// Adds up what a chain of Arena::take calls uses, in whole cache lines as the arena does.
class ScratchSum {
 public:
  ScratchSum& add(int64_t count, size_t element_bytes = sizeof(float)) {
    bytes_ += (static_cast<size_t>(count) * element_bytes + 63) / 64 * 64;
    return *this;
  }
  size_t bytes() const { return bytes_; }

 private:
  size_t bytes_ = 0;
};

}  // namespace umbel
