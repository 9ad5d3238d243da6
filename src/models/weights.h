// Weights: how a model under construction gets its tensors, from a checkpoint or from a generator, and who owns them.
//
// A family asks for every module by its Hugging Face path, the shape it must have, and registers it as a target.
// Problems are collected, so that one error names all of them. One thread, while the model is built.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "adapters/targets.h"
#include "base/status.h"
#include "base/threads.h"
#include "kernels/choice.h"
#include "kernels/frozen_matrix.h"
#include "tensor/tensor.h"

namespace umbel {

// The types that weights are read from and stored in: f32, bf16, f16.
bool is_weight_dtype(DType dtype);

// How weights are kept: embeddings, head, norms and biases in dtype (vectors always as f32), and so the linear layers of
// the decoder, unless they are quantised.
struct WeightForm {
  DType dtype = DType::kF32;
  kernels::Quantisation linear = kernels::Quantisation::kNone;
};
// name: "auto" (dtype = as_stored), "f32", "bf16", "f16", or "int8", "nf4", "nf4-dq", where dtype = as_stored.
// kInvalidArgument for any other name, and where as_stored is wanted but is no weight type.
Result<WeightForm> parse_weight_form(const std::string& name, DType as_stored);

// Where tensors come from.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // The tensor of this name, which should have this shape; null when there is none. Valid until the next call.
  virtual const TensorView* find(const std::string& name, const Shape& shape) = 0;
  // Names of all tensors there are; empty for a generator.
  virtual std::vector<std::string> names() const = 0;
  // True when both tensors exist and hold different values.
  virtual bool differ(const std::string& first, const std::string& second) const = 0;
  // "the checkpoint in /path", for errors.
  virtual std::string description() const = 0;
};

// What outlives loading: matrices at addresses that never move. Moved into the model.
struct WeightStorage {
  std::deque<kernels::FrozenMatrix> matrices;
  std::deque<Tensor> tensors;  // gains and biases in f32, untied embedding tables in the stored type
  int64_t parameters = 0;

  size_t bytes() const;
};

class Weights {
 public:
  // threads: that pack and quantise, matrix after matrix; the result does not depend on them.
  Weights(WeightSource& source, const WeightForm& form, const kernels::Choice& choice, int threads)
      : source_(source), form_(form), choice_(choice), pool_(threads) {}

  const WeightForm& form() const { return form_; }

  // Each adds a target and returns its index; a tensor that is missing or wrong is noted, and finish() fails.
  int32_t linear(const std::string& path, int64_t out, int64_t in, bool bias);
  // A linear layer with a bias that the checkpoint holds turned, [in, out] (Conv1D).
  int32_t turned_linear(const std::string& path, int64_t out, int64_t in);
  // An RMSNorm's gain, which is the stored weight + offset.
  int32_t norm(const std::string& path, int64_t dim, float offset = 0);
  // A LayerNorm's gain and bias.
  int32_t layer_norm(const std::string& path, int64_t dim);
  // A table of learned positions.
  int32_t positions(const std::string& path, int64_t count, int64_t dim);
  int32_t embedding(const std::string& path, int64_t vocab, int64_t dim);
  // An embedding and a head that share one weight: kept once, packed for the head.
  struct Tied {
    int32_t embedding;
    int32_t head;
  };
  Tied tied_embedding(const std::string& path, const std::string& head_path, int64_t vocab, int64_t dim);
  // The untied head.
  int32_t head(const std::string& path, int64_t vocab, int64_t dim);
  // Gives a head, tied or not, a bias of its own.
  void add_bias(int32_t head);

  // Ok when every tensor was found as it should be and none is left over; else kInvalidArgument naming them. A tensor that
  // cannot be quantised as form() says: its name and the remedy.
  Status finish() const;

  TargetTable& targets() { return targets_; }
  TargetTable take_targets() { return std::move(targets_); }
  WeightStorage take_storage() { return std::move(storage_); }

 private:
  const TensorView* fetch(const std::string& name, const Shape& shape);
  const kernels::FrozenMatrix* matrix(const std::string& name, int64_t out, int64_t in);
  const kernels::FrozenMatrix* linear_matrix(const std::string& name, const TensorView* view);
  const float* vector(const std::string& name, int64_t dim, float offset = 0);

  WeightSource& source_;
  WeightForm form_;
  const kernels::Choice& choice_;
  ThreadPool pool_;
  TargetTable targets_;
  WeightStorage storage_;
  std::vector<std::string> used_;
  std::vector<std::string> problems_;
  Status refusal_;  // of the first tensor that cannot be quantised
};

}  // namespace umbel
