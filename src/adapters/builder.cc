#include "adapters/builder.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "adapters/bounds.h"
#include "adapters/served_rank.h"

namespace umbel {
namespace {

bool is_float(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16 || dtype == DType::kF64;
}

Status another_base(const std::string& name, float difference) {
  return failed_precondition("adapter_model.safetensors: " + name +
                             " is a copy of the base model's weights, but of another base (largest difference " +
                             std::to_string(difference) +
                             "); serve it with its own base, or save the module through modules_to_save");
}

// How far a copy of the base's weights in the file may be from what the base holds, of the largest value: 16-bit copies
// differ by rounding, a quantised base by its quantisation.
float copy_tolerance(const Target& target) {
  if (target.weight == nullptr) return 0.01f;
  switch (target.weight->quantisation()) {
    case kernels::Quantisation::kNone: return 0.01f;
    case kernels::Quantisation::kInt8: return 0.02f;
    default: return 0.25f;
  }
}

}  // namespace

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
    ASSIGN_OR_RETURN(const bool matched, selects(target));
    if (!matched) continue;
    const bool vector = target.kind == TargetKind::kNorm || target.kind == TargetKind::kPosition;
    if (vector || (target.kind == TargetKind::kEmbedding && !embeddings_allowed)) {
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

int32_t Builder::find_kind(TargetKind kind) const { return find_target(targets_, kind); }

Result<int64_t> Builder::rank_at(const Target& target) const {
  ASSIGN_OR_RETURN(const int64_t rank, spec().rank_at(own_path(target), rank_default_));
  if (rank < 1) return invalid_argument("adapter_config.json: r is " + std::to_string(rank) + ", expected at least 1");
  if (const int64_t served = served_rank(spec().peft_type, rank); served > options_.rank_max) {
    const std::string as = served == rank ? "" : ", served as rank " + std::to_string(served) + ",";
    return Status(Code::kTooLong, "adapter_config.json: the rank " + std::to_string(rank) + as + " at " + target.path +
                                      " is over the limit of " + std::to_string(options_.rank_max));
  }
  return rank;
}

const std::string& Builder::own_path(const Target& target) const {
  const auto found = source_.own_paths.find(target.path);
  return found == source_.own_paths.end() ? target.path : found->second;
}

Result<bool> Builder::selects(const Target& target) const {
  ASSIGN_OR_RETURN(const bool selected, spec().selects(target.path, target.kind));
  const std::string& own = own_path(target);
  if (selected || &own == &target.path) return selected;
  return spec().selects(own, target.kind);
}

std::string Builder::in_file(const std::string& name) const {
  const auto found = source_.spelled.find(name);
  return found == source_.spelled.end() ? name : found->second;
}

Status Builder::missing_tensor(const std::string& name) const {
  std::string text = "adapter_model.safetensors: the tensor " + name + " is missing";
  for (const auto& [other, view] : source_.tensors) {
    if (used_.contains(other)) continue;
    text += " (the file has, for instance, " + in_file(other) + ")";
    break;
  }
  return invalid_argument(text + "; the file is incomplete, or adapter_config.json selects a module that was not trained");
}

const TensorView* Builder::take_view(const std::string& name) {
  if (looked_for_.empty()) looked_for_ = name;
  const auto found = source_.tensors.find(name);
  if (found == source_.tensors.end()) return nullptr;
  used_.insert(name);
  return &found->second;
}

Result<Tensor> Builder::take(const std::string& name, const Shape& shape) {
  const TensorView* view = take_view(name);
  if (view == nullptr) return missing_tensor(name);
  if (view->shape != shape) {
    return failed_precondition("adapter_model.safetensors: the tensor " + in_file(name) + " has shape " +
                               shape_string(view->shape) + ", but this base model and adapter_config.json ask for " +
                               shape_string(shape) + "; is the adapter made for another base model?");
  }
  if (!is_float(view->dtype)) {
    return unsupported("adapter_model.safetensors: the tensor " + in_file(name) + " has type " +
                       std::string(dtype_name(view->dtype)) + ", expected f32, f16 or bf16");
  }
  Tensor tensor = Tensor::widened(*view);
  const float* values = tensor.f32();
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    if (std::isfinite(values[i]) && std::fabs(values[i]) > kAdapterValueMax) {
      return data_loss("adapter_model.safetensors: the tensor " + in_file(name) + " holds the value " + std::to_string(values[i]) + " (element " +
                       std::to_string(i) + "), which no weight has; the training run broke, use an earlier checkpoint");
    }
    if (!std::isfinite(values[i])) {
      return data_loss("adapter_model.safetensors: the tensor " + in_file(name) + " holds a value that is not finite (element " +
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
  return low_rank_turned(a, transposed(b), scale);
}

LowRankTerm Builder::low_rank_turned(const Tensor& a, const Tensor& b_t, float scale) {
  LowRankTerm term;
  term.rank = static_cast<int32_t>(a.shape()[0]);
  term.dtype = options_.factor_dtype;
  term.a_stride = a.shape()[1];
  term.b_stride = b_t.shape()[1];
  term.a = adapter_->keep(Tensor::converted(a.view(), term.dtype));
  term.b_t = adapter_->keep(Tensor::converted(b_t.view(), term.dtype));
  term.scale = scale;
  return term;
}

const kernels::FrozenMatrix* Builder::own_weight(const Target& target, const Tensor& weight) {
  const bool quantised = target.weight->quantisation() != kernels::Quantisation::kNone;
  const kernels::Choice choice{.arithmetic = quantised ? kernels::Arithmetic::kF32Fma : target.weight->arithmetic()};
  const DType stored = quantised ? options_.factor_dtype : target.weight->dtype();  // never quantised, as in PEFT
  return adapter_->keep(kernels::FrozenMatrix::pack(weight.view(), stored, choice));
}

Result<LinearTerms*> Builder::add_linear(int32_t target) {
  if (is_saved(target)) {
    return unsupported("adapter_config.json: the module " + targets_[target].path +
                       " is both adapted and named by modules_to_save; name it in one of them");
  }
  return resized_.contains(target) ? &adapter_->edit_linear(target) : &adapter_->add_linear(target);
}

Status Builder::read_vocabulary() {
  ASSIGN_OR_RETURN(const ResizedVocabulary vocabulary, find_resized_vocabulary(source_, targets_));
  if (vocabulary.rows == 0) return ok_status();
  const int64_t base = targets_[find_kind(TargetKind::kEmbedding)].in;
  if (vocabulary.rows > options_.vocabulary_max) {
    return Status(Code::kTooLong, "the adapter's resized vocabulary has " + std::to_string(vocabulary.rows) +
                                      " tokens, the base has " + std::to_string(base) + ", and room was made for " +
                                      std::to_string(options_.vocabulary_max) + " (--adapter-vocab-extra)");
  }
  RETURN_IF_ERROR(take_tables(vocabulary));
  warn("the adapter's vocabulary has " + std::to_string(vocabulary.rows) + " tokens, the base's " + std::to_string(base) +
       ": it computes with its own embedding and head");
  return ok_status();
}

// The adapter's own embedding and head take the place of the base's in targets_, so that everything after this reads and
// checks against them.
Status Builder::take_tables(const ResizedVocabulary& vocabulary) {
  const int32_t embedding = find_kind(TargetKind::kEmbedding), head = find_kind(TargetKind::kHead);
  const int64_t rows = vocabulary.rows, dim = targets_[embedding].out;
  const std::string& table_name = vocabulary.embedding.empty() ? vocabulary.head : vocabulary.embedding;
  const std::string& head_name = vocabulary.head.empty() ? vocabulary.embedding : vocabulary.head;
  ASSIGN_OR_RETURN(Tensor table, take(table_name, {rows, dim}));
  ASSIGN_OR_RETURN(const Tensor projection, take(head_name, {rows, dim}));
  const kernels::FrozenMatrix* const weight = own_weight(targets_[head], projection);
  const float* const values = adapter_->keep_f32(std::move(table));
  TargetTable own;
  for (int32_t index = 0; index < targets_.size(); ++index) {
    Target target = targets_[index];
    if (index == embedding) {
      target.in = rows;
      target.weight = nullptr;
      target.table = {DType::kF32, {rows, dim}, values};
    } else if (index == head) {
      target.out = rows;
      target.weight = weight;
    }
    own.add(std::move(target));
  }
  own.set_family(targets_.prefix(), targets_.defaults());
  targets_ = std::move(own);
  resized_ = {embedding, head};
  EmbeddingTerms& terms = adapter_->add_embedding();
  terms.own_table = values;
  terms.table_rows = rows;
  adapter_->edit_linear(head).own_weight = weight;
  adapter_->set_vocabulary(rows);
  return ok_status();
}

// A weight of the adapter's own takes low-rank terms, nothing else.
Status Builder::check_terms() const {
  for (const int32_t index : resized_) {
    const LinearTerms* terms = adapter_->linear(index);
    if (terms == nullptr || (terms->scale.empty() && terms->bias == nullptr)) continue;
    return unsupported("the adapter was made with a resized vocabulary and scales the rows of " + targets_[index].path +
                       " (DoRA, IA3, FLoRA) or adds a bias, which is not computed together; merge it into its base with PEFT");
  }
  return ok_status();
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
    ASSIGN_OR_RETURN(const bool selected, selects(target));
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
  if (resized_.contains(index)) return ok_status();
  if (target.kind == TargetKind::kNorm) {
    ASSIGN_OR_RETURN(Tensor gain, take(target, "weight", {target.out}));
    for (int64_t i = 0; target.gain_offset != 0 && i < target.out; ++i) gain.f32()[i] += target.gain_offset;
    adapter_->set_norm_gain(index, adapter_->keep_f32(std::move(gain)));
    if (target.norm_bias == nullptr) return ok_status();
    ASSIGN_OR_RETURN(Tensor bias, take(target, "bias", {target.out}));
    adapter_->set_norm_bias(index, adapter_->keep_f32(std::move(bias)));
    return ok_status();
  }
  if (target.kind == TargetKind::kPosition) {
    ASSIGN_OR_RETURN(Tensor table, take(target, "weight", {target.in, target.out}));
    adapter_->set_positions(adapter_->keep_f32(std::move(table)));
    return ok_status();
  }
  if (target.kind == TargetKind::kEmbedding) {
    ASSIGN_OR_RETURN(Tensor table, take(target, "weight", {target.in, target.out}));
    EmbeddingTerms& terms = adapter_->add_embedding();
    terms.own_table = adapter_->keep_f32(std::move(table));
    terms.table_rows = target.in;
    return ok_status();
  }
  ASSIGN_OR_RETURN(Tensor weight, take(target, "weight", target.turned ? Shape{target.in, target.out} : Shape{target.out, target.in}));
  if (target.turned) weight = transposed(weight);
  LinearTerms& terms = adapter_->edit_linear(index);
  terms.own_weight = own_weight(target, weight);
  if (target.vector != nullptr) {
    ASSIGN_OR_RETURN(Tensor bias, take(target, "bias", {target.out}));
    terms.bias = adapter_->keep_f32(std::move(bias));
  }
  return ok_status();
}

// PEFT stores the base's own embedding or head beside the adapter when it is selected, or was resized, and a state_dict saved
// as it is has all of them. They must be those of this base: a copy that differs would be a second, silent change of
// the model.
Status Builder::check_base_copy(int32_t index) {
  const Target& target = targets_[index];
  for (const char* suffix : {"base_layer.weight", "token_adapter.base_layer.weight", "weight"}) {
    const std::string name = tensor_name(target, suffix);
    if (!has(name) || used_.contains(name)) continue;
    if (resized_.contains(index) && is_saved(index)) {  // what it was before training, beside what it became
      used_.insert(name);
      continue;
    }
    RETURN_IF_ERROR(target.kind == TargetKind::kNorm ? check_copied_vector(index, name) : check_copied_rows(index, name));
  }
  const bool biased = target.kind == TargetKind::kLinear || target.kind == TargetKind::kHead || target.norm_bias != nullptr;
  for (const char* suffix : {"base_layer.bias", "bias"}) {
    const std::string name = tensor_name(target, suffix);
    if (biased && target.vector != nullptr && has(name) && !used_.contains(name)) {
      RETURN_IF_ERROR(check_copied_vector(index, name));
    }
  }
  return ok_status();
}

Status Builder::check_copied_rows(int32_t index, const std::string& name) {
  const Target& target = targets_[index];
  const bool by_input = target.kind == TargetKind::kEmbedding || target.kind == TargetKind::kPosition;
  const Shape shape = by_input ? Shape{target.in, target.out} : Shape{target.out, target.in};
  ASSIGN_OR_RETURN(Tensor copy, take(name, target.turned ? Shape{shape[1], shape[0]} : shape));
  if (target.turned) copy = transposed(copy);
  std::vector<float> row(shape[1]);
  float largest = 0.0f, difference = 0.0f;
  for (int64_t i = 0; i < shape[0]; ++i) {
    read_weight_row(target, i, row.data());
    for (int64_t j = 0; j < shape[1]; ++j) {
      largest = std::max(largest, std::fabs(row[j]));
      difference = std::max(difference, std::fabs(row[j] - copy.f32()[i * shape[1] + j]));
    }
  }
  return difference > copy_tolerance(target) * largest ? another_base(in_file(name), difference) : ok_status();
}

Status Builder::check_copied_vector(int32_t index, const std::string& name) {
  const Target& target = targets_[index];
  ASSIGN_OR_RETURN(const Tensor copy, take(name, {target.out}));
  const bool norm_bias = target.norm_bias != nullptr && name.ends_with(".bias");
  const float* base = norm_bias ? target.norm_bias : target.vector;
  const float offset = norm_bias ? 0.0f : target.gain_offset;
  float largest = 0.0f, difference = 0.0f;
  for (int64_t i = 0; i < target.out; ++i) {
    largest = std::max(largest, std::fabs(base[i]));
    difference = std::max(difference, std::fabs(base[i] - offset - copy.f32()[i]));
  }
  return difference > 0.01f * largest ? another_base(in_file(name), difference) : ok_status();
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
    if (unknown++ == 0) first = in_file(name);
  }
  if (unknown == 0) return ok_status();
  std::string text = "adapter_model.safetensors: the tensor " + first;
  if (unknown > 1) text += " (and " + std::to_string(unknown - 1) + " more)";
  text += " belongs to no module that adapter_config.json selects in this base model";
  if (!looked_for_.empty()) text += ", where names are like " + looked_for_;
  return failed_precondition(text + "; is the adapter made for another base model?");
}

Status Builder::finish(std::string_view kind) {
  for (const int32_t index : saved_) RETURN_IF_ERROR(save_module(index));
  for (int32_t index = 0; index < targets_.size(); ++index) RETURN_IF_ERROR(check_base_copy(index));
  RETURN_IF_ERROR(finish_biases());
  RETURN_IF_ERROR(check_terms());
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
