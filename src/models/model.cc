#include "models/model.h"

#include <algorithm>
#include <cstring>

#include "base/process_memory.h"
#include "io/safetensors.h"
#include "models/registry.h"
#include "models/weights.h"

namespace umbel {
namespace {

// A mapped checkpoint. Tensors are packed one by one, so the mapping is the only whole copy while loading.
class CheckpointSource final : public WeightSource {
 public:
  CheckpointSource(const Safetensors& files, const Path& dir, std::string_view prefix) : files_(files), dir_(dir) {
    const auto& tensors = files.tensors();
    const bool there = std::any_of(tensors.begin(), tensors.end(), [&](const auto& tensor) { return tensor.first.starts_with(prefix); });
    if (!there) left_out_ = prefix;
  }

  const TensorView* find(const std::string& name, const Shape&) override { return stored(name); }
  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, view] : files_.tensors()) {
      names.push_back(name.starts_with(kOldHead) ? std::string(kHead) + name.substr(kOldHead.size()) : name.starts_with(kHead) ? name : left_out_ + name);
    }
    return names;
  }
  bool differ(const std::string& first, const std::string& second) const override {
    const TensorView* a = stored(first);
    const TensorView* b = stored(second);
    if (a == nullptr || b == nullptr) return false;
    return a->dtype != b->dtype || a->shape != b->shape || std::memcmp(a->data, b->data, a->bytes()) != 0;
  }
  std::string description() const override { return "the checkpoint in " + dir_.string(); }

 private:
  static constexpr std::string_view kHead = "lm_head.", kOldHead = "embed_out.";  // GPT-NeoX's files have the old one
  const TensorView* stored(const std::string& name) const {
    if (!name.starts_with(kHead)) return files_.find(name.starts_with(left_out_) ? name.substr(left_out_.size()) : name);
    const TensorView* view = files_.find(name);
    return view != nullptr ? view : files_.find(std::string(kOldHead) + name.substr(kHead.size()));
  }

  const Safetensors& files_;
  const Path& dir_;
  std::string left_out_;  // of names that are given; what was saved without its head lacks the base's prefix
};

// What config.json says, else what the embedding has.
DType stored_dtype(const ModelConfig& config, WeightSource& source, std::string_view embedding) {
  if (config.dtype) return *config.dtype;
  const TensorView* view = source.find(std::string(embedding) + ".weight", {});
  return view != nullptr ? view->dtype : DType::kF32;
}

}  // namespace

Result<const Training*> Model::training() const {
  return unsupported("models of type " + config_.model_type + " cannot be trained");
}

std::string_view Model::weight_type() const {
  return quantisation_ == kernels::Quantisation::kNone ? dtype_name(weight_dtype_) : kernels::quantisation_name(quantisation_);
}

kernels::Arithmetic Model::arithmetic() const {
  for (int32_t i = 0; i < targets_.size(); ++i) {
    const Target& target = targets_[i];
    if (target.weight != nullptr && target.weight->quantisation() == quantisation_) return target.weight->arithmetic();
  }
  return kernels::Arithmetic::kF32Fma;
}

KvShape Model::kv_shape() const {
  return {.layers = static_cast<int32_t>(config_.layers),
          .kv_heads = static_cast<int32_t>(config_.kv_heads),
          .head_dim = static_cast<int32_t>(config_.head_dim),
          .dtype = weight_dtype_ == DType::kF32 ? DType::kF32 : DType::kBF16};
}

Result<std::shared_ptr<const Model>> load_model(const Path& dir, const ModelOptions& options) {
  ASSIGN_OR_RETURN(const ModelConfig config, load_model_config(dir));
  ASSIGN_OR_RETURN(const Safetensors files, Safetensors::open_model(dir));
  const Family* family = find_family(config.model_type);
  CHECK(family != nullptr, "a parsed config names a known family");
  CheckpointSource source(files, dir, family->prefix);
  ASSIGN_OR_RETURN(const WeightForm form, parse_weight_form(options.dtype, stored_dtype(config, source, family->embedding)));
  Weights weights(source, form, options.choice, options.threads > 0 ? options.threads : usable_cpus());
  auto model = build_decoder(*family, config, weights);
  return_freed_memory();
  return model;
}

}  // namespace umbel
