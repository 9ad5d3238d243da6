#include "train/kinds/trainable.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "adapters/tensor_names.h"
#include "store/peft_dir.h"
#include "train/job/kind_facts.h"
#include "train/kinds/kind_training.h"

namespace umbel::train {
namespace {

// The last parts of the base's linear modules, for messages.
std::string module_names(const TargetTable& targets) {
  std::set<std::string> names;
  for (const Target& target : targets.targets()) {
    if (target.kind != TargetKind::kNorm) names.insert(target.path.substr(target.path.rfind('.') + 1));
  }
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

// Everything that names modules must name some.
Status check_names(const JobSpec& spec, const AdapterSpec& selection, const TargetTable& targets, const std::vector<int32_t>& selected) {
  const auto nothing = [&](const std::string& what) {
    return invalid_argument(spec.name + ": " + what + " (its modules end in " + module_names(targets) + ")");
  };
  for (const std::string& name : selection.target.names) {
    const bool found = std::any_of(targets.targets().begin(), targets.targets().end(), [&](const Target& target) {
      return target.path == name || target.path.ends_with("." + name);
    });
    if (!found) return nothing("the target " + name + " matches no module of the base");
  }
  if (selected.empty()) return nothing("the targets match no module of the base");
  const auto used = [&](const Pattern& pattern) -> Result<bool> {
    for (const int32_t index : selected) {
      ASSIGN_OR_RETURN(const bool matched, pattern.full_match(targets[index].path));
      if (matched) return true;
    }
    return false;
  };
  for (const auto& [pattern, rank] : selection.rank_pattern) {
    ASSIGN_OR_RETURN(const bool found, used(pattern));
    if (!found) return nothing("rank_pattern: " + pattern.text() + " matches no selected module of the base");
  }
  for (const auto& [pattern, alpha] : selection.alpha_pattern) {
    ASSIGN_OR_RETURN(const bool found, used(pattern));
    if (!found) return nothing("alpha_pattern: " + pattern.text() + " matches no selected module of the base");
  }
  return ok_status();
}

Result<std::vector<int32_t>> select(const JobSpec& spec, const AdapterSpec& selection, const TargetTable& targets) {
  std::vector<int32_t> selected;
  for (int32_t index = 0; index < targets.size(); ++index) {
    const Target& target = targets[index];
    ASSIGN_OR_RETURN(const bool matched, selection.selects(target.path, target.kind));
    if (!matched) continue;
    const bool vector = target.kind == TargetKind::kNorm || target.kind == TargetKind::kPosition;
    if (vector || (target.kind == TargetKind::kEmbedding && !kind_facts(spec.kind).lora)) {
      return unsupported(spec.name + ": " + train_kind_name(spec.kind) + " can't be trained at " + target.path +
                         "; take it out of the targets");
    }
    selected.push_back(index);
  }
  RETURN_IF_ERROR(check_names(spec, selection, targets, selected));
  return selected;
}

// [rows, cols] to [cols, rows], which is what `shape` says.
Tensor turned(const Tensor& tensor, const Shape& shape) {
  const int64_t rows = tensor.shape()[0], cols = tensor.shape()[1];
  Tensor other(DType::kF32, shape);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t col = 0; col < cols; ++col) other.f32()[col * rows + row] = tensor.f32()[row * cols + col];
  }
  return other;
}

}  // namespace

Shape TrainableAdapter::file_shape(const Frozen& frozen) {
  const Shape& shape = frozen.value->shape();
  return frozen.transposed ? Shape{shape[1], shape[0]} : shape;
}

Result<std::unique_ptr<TrainableAdapter>> TrainableAdapter::create(const JobSpec& job, const TargetTable& targets,
                                                                   const std::string& base_name, SharedTensors* shared) {
  RETURN_IF_ERROR(check_job(job));
  JobSpec spec = job;
  name_default_targets(targets.defaults(), spec);
  std::unique_ptr<TrainableAdapter> made(new TrainableAdapter(targets));
  if (spec.kind == TrainKind::kFull) {
    RETURN_IF_ERROR(made->create_full(spec, targets, base_name));
    return made;
  }
  made->config_ = make_adapter_config(spec, base_name);
  const Result<AdapterSpec> selection = parse_spec(made->config_);
  if (!selection.ok()) return selection.status().with_context(spec.name);
  ASSIGN_OR_RETURN(const std::vector<int32_t> selected, select(spec, *selection, targets));
  TrainableBuild build(*made, spec, targets, *selection, shared);
  const KindTraining& kind = kind_training(spec.kind);
  RETURN_IF_ERROR(kind.build(build, selected));
  const auto turned = [&](int32_t index) { return targets[index].turned; };
  if (made->config_.contains("fan_in_fan_out")) made->config_["fan_in_fan_out"] = std::any_of(selected.begin(), selected.end(), turned);
  if (kind.finish != nullptr) kind.finish(build, selected, made->config_);
  made->adapter_->finish();
  made->materialize();
  return made;
}

Status TrainableAdapter::create_full(const JobSpec& spec, const TargetTable& targets, const std::string& base_name) {
  config_ = {{"kind", "full"}, {"base", base_name}};
  const AdapterSpec nothing_selected;
  TrainableBuild build(*this, spec, targets, nothing_selected);
  RETURN_IF_ERROR(train_full(build));
  DType stored = DType::kF32;
  for (const Target& target : targets.targets()) {
    if (target.kind == TargetKind::kLinear) stored = target.weight->dtype();
  }
  base_checkpoint_ = BaseCheckpoint{.base_dir = spec.full.base_dir, .dtype = spec.full.dtype.empty() ? stored : parse_dtype(spec.full.dtype).value()};
  adapter_->finish();
  materialize();
  return ok_status();
}

LinearGrads TrainableAdapter::gradients(int32_t target) const {
  const auto found = grads_.find(target);
  if (found == grads_.end()) return {};
  return {.scale = found->second.scale, .low_rank = found->second.low_rank, .bias = found->second.bias, .weight = found->second.weight};
}

int64_t TrainableAdapter::trained_values() const {
  int64_t count = 0;
  for (const Parameter& parameter : parameters_) count += parameter.value.elements();
  return count;
}

size_t TrainableAdapter::bytes() const {
  size_t bytes = 0;
  for (const Parameter& p : parameters_) {
    bytes += p.value.bytes() + p.gradient.bytes();
    for (const StateTensor& state : p.state) bytes += state.tensor.bytes();
  }
  for (const Tensor& buffer : buffers_) bytes += buffer.bytes();
  for (const auto& derived : derived_) bytes += derived->bytes();
  for (const Frozen& frozen : frozen_) bytes += frozen.value->bytes();
  for (const auto& kept : kept_) bytes += kept->bytes();
  return bytes;
}

void TrainableAdapter::zero_gradients() {
  for (Parameter& parameter : parameters_) std::fill_n(parameter.gradient.f32(), parameter.gradient.elements(), 0.0f);
  for (const auto& derived : derived_) derived->zero_gradients();
}

void TrainableAdapter::gather() {
  for (const auto& derived : derived_) derived->gather();
}

void TrainableAdapter::materialize(ThreadPool* pool) {
  for (const auto& derived : derived_) derived->materialize(pool);
}

Status TrainableAdapter::check_start(const std::map<std::string, TensorView>& tensors) const {
  std::map<std::string, Shape> wanted;
  for (const Parameter& p : parameters_) wanted[p.tensor] = p.file_shape;
  for (const Frozen& f : frozen_) wanted[f.tensor] = file_shape(f);
  for (const auto& [name, shape] : wanted) {
    const auto found = tensors.find(name);
    if (found == tensors.end()) return invalid_argument("the adapter to start from has no tensor " + name);
    if (found->second.shape != shape) {
      return invalid_argument("the adapter to start from: " + name + " has shape " + shape_string(found->second.shape) + ", expected " +
                              shape_string(shape));
    }
  }
  for (const auto& [name, view] : tensors) {
    if (!wanted.contains(name)) return invalid_argument("the adapter to start from has a tensor " + name + " that this job does not train");
  }
  return ok_status();
}

// Terms that read the old numbers read the new ones.
void TrainableAdapter::replace_frozen(Frozen& frozen, Tensor value) {
  auto fresh = std::make_shared<const Tensor>(std::move(value));
  for (const auto& [index, grads] : grads_) {
    if (adapter_->linear(index) == nullptr) continue;
    for (LowRankTerm& term : adapter_->edit_linear(index).low_rank) {
      for (const void** side : {&term.a, &term.b_t}) {
        if (*side == frozen.value->data()) *side = fresh->data();
      }
    }
  }
  frozen.value = std::move(fresh);
}

Status TrainableAdapter::start_from(const std::map<std::string, TensorView>& tensors) {
  RETURN_IF_ERROR(check_start(tensors));
  for (Parameter& p : parameters_) {
    Tensor values = Tensor::widened(tensors.at(p.tensor));
    if (p.transposed) values = turned(values, p.value.shape());
    std::copy_n(values.f32(), values.elements(), p.value.f32());
  }
  for (Frozen& f : frozen_) {
    Tensor values = Tensor::widened(tensors.at(f.tensor));
    replace_frozen(f, f.transposed ? turned(values, f.value->shape()) : std::move(values));
  }
  materialize();
  return ok_status();
}

Status TrainableAdapter::write(const Path& dir) const {
  std::map<std::string, TensorView> views;
  std::vector<Tensor> files;
  files.reserve(parameters_.size() + frozen_.size());
  const auto add = [&](const std::string& name, const Tensor& tensor, const Shape& file_shape, bool transposed) {
    if (transposed) files.push_back(turned(tensor, file_shape));
    views[name] = transposed ? files.back().view() : tensor.view();
    views[name].shape = file_shape;
  };
  for (const Parameter& p : parameters_) add(p.tensor, p.value, p.file_shape, p.transposed);
  for (const Frozen& f : frozen_) add(f.tensor, *f.value, file_shape(f), f.transposed);
  if (base_checkpoint_) return write_base_checkpoint(dir, *base_checkpoint_, views);
  return write_peft_dir(dir, config_, views);
}

// ---- building -------------------------------------------------------------------------------------------------------

Master TrainableBuild::add_parameter(int32_t index, const std::string& suffix, const ParameterShape& s) {
  const Shape shape{s.rows, s.cols};
  Parameter parameter{.tensor = std::string(s.plain_name ? "" : kTensorPrefix) + targets_[index].path + suffix, .file_shape = shape, .transposed = s.transposed, .rate = s.rate,
                      .decays = s.decays};
  if (s.transposed) parameter.file_shape = {s.cols, s.rows};
  if (s.flat) parameter.file_shape = {s.cols};
  parameter.value = Tensor(DType::kF32, shape);
  parameter.gradient = Tensor(DType::kF32, shape);
  parameter.state = make_optimizer_state(spec_.optimizer, s.rows * s.cols, spec_.momentum);
  Parameter& added = made_.parameters_.emplace_back(std::move(parameter));
  return {added.value.f32(), added.gradient.f32()};
}

Master TrainableBuild::add_parameter(int32_t index, const KindTensor& tensor, int64_t rank, double rate) {
  const Target& at = targets_[index];
  const Shape file = file_shape(tensor, at, rank);
  ParameterShape shape{.transposed = tensor.turned, .flat = file.size() == 1, .rate = rate, .decays = tensor.decays};
  shape.cols = shape.flat || tensor.turned ? file[0] : file[1];
  if (!shape.flat) shape.rows = tensor.turned ? file[1] : file[0];
  const Master master = add_parameter(index, "." + std::string(tensor.suffix), shape);
  const std::span<float> values(master.value, static_cast<size_t>(shape.rows * shape.cols));
  start(index, tensor.start, {at.in, rank}, values);
  return master;
}

// The first draw of a module is random(index)'s, so that kinds with one drawn tensor begin as they always did.
void TrainableBuild::start(int32_t index, Start how, const FanIn& fan_in, std::span<float> values) {
  if (how == Start::kZero || how == Start::kOwn) return;
  if (how == Start::kOnes) return std::fill(values.begin(), values.end(), 1.0f);
  const uint64_t earlier = draws_[index]++;
  Random drawn = earlier == 0 ? random(index) : Random(mix_key({spec_.seed, static_cast<uint64_t>(index), earlier}));
  if (how == Start::kNormal) {
    for (float& value : values) value = static_cast<float>(drawn.next_normal());
    return;
  }
  const int64_t size = how == Start::kUniformIn ? fan_in.in : fan_in.rank;
  fill_uniform(drawn, 1.0 / std::sqrt(static_cast<double>(size)), values);
}

std::shared_ptr<const Tensor> TrainableBuild::share(Tensor tensor) {
  return shared_ != nullptr ? shared_->intern(std::move(tensor)) : std::make_shared<const Tensor>(std::move(tensor));
}

float* TrainableBuild::add_buffer(int64_t count) { return made_.buffers_.emplace_back(DType::kF32, Shape{count}).f32(); }

void TrainableBuild::add_frozen(const std::string& tensor, std::shared_ptr<const Tensor> value, bool transposed) {
  made_.frozen_.push_back({tensor, std::move(value), transposed});
}

void TrainableBuild::add_scale(int32_t index, const ScaleTerm& term, const ScaleGrads& grads) {
  terms(index).scale.push_back(term);
  made_.grads_[index].scale.push_back(grads);
}

void TrainableBuild::add_low_rank(int32_t index, const LowRankTerm& term, const LowRankGrads& grads) {
  terms(index).low_rank.push_back(term);
  made_.grads_[index].low_rank.push_back(grads);
}

void TrainableBuild::add_bias(int32_t index, const float* bias, float* gradient) {
  terms(index).bias = bias;
  made_.grads_[index].bias = gradient;
}

void TrainableBuild::add_whole_weight(int32_t index, const kernels::FrozenMatrix* weight, float* gradient) {
  terms(index).own_weight = weight;
  made_.grads_[index].weight = gradient;
}

void TrainableBuild::add_whole_gain(int32_t index, const float* gain, float* gradient) {
  made_.adapter_->set_norm_gain(index, gain);
  made_.grads_[index].weight = gradient;
}

void TrainableBuild::add_whole_norm_bias(int32_t index, const float* bias, float* gradient) {
  made_.adapter_->set_norm_bias(index, bias);
  made_.grads_[index].bias = gradient;
}

void TrainableBuild::add_whole_positions(int32_t index, const float* table, float* gradient) {
  made_.adapter_->set_positions(table);
  made_.grads_[index].weight = gradient;
}

void TrainableBuild::add_whole_table(int32_t index, const float* table, float* gradient) {
  made_.adapter_->add_embedding().own_table = table;
  made_.grads_[index].weight = gradient;
}

void TrainableBuild::add_embedding(int32_t index, const EmbeddingTerms& terms, const LowRankGrads& grads) {
  made_.adapter_->add_embedding() = terms;
  made_.grads_[index].low_rank.push_back(grads);
}

void fill_uniform(Random& random, double bound, std::span<float> values) {
  for (float& value : values) value = static_cast<float>((2.0 * random.next_double() - 1.0) * bound);
}

}  // namespace umbel::train
