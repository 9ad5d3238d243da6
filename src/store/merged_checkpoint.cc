#include "store/merged_checkpoint.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <set>
#include <system_error>

#include "adapters/merge.h"
#include "io/safetensors.h"
#include "store/peft_files.h"
#include "tensor/transpose.h"

namespace umbel {
namespace {

bool is_float(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16 || dtype == DType::kF64;
}

double norm_of_difference(const float* left, const float* right, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double difference = static_cast<double>(left[i]) - (right == nullptr ? 0.0 : right[i]);
    sum += difference * difference;
  }
  return std::sqrt(sum);
}

// What a weight reads as once it was rounded to the written type and quantised for serving.
Result<Tensor> as_served(const Tensor& written, kernels::Quantisation form) {
  Tensor served = Tensor::widened(written.view());
  if (form == kernels::Quantisation::kNone) return served;
  ASSIGN_OR_RETURN(const kernels::FrozenMatrix packed, kernels::FrozenMatrix::quantise(served.view(), form, {}));
  for (int64_t row = 0; row < packed.out(); ++row) packed.read_row(row, served.f32() + row * packed.in());
  return served;
}

// One tensor of the new checkpoint: where it comes from.
struct Planned {
  std::string name;
  const TensorView* source = nullptr;  // in the base's checkpoint; null for the head of a base that was tied
  int32_t target = -1;                 // -1: copied
  bool bias = false;
};

class CheckpointMerge {
 public:
  CheckpointMerge(const TargetTable& targets, const Adapter& adapter, const MergeOptions& options)
      : targets_(targets), adapter_(adapter), options_(options) {}

  Status plan(const Safetensors& checkpoint);
  Status write(const Path& file);
  MergeReport take_report() { return std::move(report_); }

 private:
  bool changes(int32_t index) const;
  Status plan_tied(const Safetensors& checkpoint);
  Result<Tensor> make(const Planned& planned);
  Result<Tensor> make_norm(const Planned& planned) const;
  Status measure(const Target& target, const Tensor& exact, const Tensor& written);
  Shape shape_of(const Planned& planned) const;
  DType written_dtype(const Planned& planned) const {
    return planned.source == nullptr || is_float(planned.source->dtype) ? options_.dtype : planned.source->dtype;
  }

  const TargetTable& targets_;
  const Adapter& adapter_;
  const MergeOptions& options_;
  std::vector<Planned> planned_;
  MergeReport report_;
};

bool CheckpointMerge::changes(int32_t index) const {
  switch (targets_[index].kind) {
    case TargetKind::kNorm: return adapter_.norm_gain(index) != nullptr;
    case TargetKind::kPosition: return adapter_.positions() != nullptr;
    case TargetKind::kEmbedding: return adapter_.embedding() != nullptr;
    default: return adapter_.linear(index) != nullptr;
  }
}

Status CheckpointMerge::plan(const Safetensors& checkpoint) {
  std::set<std::string> biased;
  for (const auto& [name, view] : checkpoint.tensors()) {
    Planned planned{.name = name, .source = &view};
    for (const std::string suffix : {".weight", ".bias"}) {
      if (!name.ends_with(suffix)) continue;
      const int32_t target = targets_.find_stored(name.substr(0, name.size() - suffix.size()));
      if (target < 0 || !changes(target)) continue;
      planned.target = target;
      planned.bias = suffix == ".bias";
      if (planned.bias) biased.insert(targets_[target].path);
    }
    planned_.push_back(std::move(planned));
  }
  for (int32_t index = 0; index < targets_.size(); ++index) {
    const LinearTerms* terms = adapter_.linear(index);
    if (terms == nullptr || terms->bias == nullptr || biased.contains(targets_[index].path)) continue;
    return unsupported("the adapter has a bias for " + targets_[index].path +
                       ", which the base's architecture has no place for, so it can't be merged; serve it as an adapter");
  }
  return plan_tied(checkpoint);
}

// A tied base whose adapter changes only one of embedding and head, or both differently, becomes an untied one.
Status CheckpointMerge::plan_tied(const Safetensors& checkpoint) {
  int32_t embedding = -1, head = -1;
  for (int32_t index = 0; index < targets_.size(); ++index) {
    if (targets_[index].kind == TargetKind::kEmbedding && targets_[index].tied) embedding = index;
    if (targets_[index].kind == TargetKind::kHead && targets_[index].tied) head = index;
  }
  if (embedding < 0 || head < 0 || (!changes(embedding) && !changes(head))) return ok_status();
  const Tensor table = merge_embedding(targets_[embedding], adapter_.embedding());
  const MergedLinear projection = merge_linear(targets_[head], adapter_.linear(head));
  const std::string name = targets_[head].path + ".weight";
  if (table.shape() == projection.weight.shape() && std::memcmp(table.data(), projection.weight.data(), table.bytes()) == 0) {
    for (Planned& planned : planned_) {
      if (planned.name == name) planned.target = head;  // a copy that the checkpoint carries
    }
    return ok_status();
  }
  report_.untied = true;
  if (checkpoint.find(name) == nullptr) {
    planned_.push_back({.name = name, .target = head});
    return ok_status();
  }
  for (Planned& planned : planned_) {
    if (planned.name == name) planned.target = head;
  }
  return ok_status();
}

Result<Tensor> CheckpointMerge::make(const Planned& planned) {
  if (planned.target < 0) return rounded_tensor(planned.name, *planned.source, options_.dtype);
  ++report_.changed;
  const Target& target = targets_[planned.target];
  if (target.kind == TargetKind::kNorm) return make_norm(planned);
  if (target.kind == TargetKind::kPosition) {
    return rounded_tensor(planned.name, {DType::kF32, {target.in, target.out}, adapter_.positions()}, options_.dtype);
  }
  Tensor exact;
  if (target.kind == TargetKind::kEmbedding) {
    exact = merge_embedding(target, adapter_.embedding());
  } else {
    MergedLinear merged = merge_linear(target, adapter_.linear(planned.target));
    exact = std::move(planned.bias ? merged.bias : merged.weight);
  }
  ASSIGN_OR_RETURN(Tensor written, rounded_tensor(planned.name, exact.view(), options_.dtype));
  if (planned.bias) return written;
  RETURN_IF_ERROR(measure(target, exact, written));
  return target.turned ? rounded_tensor(planned.name, transposed(exact).view(), options_.dtype) : std::move(written);
}

// A gain as the checkpoint holds it, or a LayerNorm's bias.
Result<Tensor> CheckpointMerge::make_norm(const Planned& planned) const {
  const Target& target = targets_[planned.target];
  Tensor values(DType::kF32, {target.out});
  const float* own = planned.bias ? adapter_.norm_bias(planned.target) : adapter_.norm_gain(planned.target);
  const float* from = own != nullptr ? own : target.norm_bias;
  for (int64_t i = 0; i < target.out; ++i) values.f32()[i] = from[i] - (planned.bias ? 0.0f : target.gain_offset);
  return rounded_tensor(planned.name, values.view(), options_.dtype);
}

Status CheckpointMerge::measure(const Target& target, const Tensor& exact, const Tensor& written) {
  const bool matrix = target.kind == TargetKind::kLinear;  // embedding and head stay as they are
  ASSIGN_OR_RETURN(const Tensor served, as_served(written, matrix ? options_.served : kernels::Quantisation::kNone));
  // Of a resized vocabulary the rows that both have.
  const int64_t rows = std::min(exact.shape()[0], target.kind == TargetKind::kEmbedding ? target.in : target.out);
  Tensor base(DType::kF32, {rows, exact.shape()[1]});
  for (int64_t row = 0; row < rows; ++row) read_weight_row(target, row, base.f32() + row * exact.shape()[1]);
  const int64_t count = base.elements();
  const double change = norm_of_difference(exact.f32(), base.f32(), count);
  const double error = norm_of_difference(served.f32(), exact.f32(), count);
  const auto ratio = [](double part, double whole) { return whole > 0 ? part / whole : 0.0; };
  report_.modules.push_back({.path = target.path,
                             .change = ratio(change, norm_of_difference(base.f32(), nullptr, count)),
                             .error = ratio(error, norm_of_difference(exact.f32(), nullptr, count)),
                             .error_of_change = ratio(error, change)});
  return ok_status();
}

Shape CheckpointMerge::shape_of(const Planned& planned) const {
  const bool vocabulary = planned.target >= 0 && !planned.bias && adapter_.vocabulary() > 0;
  const TargetKind kind = vocabulary ? targets_[planned.target].kind : TargetKind::kLinear;
  if (kind == TargetKind::kEmbedding) return {adapter_.vocabulary(), targets_[planned.target].out};
  if (kind == TargetKind::kHead) return {adapter_.vocabulary(), targets_[planned.target].in};
  return planned.source != nullptr ? planned.source->shape : Shape{targets_[planned.target].out, targets_[planned.target].in};
}

Status CheckpointMerge::write(const Path& file) {
  std::vector<SafetensorsWriter::Entry> entries;
  for (const Planned& planned : planned_) {
    entries.push_back({planned.name, written_dtype(planned), shape_of(planned)});
    report_.bytes += TensorView{entries.back().dtype, entries.back().shape, nullptr}.bytes();
  }
  ASSIGN_OR_RETURN(SafetensorsWriter writer, SafetensorsWriter::create(file, std::move(entries)));
  for (const Planned& planned : planned_) {
    if (planned.target < 0 && planned.source->dtype == written_dtype(planned)) {
      RETURN_IF_ERROR(writer.append(*planned.source));
      continue;
    }
    ASSIGN_OR_RETURN(const Tensor tensor, make(planned));
    RETURN_IF_ERROR(writer.append(tensor.view()));
  }
  report_.tensors = static_cast<int64_t>(planned_.size());
  return writer.commit();
}

// Everything that goes with the weights but is not weights: small text files of the base's folder.
Status copy_companions(const Path& base, const Path& out) {
  static constexpr std::array<std::string_view, 6> kEndings = {".json", ".model", ".txt", ".jinja", ".tiktoken", ".md"};
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(base, error)) {
    const std::string name = entry.path().filename().string();
    const bool known = std::any_of(kEndings.begin(), kEndings.end(), [&](std::string_view end) { return name.ends_with(end); });
    const bool licence = name.starts_with("LICENSE") || name.starts_with("NOTICE");
    if ((!known && !licence) || name == "config.json" || name == "README.md" || name.ends_with(".index.json") || !entry.is_regular_file(error)) continue;
    ASSIGN_OR_RETURN(const std::string bytes, read_file(entry.path(), size_t{256} << 20));
    RETURN_IF_ERROR(write_file_atomic(out / name, bytes));
  }
  if (error) return Status(Code::kPermissionDenied, "can't read the folder " + base.string() + ": " + error.message());
  return ok_status();
}

struct NewConfig {
  DType dtype;
  bool untied;
  int64_t vocabulary;  // 0 = the base's
};

Status write_config(const Path& base, const NewConfig& facts, const Path& out) {
  ASSIGN_OR_RETURN(Json config, read_json(base / "config.json"));
  const char* name = facts.dtype == DType::kF32 ? "float32" : facts.dtype == DType::kF16 ? "float16" : "bfloat16";
  config[config.contains("dtype") ? "dtype" : "torch_dtype"] = name;
  if (facts.untied) config["tie_word_embeddings"] = false;
  if (facts.vocabulary > 0) config["vocab_size"] = facts.vocabulary;
  return write_file_atomic(out / "config.json", config.dump(2) + "\n");
}

}  // namespace

Result<MergeReport> write_merged_checkpoint(const Path& base, const TargetTable& targets, const Adapter& adapter,
                                            const MergeOptions& options, const Path& out) {
  ASSIGN_OR_RETURN(const Safetensors checkpoint, Safetensors::open_model(base));
  CheckpointMerge merge(targets, adapter, options);
  RETURN_IF_ERROR(merge.plan(checkpoint));
  RETURN_IF_ERROR(merge.write(out / "model.safetensors"));
  MergeReport report = merge.take_report();
  RETURN_IF_ERROR(copy_companions(base, out));
  RETURN_IF_ERROR(write_config(base, {options.dtype, report.untied, adapter.vocabulary()}, out));
  return report;
}

}  // namespace umbel
