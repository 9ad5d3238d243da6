// TrainableAdapter: an adapter whose numbers are being trained: f32 masters, their gradients and optimizer state, and the
// Adapter that computes with them (the same terms that serving uses). One file a kind builds it: trainable_lora.cc, ...
//
// Owned by its job; one thread. materialize() after every change of the masters, gather() before gradients are read.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "adapters/adapter.h"
#include "adapters/shared_tensors.h"
#include "adapters/spec.h"
#include "adapters/vjp.h"
#include "base/threads.h"
#include "io/json.h"
#include "train/job/job.h"
#include "train/kinds/base_checkpoint.h"
#include "train/optim/optimizer.h"

namespace umbel::train {

// One trained tensor. value and gradient have the same elements in the layout that the kernels use, [rows, cols].
struct Parameter {
  std::string tensor;       // its name in adapter_model.safetensors
  Shape file_shape;         // as PEFT stores it
  bool transposed = false;  // the file's layout is [cols, rows] of ours (output sides, embedding factors)
  double rate = 1.0;        // its learning rate over the job's (LoRA+)
  bool decays = true;       // false: weight decay leaves it alone (DoRA's magnitude, without which there is no base)
  Tensor value, gradient;
  std::vector<StateTensor> state;  // the optimizer's
};

// Numbers of a term that follow from the masters (FLoRA's scaled output sides, DoRA's m / n, IA3's bias) and how their
// gradients come back. Owned by the adapter; borrows the masters.
class Derived {
 public:
  virtual ~Derived() = default;
  virtual void materialize(ThreadPool* pool) = 0;  // masters to the term; pool null = this thread alone
  virtual void zero_gradients() = 0;               // of the term's numbers
  virtual void gather() = 0;                       // their gradients to those of the masters
  virtual size_t bytes() const { return 0; }       // of numbers that are its own
};

class TrainableAdapter {
 public:
  // kInvalidArgument when a target, a pattern or the whole selection matches nothing; kUnsupported for what can't be trained
  // (an embedding under another kind than LoRA), kFailedPrecondition for qlora over a base that is not quantised. shared:
  // where jobs meet that train over the same frozen projections (VeRA); null = no sharing.
  static Result<std::unique_ptr<TrainableAdapter>> create(const JobSpec& spec, const TargetTable& targets,
                                                          const std::string& base_name, SharedTensors* shared = nullptr);

  const Adapter& adapter() const { return *adapter_; }
  std::vector<Parameter>& parameters() { return parameters_; }
  const std::vector<Parameter>& parameters() const { return parameters_; }
  int64_t trained_values() const;
  // Masters, gradients, optimizer state, derived and frozen numbers.
  size_t bytes() const;
  int64_t modules() const { return static_cast<int64_t>(grads_.size()); }
  // Of the target's terms; {} where nothing is trained. At an embedding low_rank[0] is {a: [vocab, rank], b_t: [rank, dim]}.
  LinearGrads gradients(int32_t target) const;

  void zero_gradients();
  void gather();       // gradients of derived numbers back to their masters
  // Masters to derived numbers. pool: to share the work with; null = this thread alone. Bits do not depend on it.
  void materialize(ThreadPool* pool = nullptr);

  // Takes masters (and frozen projections) from the tensors of an adapter of the same kind, size and targets, by the names of its
  // file. kInvalidArgument names a tensor that is missing, of another shape, or of no use here; nothing is changed then.
  Status start_from(const std::map<std::string, TensorView>& tensors);
  // The PEFT folder: adapter_config.json and adapter_model.safetensors, written atomically. Of full training: a Hugging Face
  // checkpoint (base_checkpoint.h).
  Status write(const Path& dir) const;
  bool full() const { return base_checkpoint_.has_value(); }
  const Json& config() const { return config_; }

 private:
  friend class TrainableBuild;
  struct TargetGrads {
    std::vector<ScaleGrads> scale;
    std::vector<LowRankGrads> low_rank;
    float* bias = nullptr;
    float* weight = nullptr;
  };
  // A tensor of the file that is not trained (VeRA's projections).
  struct Frozen {
    std::string tensor;
    std::shared_ptr<const Tensor> value;
    bool transposed;  // in the file
  };
  Status create_full(const JobSpec& spec, const TargetTable& targets, const std::string& base_name);
  static Shape file_shape(const Frozen& frozen);
  Status check_start(const std::map<std::string, TensorView>& tensors) const;
  void replace_frozen(Frozen& frozen, Tensor value);
  explicit TrainableAdapter(const TargetTable& targets) : adapter_(std::make_unique<Adapter>(targets.size())) {}

  std::unique_ptr<Adapter> adapter_;
  Json config_;
  std::optional<BaseCheckpoint> base_checkpoint_;  // of full training: what write() writes
  std::vector<Parameter> parameters_;
  std::vector<Frozen> frozen_;
  std::vector<std::shared_ptr<const Tensor>> kept_;  // constants that terms read
  std::vector<Tensor> buffers_;
  std::vector<std::unique_ptr<Derived>> derived_;
  std::map<int32_t, TargetGrads> grads_;
};

}  // namespace umbel::train
