#include "train/trainable.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "store/peft_dir.h"

namespace umbel {
namespace {

constexpr const char* kPrefix = "base_model.model.";

bool is_lora(TrainKind kind) { return kind == TrainKind::kLora || kind == TrainKind::kRsLora; }

Json make_config(const JobSpec& spec, const std::string& base_name) {
  const std::vector<std::string> targets = spec.targets.empty() ? default_targets(spec.kind) : spec.targets;
  Json config{{"base_model_name_or_path", base_name}, {"task_type", "CAUSAL_LM"}, {"inference_mode", true},
              {"target_modules", targets},            {"modules_to_save", nullptr}};
  if (is_lora(spec.kind)) {
    config.update({{"peft_type", "LORA"}, {"r", spec.rank}, {"lora_alpha", spec.alpha}, {"lora_dropout", 0.0}, {"bias", "none"},
                   {"use_rslora", spec.kind == TrainKind::kRsLora}, {"fan_in_fan_out", false}, {"init_lora_weights", true}});
  } else if (spec.kind == TrainKind::kIa3) {
    std::vector<std::string> feedforward;
    for (const std::string& target : targets) {
      if (target == "down_proj") feedforward.push_back(target);
    }
    config.update({{"peft_type", "IA3"}, {"feedforward_modules", feedforward}, {"fan_in_fan_out", false}, {"init_ia3_weights", true}});
  } else {
    const bool residual = spec.kind == TrainKind::kFloraResidual;
    config.update({{"peft_type", "FLORA"}, {"flora_format", 1}, {"r", spec.rank}, {"flora_alpha", nullptr}, {"reduction", "mean"},
                   {"form", residual ? "residual" : "multiplicative"}, {"scale_bias", false}, {"store_offset", false}, {"bias", "none"},
                   {"init_flora_weights", residual ? "residual" : "identity_lora"}});
  }
  return config;
}

// U(-1/sqrt(in), 1/sqrt(in)): Kaiming-uniform with a = sqrt(5), as PEFT starts LoRA's A.
void fill_kaiming(float* values, int64_t count, int64_t in, uint64_t key) {
  Random random(key);
  const double bound = 1.0 / std::sqrt(static_cast<double>(in));
  for (int64_t i = 0; i < count; ++i) values[i] = static_cast<float>((2.0 * random.next_double() - 1.0) * bound);
}

}  // namespace

Result<std::unique_ptr<TrainableAdapter>> TrainableAdapter::create(const JobSpec& spec, const TargetTable& targets,
                                                                   const std::string& base_name) {
  RETURN_IF_ERROR(check_job(spec));
  if (spec.kind == TrainKind::kDora || spec.kind == TrainKind::kVera || spec.kind == TrainKind::kQlora || spec.kind == TrainKind::kLoraPlus ||
      spec.dropout > 0 || spec.optimizer != OptimizerKind::kAdamW) {
    return unsupported(spec.name + ": this kind, dropout or optimizer is not trained here yet");
  }
  std::unique_ptr<TrainableAdapter> trainable(new TrainableAdapter(spec, targets));
  trainable->config_ = make_config(spec, base_name);
  ASSIGN_OR_RETURN(const ConfigValue config, to_config_value(trainable->config_));
  const ConfigObject* object = config.as<ConfigObject>();
  CHECK(object != nullptr, "a configuration is an object");
  ASSIGN_OR_RETURN(const AdapterSpec selection, parse_spec(*object));
  for (int32_t index = 0; index < targets.size(); ++index) {
    const Target& target = targets[index];
    if (target.kind != TargetKind::kLinear) continue;
    ASSIGN_OR_RETURN(const bool selected, selection.selects(target.path, target.kind));
    if (selected) RETURN_IF_ERROR(trainable->add_target(index, target.path.ends_with(".down_proj")));
  }
  if (trainable->linear_grads_.empty()) {
    return invalid_argument(spec.name + ": the targets match no linear layer of the base (its layers end in q_proj, k_proj, v_proj, "
                                        "o_proj, gate_proj, up_proj, down_proj)");
  }
  trainable->adapter_->finish();
  trainable->materialize();
  return trainable;
}

size_t TrainableAdapter::add_parameter(const std::string& tensor, int64_t rows, int64_t cols, bool transposed) {
  const Shape shape{rows, cols};
  Parameter parameter{.tensor = tensor, .file_shape = transposed ? Shape{cols, rows} : shape, .transposed = transposed};
  parameter.value = Tensor(DType::kF32, shape);
  parameter.gradient = Tensor(DType::kF32, shape);
  parameter.m = Tensor(DType::kF32, shape);
  parameter.v = Tensor(DType::kF32, shape);
  parameters_.push_back(std::move(parameter));
  return parameters_.size() - 1;
}

float* TrainableAdapter::scaled_copy(size_t index, double scale) {
  Parameter& parameter = parameters_[index];
  parameter.scale = scale;
  parameter.scaled = buffers_.emplace_back(DType::kF32, parameter.value.shape()).f32();
  parameter.scaled_gradient = buffers_.emplace_back(DType::kF32, parameter.value.shape()).f32();
  return parameter.scaled;
}

Status TrainableAdapter::add_target(int32_t index, bool feedforward) {
  if (is_lora(spec_.kind)) {
    add_lora(index);
    return ok_status();
  }
  if (spec_.kind == TrainKind::kIa3) {
    if (!feedforward && targets_[index].vector != nullptr) {
      return unsupported(targets_[index].path + ": IA3 on the output side of a layer with a bias is not trained here");
    }
    add_ia3(index, feedforward);
    return ok_status();
  }
  add_flora(index);
  return ok_status();
}

void TrainableAdapter::add_lora(int32_t index) {
  const Target& target = targets_[index];
  const double rank = static_cast<double>(spec_.rank);
  const double scale = spec_.kind == TrainKind::kRsLora ? spec_.alpha / std::sqrt(rank) : spec_.alpha / rank;
  const size_t a = add_parameter(kPrefix + target.path + ".lora_A.weight", spec_.rank, target.in, false);
  const size_t b = add_parameter(kPrefix + target.path + ".lora_B.weight", spec_.rank, target.out, true);
  fill_kaiming(parameters_[a].value.f32(), spec_.rank * target.in, target.in, mix_key({spec_.seed, static_cast<uint64_t>(index)}));
  adapter_->add_linear(index).low_rank.push_back({.rank = static_cast<int32_t>(spec_.rank), .dtype = DType::kF32,
                                                  .a = parameters_[a].value.f32(), .b_t = parameters_[b].value.f32(),
                                                  .a_stride = target.in, .b_stride = target.out, .scale = static_cast<float>(scale)});
  linear_grads_[index].low_rank.push_back({.a = parameters_[a].gradient.f32(), .b_t = parameters_[b].gradient.f32()});
}

void TrainableAdapter::add_ia3(int32_t index, bool feedforward) {
  const Target& target = targets_[index];
  const int64_t width = feedforward ? target.in : target.out;
  const size_t l = add_parameter(kPrefix + target.path + ".ia3_l", 1, width, !feedforward);
  std::fill_n(parameters_[l].value.f32(), width, 1.0f);
  const float* value = parameters_[l].value.f32();
  float* gradient = parameters_[l].gradient.f32();
  adapter_->add_linear(index).scale.push_back(feedforward ? ScaleTerm{.pre = value} : ScaleTerm{.post = value});
  linear_grads_[index].scale.push_back(feedforward ? ScaleGrads{.pre = gradient} : ScaleGrads{.post = gradient});
}

// identity_lora: the first component is all ones and alone gives W; the others start at q = 0. The residual form has the
// plain term for W and starts with all q = 0. reduction "mean": s = 1/r.
void TrainableAdapter::add_flora(int32_t index) {
  const Target& target = targets_[index];
  const bool residual = spec_.kind == TrainKind::kFloraResidual;
  const double scale = 1.0 / static_cast<double>(spec_.rank);
  const size_t p = add_parameter(kPrefix + target.path + ".flora_A", spec_.rank, target.in, false);
  const size_t q = add_parameter(kPrefix + target.path + ".flora_B", spec_.rank, target.out, true);
  fill_kaiming(parameters_[p].value.f32(), spec_.rank * target.in, target.in, mix_key({spec_.seed, static_cast<uint64_t>(index)}));
  if (!residual) {
    std::fill_n(parameters_[p].value.f32(), target.in, 1.0f);
    std::fill_n(parameters_[q].value.f32(), target.out, static_cast<float>(1.0 / scale));
  }
  const float* post = scaled_copy(q, scale);
  LinearTerms& terms = adapter_->add_linear(index);
  TargetGrads& grads = linear_grads_[index];
  if (residual) {
    terms.scale.push_back({});
    grads.scale.push_back({});
  }
  for (int64_t k = 0; k < spec_.rank; ++k) {
    terms.scale.push_back({.pre = parameters_[p].value.f32() + k * target.in, .post = post + k * target.out});
    grads.scale.push_back({.pre = parameters_[p].gradient.f32() + k * target.in,
                           .post = parameters_[q].scaled_gradient + k * target.out});
  }
}

LinearGrads TrainableAdapter::gradients(int32_t target) const {
  const auto found = linear_grads_.find(target);
  if (found == linear_grads_.end()) return {};
  return {.scale = found->second.scale, .low_rank = found->second.low_rank};
}

int64_t TrainableAdapter::trained_values() const {
  int64_t count = 0;
  for (const Parameter& parameter : parameters_) count += parameter.value.elements();
  return count;
}

size_t TrainableAdapter::bytes() const {
  size_t bytes = 0;
  for (const Parameter& p : parameters_) bytes += p.value.bytes() + p.gradient.bytes() + p.m.bytes() + p.v.bytes();
  for (const Tensor& buffer : buffers_) bytes += buffer.bytes();
  return bytes;
}

void TrainableAdapter::zero_gradients() {
  for (Parameter& parameter : parameters_) {
    std::fill_n(parameter.gradient.f32(), parameter.gradient.elements(), 0.0f);
    if (parameter.scaled_gradient != nullptr) std::fill_n(parameter.scaled_gradient, parameter.value.elements(), 0.0f);
  }
}

void TrainableAdapter::gather() {
  for (Parameter& parameter : parameters_) {
    if (parameter.scaled_gradient == nullptr) continue;
    const float scale = static_cast<float>(parameter.scale);
    for (int64_t i = 0; i < parameter.value.elements(); ++i) parameter.gradient.f32()[i] = scale * parameter.scaled_gradient[i];
  }
}

void TrainableAdapter::materialize() {
  for (Parameter& parameter : parameters_) {
    if (parameter.scaled == nullptr) continue;
    const float scale = static_cast<float>(parameter.scale);
    for (int64_t i = 0; i < parameter.value.elements(); ++i) parameter.scaled[i] = scale * parameter.value.f32()[i];
  }
}

Status TrainableAdapter::write(const Path& dir) const {
  std::map<std::string, TensorView> views;
  std::vector<Tensor> turned;
  turned.reserve(parameters_.size());
  for (const Parameter& parameter : parameters_) {
    if (!parameter.transposed) {
      views[parameter.tensor] = parameter.value.view();
      continue;
    }
    const int64_t rows = parameter.value.shape()[0], cols = parameter.value.shape()[1];
    Tensor& file = turned.emplace_back(DType::kF32, parameter.file_shape);
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t col = 0; col < cols; ++col) file.f32()[col * rows + row] = parameter.value.f32()[row * cols + col];
    }
    views[parameter.tensor] = file.view();
  }
  return write_peft_dir(dir, config_, views);
}

}  // namespace umbel
