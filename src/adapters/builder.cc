#include "adapters/builder.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace umbel {
namespace {

constexpr std::string_view kPrefix = "base_model.model.";

bool is_float(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16 || dtype == DType::kF64;
}

Status missing_tensor(const std::string& name) {
  return invalid_argument("adapter_model.safetensors: the tensor " + name +
                          " is missing; the file is incomplete, or "
                          "adapter_config.json selects a module that was not trained");
}

}  // namespace

Tensor transposed(const Tensor& tensor) {
  const int64_t rows = tensor.shape()[0];
  const int64_t cols = tensor.shape()[1];
  Tensor result(DType::kF32, {cols, rows});
  const float* source = tensor.f32();
  float* target = result.f32();
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t col = 0; col < cols; ++col) target[col * rows + row] = source[row * cols + col];
  }
  return result;
}

Builder::Builder(const AdapterSource& source, const TargetTable& targets, const BuildOptions& options,
                 int64_t rank_default)
    : source_(source),
      targets_(targets),
      options_(options),
      rank_default_(rank_default),
      fields_(source.spec.own),
      adapter_(std::make_shared<Adapter>(targets.size())),
      biases_(targets.size(), nullptr) {
  for (const std::string& text : source.spec.warnings) warn(text);
  for (int32_t index = 0; index < targets.size(); ++index) {
    if (spec().saves(targets[index].path)) saved_.insert(index);
  }
}

Result<std::vector<int32_t>> Builder::select(bool embeddings_allowed) {
  RETURN_IF_ERROR(fields_.finish(spec().peft_type, adapter_->edit_report().warnings));
  std::vector<int32_t> selected;
  for (int32_t index = 0; index < targets_.size(); ++index) {
    const Target& target = targets_[index];
    ASSIGN_OR_RETURN(const bool matched, spec().selects(target.path, target.kind));
    if (!matched) continue;
    if (target.kind == TargetKind::kNorm || (target.kind == TargetKind::kEmbedding && !embeddings_allowed)) {
      return unsupported("adapter_config.json: target_modules selects " + target.path +
                         ", a module that this kind of adapter can't change; remove it from target_modules");
    }
    selected.push_back(index);
  }
  for (const std::string& name : spec().target.names) {
    const bool found = std::any_of(targets_.targets().begin(), targets_.targets().end(), [&](const Target& target) {
      return target.path == name || target.path.ends_with("." + name);
    });
    if (!found) warn("adapter_config.json: target_modules names " + name + ", which the base model does not have");
  }
  if (selected.empty() && saved_.empty()) {
    return failed_precondition("adapter_config.json: target_modules selects no module of this base model" +
                               (spec().base_model.empty() ? "" : "; the adapter was made for " + spec().base_model));
  }
  return selected;
}

int32_t Builder::find_kind(TargetKind kind) const {
  for (int32_t index = 0; index < targets_.size(); ++index) {
    if (targets_[index].kind == kind) return index;
  }
  return -1;
}

Result<int64_t> Builder::rank_at(const Target& target) const {
  ASSIGN_OR_RETURN(const int64_t rank, spec().rank_at(target.path, rank_default_));
  if (rank < 1) return invalid_argument("adapter_config.json: r is " + std::to_string(rank) + ", expected at least 1");
  if (rank > options_.rank_max) {
    return Status(Code::kTooLong, "adapter_config.json: the rank " + std::to_string(rank) + " at " + target.path +
                                      " is over the limit of " + std::to_string(options_.rank_max));
  }
  return rank;
}

std::string Builder::tensor_name(const Target& target, std::string_view suffix) {
  return std::string(kPrefix) + target.path + "." + std::string(suffix);
}

const TensorView* Builder::take_view(const std::string& name) {
  const auto found = source_.tensors.find(name);
  if (found == source_.tensors.end()) return nullptr;
  used_.insert(name);
  return &found->second;
}

Result<Tensor> Builder::take(const std::string& name, const Shape& shape) {
  const TensorView* view = take_view(name);
  if (view == nullptr) return missing_tensor(name);
  if (view->shape != shape) {
    return failed_precondition("adapter_model.safetensors: the tensor " + name + " has shape " +
                               shape_string(view->shape) + ", but this base model and adapter_config.json ask for " +
                               shape_string(shape) + "; is the adapter made for another base model?");
  }
  if (!is_float(view->dtype)) {
    return unsupported("adapter_model.safetensors: the tensor " + name + " has type " +
                       std::string(dtype_name(view->dtype)) + ", expected f32, f16 or bf16");
  }
  Tensor tensor = Tensor::widened(*view);
  const float* values = tensor.f32();
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    if (!std::isfinite(values[i])) {
      return data_loss("adapter_model.safetensors: the tensor " + name + " holds a value that is not finite (element " +
                       std::to_string(i) + "); the training run broke, use an earlier checkpoint");
    }
  }
  return tensor;
}

const float* Builder::own_bias(int32_t target) const { return biases_[target]; }

const float* Builder::bias_of(int32_t target) const {
  return biases_[target] != nullptr ? biases_[target] : targets_[target].vector;
}

LowRankTerm Builder::low_rank(const Tensor& a, const Tensor& b, float scale) {
  LowRankTerm term;
  term.rank = static_cast<int32_t>(a.shape()[0]);
  term.dtype = options_.factor_dtype;
  term.a_stride = a.shape()[1];
  term.b_stride = b.shape()[0];
  term.a = adapter_->keep(Tensor::converted(a.view(), term.dtype));
  term.b_t = adapter_->keep(Tensor::converted(transposed(b).view(), term.dtype));
  term.scale = scale;
  return term;
}

const kernels::FrozenMatrix* Builder::own_weight(const Target& target, const Tensor& weight) {
  const kernels::Choice choice{.arithmetic = target.weight->arithmetic()};
  const bool quantised = target.weight->quantisation() != kernels::Quantisation::kNone;
  const DType stored = quantised ? options_.factor_dtype : target.weight->dtype();  // never quantised, as in PEFT
  return adapter_->keep(kernels::FrozenMatrix::pack(weight.view(), stored, choice));
}

Result<LinearTerms*> Builder::add_linear(int32_t target) {
  if (is_saved(target)) {
    return unsupported("adapter_config.json: the module " + targets_[target].path +
                       " is both adapted and named by modules_to_save; name it in one of them");
  }
  LinearTerms& terms = adapter_->add_linear(target);
  return &terms;
}

// bias = "all": every bias of the base; "KIND_only": those of the selected modules. Stored as PATH.base_layer.bias for
// selected modules; older files have PATH.bias there too.
Status Builder::read_biases() {
  if (spec().bias == "none") return ok_status();
  const bool all = spec().bias == "all";
  if (!all && !spec().bias.ends_with("_only")) {
    return invalid_argument("adapter_config.json: bias is '" + spec().bias + "', expected none, all or KIND_only");
  }
  for (int32_t index = 0; index < targets_.size(); ++index) {
    const Target& target = targets_[index];
    const bool linear = target.kind == TargetKind::kLinear || target.kind == TargetKind::kHead;
    if (!linear || target.vector == nullptr || is_saved(index)) continue;
    ASSIGN_OR_RETURN(const bool selected, spec().selects(target.path, target.kind));
    if (all || selected) RETURN_IF_ERROR(read_bias(index));
  }
  return ok_status();
}

Status Builder::read_bias(int32_t index) {
  const Target& target = targets_[index];
  const char* suffix = has(tensor_name(target, "base_layer.bias")) ? "base_layer.bias" : "bias";
  ASSIGN_OR_RETURN(Tensor bias, take(target, suffix, {target.out}));
  biases_[index] = adapter_->keep_f32(std::move(bias));
  return ok_status();
}

// A module that replaces the base's: weight (and bias where the base has one).
Status Builder::save_module(int32_t index) {
  const Target& target = targets_[index];
  ++adapter_->edit_report().modules_saved;
  if (target.kind == TargetKind::kNorm) {
    ASSIGN_OR_RETURN(Tensor gain, take(target, "weight", {target.out}));
    adapter_->set_norm_gain(index, adapter_->keep_f32(std::move(gain)));
    return ok_status();
  }
  if (target.kind == TargetKind::kEmbedding) {
    ASSIGN_OR_RETURN(Tensor table, take(target, "weight", {target.in, target.out}));
    adapter_->add_embedding().own_table = adapter_->keep_f32(std::move(table));
    return ok_status();
  }
  ASSIGN_OR_RETURN(Tensor weight, take(target, "weight", {target.out, target.in}));
  LinearTerms& terms = adapter_->edit_linear(index);
  terms.own_weight = own_weight(target, weight);
  if (target.vector != nullptr) {
    ASSIGN_OR_RETURN(Tensor bias, take(target, "bias", {target.out}));
    terms.bias = adapter_->keep_f32(std::move(bias));
  }
  return ok_status();
}

// PEFT stores the base's own embedding or head beside the adapter when it is selected, or was resized. It must be the
// one of this base: a copy that differs would be a second, silent change of the model.
Status Builder::check_base_copy(int32_t index) {
  const Target& target = targets_[index];
  const bool embedding = target.kind == TargetKind::kEmbedding;
  if (!embedding && target.kind != TargetKind::kHead) return ok_status();
  for (const char* suffix : {"base_layer.weight", "weight"}) {
    const std::string name = tensor_name(target, suffix);
    if (!has(name) || used_.contains(name)) continue;
    const Shape shape = embedding ? Shape{target.in, target.out} : Shape{target.out, target.in};
    ASSIGN_OR_RETURN(const Tensor copy, take(name, shape));
    std::vector<float> row(shape[1]);
    float largest = 0.0f, difference = 0.0f;
    for (int64_t i = 0; i < shape[0]; ++i) {
      read_weight_row(target, i, row.data());
      for (int64_t j = 0; j < shape[1]; ++j) {
        largest = std::max(largest, std::fabs(row[j]));
        difference = std::max(difference, std::fabs(row[j] - copy.f32()[i * shape[1] + j]));
      }
    }
    if (difference > 0.01f * largest) {  // 16-bit copies may differ by rounding
      return failed_precondition("adapter_model.safetensors: " + name +
                                 " is a copy of the base model's weights, but of "
                                 "another base (largest difference " +
                                 std::to_string(difference) +
                                 "); serve it with its own base, or save the module through modules_to_save");
    }
  }
  return ok_status();
}

Status Builder::finish_biases() {
  for (int32_t index = 0; index < targets_.size(); ++index) {
    if (biases_[index] == nullptr) continue;
    LinearTerms& terms = adapter_->edit_linear(index);
    if (terms.bias == nullptr) terms.bias = biases_[index];
  }
  return ok_status();
}

Status Builder::finish_tensors() const {
  size_t unknown = 0;
  std::string first;
  for (const auto& [name, view] : source_.tensors) {
    if (used_.contains(name)) continue;
    if (unknown++ == 0) first = name;
  }
  if (unknown == 0) return ok_status();
  std::string text = "adapter_model.safetensors: the tensor " + first;
  if (unknown > 1) text += " (and " + std::to_string(unknown - 1) + " more)";
  return failed_precondition(text +
                             " belongs to no module that adapter_config.json selects in this base model; is the "
                             "adapter made for another base model?");
}

Status Builder::finish(std::string_view kind) {
  for (const int32_t index : saved_) RETURN_IF_ERROR(save_module(index));
  for (int32_t index = 0; index < targets_.size(); ++index) RETURN_IF_ERROR(check_base_copy(index));
  RETURN_IF_ERROR(finish_biases());
  RETURN_IF_ERROR(finish_tensors());
  AdapterReport& report = adapter_->edit_report();
  report.kind = kind;
  report.tensors = static_cast<int32_t>(source_.tensors.size());
  adapter_->finish();
  if (adapter_->rank_max() > options_.rank_max) {  // step memory is planned for that much
    return Status(Code::kTooLong, "the ranks at one module add up to " + std::to_string(adapter_->rank_max()) +
                                      ", over the limit of " + std::to_string(options_.rank_max));
  }
  return ok_status();
}

}  // namespace umbel
