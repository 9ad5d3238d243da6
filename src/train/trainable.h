// TrainableAdapter: an adapter whose numbers are being trained: f32 masters, their gradients and optimizer moments, and the
// Adapter that computes with them (the same terms that serving uses).
//
// Owned by its job; one thread. materialize() after every change of the masters, gather() before gradients are read.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "adapters/adapter.h"
#include "adapters/spec.h"
#include "adapters/vjp.h"
#include "io/json.h"
#include "train/job.h"

namespace umbel {

// One trained tensor. value, gradient, m and v have the same elements in the layout that the kernels use.
struct Parameter {
  std::string tensor;       // its name in adapter_model.safetensors
  Shape file_shape;         // as PEFT stores it
  bool transposed = false;  // the file's layout is [cols, rows] of ours (LoRA's and FLoRA's output sides)
  Tensor value, gradient, m, v;
  // Output sides of FLoRA: the term reads scale * value, and its gradient comes back through the same factor.
  double scale = 1.0;
  float* scaled = nullptr;            // where scale * value goes; null = the term reads value itself
  float* scaled_gradient = nullptr;   // the gradient of `scaled`
};

class TrainableAdapter {
 public:
  // kInvalidArgument when the targets match nothing; kUnsupported for what can't be trained (a bias under IA3).
  static Result<std::unique_ptr<TrainableAdapter>> create(const JobSpec& spec, const TargetTable& targets,
                                                          const std::string& base_name);

  const Adapter& adapter() const { return *adapter_; }
  std::vector<Parameter>& parameters() { return parameters_; }
  int64_t trained_values() const;
  size_t bytes() const;  // of masters, gradients, moments and scaled copies
  int64_t modules() const { return static_cast<int64_t>(linear_grads_.size()); }
  // Of the target's terms; {} where nothing is trained.
  LinearGrads gradients(int32_t target) const;

  void zero_gradients();
  void gather();       // gradients of scaled copies back to their masters
  void materialize();  // masters to scaled copies

  // The PEFT folder: adapter_config.json and adapter_model.safetensors, written atomically.
  Status write(const Path& dir) const;
  const Json& config() const { return config_; }

 private:
  struct TargetGrads {
    std::vector<ScaleGrads> scale;
    std::vector<LowRankGrads> low_rank;
  };
  TrainableAdapter(const JobSpec& spec, const TargetTable& targets)
      : spec_(spec), targets_(targets), adapter_(std::make_unique<Adapter>(targets.size())) {}
  Status add_target(int32_t index, bool feedforward);
  void add_lora(int32_t index);
  void add_ia3(int32_t index, bool feedforward);
  void add_flora(int32_t index);
  // A new parameter of rows x cols in kernel layout; returns its index.
  size_t add_parameter(const std::string& tensor, int64_t rows, int64_t cols, bool transposed);
  float* scaled_copy(size_t parameter, double scale);

  JobSpec spec_;
  const TargetTable& targets_;
  std::unique_ptr<Adapter> adapter_;
  Json config_;
  std::vector<Parameter> parameters_;
  std::vector<Tensor> buffers_;
  std::map<int32_t, TargetGrads> linear_grads_;
};

}  // namespace umbel
