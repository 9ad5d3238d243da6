#include "models/weights.h"

#include <algorithm>
#include <set>

#include "base/log.h"
#include "tensor/transpose.h"

namespace umbel {
namespace {

constexpr size_t kProblemsShown = 8;

// Buffers that old versions of transformers wrote into checkpoints; the model computes them itself.
bool is_known_buffer(const std::string& name) {
  return name.ends_with(".rotary_emb.inv_freq") || name.ends_with(".masked_bias") || name.ends_with(".attn.bias") ||
         name.ends_with(".attention.bias");
}

// What quantised checkpoints store beside or in place of a weight: GPTQ and AWQ, bitsandbytes, FP8, compressed-tensors.
bool is_quantised_part(const std::string& name) {
  for (const char* end : {".qweight", ".qzeros", ".g_idx", ".scales", ".weight.absmax", ".weight.quant_map", ".weight.nested_absmax",
                          ".SCB", ".weight_scale", ".weight_scale_inv", ".weight_packed"}) {
    if (name.ends_with(end)) return true;
  }
  return name.find(".quant_state.bitsandbytes__") != std::string::npos;
}

std::string listed(const std::vector<std::string>& items) {
  std::string text;
  for (size_t i = 0; i < items.size() && i < kProblemsShown; ++i) text += (i ? "; " : "") + items[i];
  if (items.size() > kProblemsShown) text += "; and " + std::to_string(items.size() - kProblemsShown) + " more";
  return text;
}

}  // namespace

bool is_weight_dtype(DType dtype) { return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16; }

Result<WeightForm> parse_weight_form(const std::string& name, DType as_stored) {
  WeightForm form{.dtype = as_stored};
  for (const auto quantised : {kernels::Quantisation::kInt8, kernels::Quantisation::kNf4, kernels::Quantisation::kNf4Dq}) {
    if (name == kernels::quantisation_name(quantised)) form.linear = quantised;
  }
  std::string wanted(dtype_name(as_stored));
  if (name != "auto" && form.linear == kernels::Quantisation::kNone) {
    const auto parsed = parse_dtype(name);
    form.dtype = parsed.ok() ? *parsed : DType::kBool;
    wanted = name;
  }
  if (is_weight_dtype(form.dtype)) return form;
  return invalid_argument("weights can be stored as f32, bf16, f16, int8, nf4 or nf4-dq, not as " + wanted + " (--dtype)");
}

size_t WeightStorage::bytes() const {
  size_t bytes = 0;
  for (const kernels::FrozenMatrix& matrix : matrices) bytes += matrix.bytes();
  for (const Tensor& tensor : tensors) bytes += tensor.bytes();
  return bytes;
}

const TensorView* Weights::fetch(const std::string& name, const Shape& shape) {
  used_.push_back(name);
  const TensorView* view = source_.find(name, shape);
  if (view == nullptr) {
    problems_.push_back("missing " + name + " " + shape_string(shape));
  } else if (view->shape != shape) {
    problems_.push_back(name + " is " + shape_string(view->shape) + ", config.json asks for " + shape_string(shape));
  } else if (!is_weight_dtype(view->dtype)) {
    problems_.push_back(name + " is " + std::string(dtype_name(view->dtype)) +
                        ", only f32, bf16 and f16 weights are read");
  } else {
    storage_.parameters += view->elements();
    return view;
  }
  return nullptr;
}

const kernels::FrozenMatrix* Weights::matrix(const std::string& name, int64_t out, int64_t in) {
  const TensorView* view = fetch(name, {out, in});
  if (view == nullptr) return nullptr;
  return &storage_.matrices.emplace_back(kernels::FrozenMatrix::pack(*view, form_.dtype, choice_, &pool_));
}

const kernels::FrozenMatrix* Weights::linear_matrix(const std::string& name, const TensorView* view) {
  if (view == nullptr) return nullptr;
  if (form_.linear == kernels::Quantisation::kNone) {
    return &storage_.matrices.emplace_back(kernels::FrozenMatrix::pack(*view, form_.dtype, choice_, &pool_));
  }
  auto quantised = kernels::FrozenMatrix::quantise(*view, form_.linear, choice_, &pool_);
  if (quantised.ok()) return &storage_.matrices.emplace_back(std::move(quantised).value());
  if (refusal_.ok()) {
    const Status& status = quantised.status();
    const bool shape = status.code() == Code::kUnsupported;
    refusal_ = Status(status.code(), source_.description() + ": " + name + " cannot be stored as " +
                                         std::string(kernels::quantisation_name(form_.linear)) + ": " + status.message() +
                                         (shape ? "; load the model with --dtype int8, bf16 or f32"
                                                : "; the checkpoint is broken, get it again"));
  }
  return nullptr;
}

const float* Weights::vector(const std::string& name, int64_t dim, float offset) {
  const TensorView* view = fetch(name, {dim});
  if (view == nullptr) return nullptr;
  float* values = storage_.tensors.emplace_back(Tensor::widened(*view)).f32();
  for (int64_t i = 0; offset != 0 && i < dim; ++i) values[i] += offset;
  return values;
}

int32_t Weights::linear(const std::string& path, int64_t out, int64_t in, bool bias) {
  Target target{.path = path, .kind = TargetKind::kLinear, .in = in, .out = out};
  target.weight = linear_matrix(path + ".weight", fetch(path + ".weight", {out, in}));
  if (bias) target.vector = vector(path + ".bias", out);
  return targets_.add(std::move(target));
}

int32_t Weights::turned_linear(const std::string& path, int64_t out, int64_t in) {
  Target target{.path = path, .kind = TargetKind::kLinear, .in = in, .out = out, .turned = true};
  if (const TensorView* view = fetch(path + ".weight", {in, out})) {
    const Tensor turned = transposed(*view);
    const TensorView as_used = turned.view();
    target.weight = linear_matrix(path + ".weight", &as_used);
  }
  target.vector = vector(path + ".bias", out);
  return targets_.add(std::move(target));
}

int32_t Weights::norm(const std::string& path, int64_t dim, float offset) {
  Target target{.path = path, .kind = TargetKind::kNorm, .in = 0, .out = dim, .gain_offset = offset};
  target.vector = vector(path + ".weight", dim, offset);
  return targets_.add(std::move(target));
}

int32_t Weights::layer_norm(const std::string& path, int64_t dim) {
  Target target{.path = path, .kind = TargetKind::kNorm, .in = 0, .out = dim};
  target.vector = vector(path + ".weight", dim);
  target.norm_bias = vector(path + ".bias", dim);
  return targets_.add(std::move(target));
}

int32_t Weights::positions(const std::string& path, int64_t count, int64_t dim) {
  Target target{.path = path, .kind = TargetKind::kPosition, .in = count, .out = dim};
  if (const TensorView* view = fetch(path + ".weight", {count, dim})) {
    target.table = storage_.tensors.emplace_back(Tensor::converted(*view, form_.dtype)).view();
  }
  return targets_.add(std::move(target));
}

int32_t Weights::embedding(const std::string& path, int64_t vocab, int64_t dim) {
  Target target{.path = path, .kind = TargetKind::kEmbedding, .in = vocab, .out = dim};
  if (const TensorView* view = fetch(path + ".weight", {vocab, dim})) {
    target.table = storage_.tensors.emplace_back(Tensor::converted(*view, form_.dtype)).view();
  }
  return targets_.add(std::move(target));
}

Weights::Tied Weights::tied_embedding(const std::string& path, const std::string& head_path, int64_t vocab,
                                      int64_t dim) {
  const kernels::FrozenMatrix* shared = matrix(path + ".weight", vocab, dim);
  // Some checkpoints store the head too; tie_word_embeddings says it is the same weight, and as in transformers it
  // decides.
  used_.push_back(head_path + ".weight");
  if (source_.differ(path + ".weight", head_path + ".weight")) {
    LOG_WARN("{}: {}.weight is not the embedding, but config.json says tie_word_embeddings: it is left out",
             source_.description(), head_path);
  }
  Tied tied{};
  tied.embedding = targets_.add(
      {.path = path, .kind = TargetKind::kEmbedding, .in = vocab, .out = dim, .weight = shared, .tied = true});
  tied.head = targets_.add(
      {.path = head_path, .kind = TargetKind::kHead, .in = dim, .out = vocab, .weight = shared, .tied = true});
  return tied;
}

int32_t Weights::head(const std::string& path, int64_t vocab, int64_t dim) {
  Target target{.path = path, .kind = TargetKind::kHead, .in = dim, .out = vocab};
  target.weight = matrix(path + ".weight", vocab, dim);
  return targets_.add(std::move(target));
}

void Weights::add_bias(int32_t head) {
  Target& target = targets_.edit(head);
  target.vector = vector(target.path + ".bias", target.out);
}

Status Weights::finish() const {
  if (problems_.empty() && !refusal_.ok()) return refusal_;
  std::vector<std::string> problems = problems_;
  const std::set<std::string> used(used_.begin(), used_.end());
  for (const std::string& name : source_.names()) {
    if (is_quantised_part(name)) {
      return invalid_argument(source_.description() + ": " + name +
                              " says that the weights are stored quantised (GPTQ, AWQ, bitsandbytes or FP8), which is not read "
                              "here; take the full-precision base that they were made from, with --dtype nf4 to have it as small");
    }
    if (!used.contains(name) && !is_known_buffer(name)) problems.push_back("unexpected " + name);
  }
  if (problems.empty()) return ok_status();
  return invalid_argument(source_.description() + " does not fit config.json: " + listed(problems) +
                          ". Get config.json and all safetensors files again from one revision of the model");
}

}  // namespace umbel
