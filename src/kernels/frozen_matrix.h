// FrozenMatrix: one handle for a base weight [out, in], packed once at load for the chosen arithmetic. Immutable, but for
// repack().
//
// y = W x. Stored as f32, bf16 or f16, or quantised (quantised.h); kernels widen. The packed layout is private to kernels/.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"
#include "base/threads.h"
#include "kernels/choice.h"
#include "kernels/quantised.h"
#include "tensor/tensor.h"

namespace umbel::kernels {

class FrozenMatrix {
 public:
  FrozenMatrix() = default;
  FrozenMatrix(FrozenMatrix&&) = default;
  FrozenMatrix& operator=(FrozenMatrix&&) = default;

  // weight: [out, in], any float type. stored: kF32, kBF16 or kF16 (values are rounded to it). Panels are packed in
  // parallel where a pool is given.
  static FrozenMatrix pack(const TensorView& weight, DType stored, const Choice& choice, ThreadPool* pool = nullptr);

  // The same, quantised; int8 computed as choice.int8 says, nf4 in f32 multiply-adds on every machine. kUnsupported where the shape does not allow it
  // (nf4: rows of a multiple of 64 numbers), kDataLoss where a number is not finite. Beside the result, takes memory for
  // a row per thread, and nf4-dq for one float per 64 numbers.
  static Result<FrozenMatrix> quantise(const TensorView& weight, Quantisation form, const Choice& choice, ThreadPool* pool = nullptr);

  // Full training's own copy of a weight: clone() is the same packed form in memory of its own, and repack() overwrites its
  // numbers in place from [out, in] of any float type, rounded to the stored one. REQUIRES a form that is not quantised, and
  // that nobody reads meanwhile.
  FrozenMatrix clone() const;
  void repack(const TensorView& weight, ThreadPool* pool = nullptr);

  bool empty() const { return data_ == nullptr; }
  int64_t out() const { return out_; }
  int64_t in() const { return in_; }
  // Of one stored number; kI8 for int8, kU8 (a pair) for both nf4.
  DType dtype() const { return dtype_; }
  Quantisation quantisation() const { return quantisation_; }
  Arithmetic arithmetic() const { return arithmetic_; }
  size_t bytes() const { return data_.get_deleter().bytes; }

  // Row `index` widened to f32 (embedding look-up on tied models, DoRA norms, tests). target: [in].
  void read_row(int64_t index, float* target) const;

  // The packed panels (kernels/matmul_table.h has the layout) and the bytes from one panel to the next.
  const void* packed() const { return data_.get(); }
  int64_t panels() const;
  int64_t panel_bytes() const;
  // in, rounded up to what the packed form holds (zeros).
  int64_t in_padded() const;
  // Of a panel: what its scales take in front (quantised forms), and what one k of the rest takes.
  int64_t scale_bytes() const;
  int64_t bytes_per_k() const;
  // Both nf4 forms: the absmax of the panel's 32 outputs over block `block` of k, as f32; 0 for outputs that do not exist.
  void read_absmax(int64_t panel, int64_t block, float* target) const;

 private:
  // Own mapping on huge pages where the system has them: a model is read from end to end for every token.
  struct Unmap {
    size_t bytes;
    Unmap() : bytes(0) {}
    explicit Unmap(size_t bytes_in) : bytes(bytes_in) {}
    void operator()(void* memory) const;
  };
  static std::unique_ptr<void, Unmap> map(size_t bytes);
  void read_quantised_row(int64_t index, float* target) const;
  char* panel_data(int64_t panel) { return static_cast<char*>(data_.get()) + panel * panel_bytes(); }
  // nf4-dq: what lies behind the panels, the largest difference of every 256 absmax.
  int64_t absmax_blocks() const { return (out_ * (in_ / kNf4Block) + kAbsmaxBlock - 1) / kAbsmaxBlock; }
  const float* absmax_largest() const;
  // Stores absmax [out][in / 64] doubly quantised.
  void compress_absmax(const std::vector<float>& absmax, ThreadPool* pool);

  int64_t out_ = 0;
  int64_t in_ = 0;
  DType dtype_ = DType::kF32;
  Quantisation quantisation_ = Quantisation::kNone;
  Arithmetic arithmetic_ = Arithmetic::kF32Fma;
  float absmax_mean_ = 0;  // nf4-dq
  std::unique_ptr<void, Unmap> data_;
};

// Bytes of scratch that matmul or matmul_vjp_x of a weight [out, in] takes at most from the context for this many rows on
// this many threads.
size_t matmul_scratch_bytes(int64_t rows, int64_t out, int64_t in, int threads);
// The same for matmul alone, for a process that never trains.
// threads 0: callers that don't know their pool get room for any pool here (memory that is never touched costs nothing).
size_t matmul_forward_scratch_bytes(int64_t rows, int64_t in, int threads = 0);

}  // namespace umbel::kernels
