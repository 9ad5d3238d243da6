// Model: a base language model, const after load, shared by all threads; every forward call is given its own state.
#pragma once

#include <memory>
#include <string>

#include "adapters/targets.h"
#include "base/status.h"
#include "kernels/api.h"
#include "models/config.h"
#include "models/training.h"
#include "nn/kv_cache.h"
#include "nn/rows.h"

namespace umbel {

struct ModelOptions {
  // How weights are stored: auto (as in the checkpoint), f32, bf16, f16; or int8, nf4, nf4-dq: the linear layers of the
  // decoder quantised, the rest as in the checkpoint.
  std::string dtype = "auto";
  kernels::Choice choice;
  int threads = 0;  // that load; 0 = usable_cpus()
};

class Model {
 public:
  virtual ~Model() = default;

  const ModelConfig& config() const { return config_; }
  const TargetTable& targets() const { return targets_; }
  // Of all weights that are not quantised.
  DType weight_dtype() const { return weight_dtype_; }
  // Of the decoder's linear layers.
  kernels::Quantisation quantisation() const { return quantisation_; }
  // What --dtype names: "bf16", "nf4-dq", ...
  std::string_view weight_type() const;
  // That the decoder's linear layers are computed in.
  kernels::Arithmetic arithmetic() const;
  // Low-rank factors of adapters are kept in this type: kF32 in f32 mode, else kBF16.
  DType factor_dtype() const { return weight_dtype_ == DType::kF32 ? DType::kF32 : DType::kBF16; }
  KvShape kv_shape() const;
  virtual size_t weight_bytes() const = 0;
  int64_t parameters() const { return parameters_; }

  // Writes K and V of all rows to the cache and logits[rows.logit_rows.size(), vocab_size] for the wanted rows. logits may be
  // wider, and must be where an adapter's own vocabulary is; a row's logits are the first ones, the rest stays as it is.
  // Scratch comes from context.scratch: at most scratch_bytes(M, wanted).
  virtual void forward(kernels::Context& context, const Rows& rows, const KvCache& kv, MatrixF logits) const = 0;
  // rank_max: the largest sum of low-rank ranks over one row's adapter.
  virtual size_t scratch_bytes(int64_t rows, int64_t logit_rows, int64_t rank_max) const = 0;

  // The training face of this model; kUnsupported naming what of this family or configuration cannot be trained.
  virtual Result<const Training*> training() const;

 protected:
  ModelConfig config_;
  TargetTable targets_;
  DType weight_dtype_ = DType::kF32;
  kernels::Quantisation quantisation_ = kernels::Quantisation::kNone;
  int64_t parameters_ = 0;
};

// DIR: config.json + safetensors. Every tensor is accounted for: missing, extra, wrong shape or type are named.
Result<std::shared_ptr<const Model>> load_model(const Path& dir, const ModelOptions& options);

}  // namespace umbel
