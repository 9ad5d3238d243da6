#include "store/adapter_diff.h"

#include <algorithm>
#include <set>

#include "adapters/hadamard_modules.h"
#include "adapters/merge.h"

namespace umbel {
namespace {

bool is_inactive(const Json& value) {
  return value.is_null() || value == Json(false) || value == Json("") || ((value.is_array() || value.is_object()) && value.empty());
}

Json normal(const Json& config, const std::string& field) {
  if (!config.contains(field) || is_inactive(config[field])) return nullptr;
  Json value = config[field];
  if (value.is_array()) std::sort(value.begin(), value.end());
  return value;
}

ModuleDifference make_difference(std::string path, const UpdateComparison& update) {
  return {.path = std::move(path), .update = update, .relative = update.first > 0 ? update.difference / update.first : 0.0};
}

// An update of zero, for a module that one side lacks.
LoraModule zero_like(const LoraModule& module) {
  return {.a = Tensor(DType::kF32, {1, module.in()}), .b = Tensor(DType::kF32, {module.out(), 1}), .embedding = module.embedding};
}

AdapterDifference compare_modules(const LoraModules& first, const LoraModules& second) {
  AdapterDifference made;
  std::set<std::string> paths;
  for (const auto& [path, module] : first) paths.insert(path);
  for (const auto& [path, module] : second) paths.insert(path);
  for (const std::string& path : paths) {
    const auto one = first.find(path), two = second.find(path);
    const bool in_first = one != first.end(), in_second = two != second.end();
    const LoraModule missing = zero_like(in_first ? one->second : two->second);
    ModuleDifference module =
        make_difference(path, compare_low_rank(in_first ? one->second : missing, in_second ? two->second : missing));
    module.in_first = in_first;
    module.in_second = in_second;
    made.modules.push_back(std::move(module));
  }
  return made;
}

Status check_sizes(const LoraModules& first, const LoraModules& second) {
  for (const auto& [path, module] : first) {
    const auto other = second.find(path);
    if (other == second.end() || (module.in() == other->second.in() && module.out() == other->second.out())) continue;
    return failed_precondition(path + " goes from " + std::to_string(module.in()) + " to " + std::to_string(module.out()) + " in one adapter and from " +
                               std::to_string(other->second.in()) + " to " + std::to_string(other->second.out()) +
                               " in the other: they are made for different base models");
  }
  return ok_status();
}

// M - 1 as a low-rank product: a multiplicative adapter gets one component of -1.
LoraModules modulations(HadamardModules adapter) {
  LoraModules made;
  for (auto& [path, module] : adapter.modules) {
    const int64_t old = module.rank(), rank = old + !adapter.residual, in = module.a.shape()[1], out = module.b.shape()[0];
    LoraModule next{.a = Tensor(DType::kF32, {rank, in}), .b = Tensor(DType::kF32, {out, rank}), .embedding = module.embedding};
    std::copy_n(module.a.f32(), module.a.elements(), next.a.f32());
    if (!adapter.residual) std::fill_n(next.a.f32() + old * in, in, 1.0f);
    for (int64_t o = 0; o < out; ++o) {
      for (int64_t k = 0; k < rank; ++k) next.b.f32()[o * rank + k] = k < old ? module.scale * module.b.f32()[o * old + k] : -1.0f;
    }
    made.emplace(path, std::move(next));
  }
  return made;
}

bool is_hadamard(const AdapterSource& source) { return source.spec.peft_type == "FLORA" || source.spec.peft_type == "HIRA"; }

AdapterDifference compare_tensors(const AdapterSource& first, const AdapterSource& second) {
  AdapterDifference made{.measure = "tensors of the same name and shape (give --base to compare what they do)"};
  for (const auto& [name, view] : first.tensors) {
    const auto other = second.tensors.find(name);
    if (other == second.tensors.end() || other->second.shape != view.shape) continue;
    const Tensor one = Tensor::widened(view), two = Tensor::widened(other->second);
    made.modules.push_back(make_difference(name, compare_dense(one.f32(), two.f32(), one.elements())));
  }
  return made;
}

// W' - W, of an embedding its table, of a norm its gain; empty when the adapter leaves the target alone.
Tensor dense_update(const TargetTable& targets, int32_t index, const Adapter& adapter) {
  const Target& target = targets[index];
  Tensor made;
  if (target.kind == TargetKind::kNorm) {
    const float* gain = adapter.norm_gain(index);
    if (gain == nullptr) return made;
    made = Tensor(DType::kF32, {target.out});
    for (int64_t i = 0; i < target.out; ++i) made.f32()[i] = gain[i] - target.vector[i];
    return made;
  }
  if (target.kind == TargetKind::kPosition) {
    if (adapter.positions() == nullptr) return made;
    made = Tensor(DType::kF32, {target.in, target.out});
    std::copy_n(adapter.positions(), target.in * target.out, made.f32());
  } else if (target.kind == TargetKind::kEmbedding) {
    if (adapter.embedding() == nullptr) return made;
    made = merge_embedding(target, adapter.embedding());
  } else {
    if (adapter.linear(index) == nullptr) return made;
    made = merge_linear(target, adapter.linear(index)).weight;
  }
  // In the base's shape: of a resized vocabulary the rows that both have.
  const bool by_input = target.kind == TargetKind::kEmbedding || target.kind == TargetKind::kPosition;
  const int64_t rows = by_input ? target.in : target.out, cols = made.shape()[1];
  Tensor update(DType::kF32, {rows, cols});
  std::vector<float> row(cols);
  for (int64_t r = 0; r < std::min(rows, made.shape()[0]); ++r) {
    read_weight_row(target, r, row.data());
    for (int64_t i = 0; i < cols; ++i) update.f32()[r * cols + i] = made.f32()[r * cols + i] - row[i];
  }
  return update;
}

}  // namespace

std::vector<FieldDifference> compare_configs(const Json& first, const Json& second) {
  std::set<std::string> names;
  for (const auto& [name, value] : first.items()) names.insert(name);
  for (const auto& [name, value] : second.items()) names.insert(name);
  std::vector<FieldDifference> made;
  for (const std::string& name : names) {
    Json one = normal(first, name), two = normal(second, name);
    if (one != two) made.push_back({name, std::move(one), std::move(two)});
  }
  return made;
}

Result<AdapterDifference> compare_adapters(const AdapterSource& first, const AdapterSource& second) {
  if (first.spec.peft_type == "LORA" && second.spec.peft_type == "LORA") {
    const auto one = read_lora_modules(first), two = read_lora_modules(second);
    if (one.ok() && two.ok()) {
      RETURN_IF_ERROR(check_sizes(*one, *two));
      AdapterDifference made = compare_modules(*one, *two);
      made.measure = "the update dW = s B A of each module";
      return made;
    }
  }
  if (is_hadamard(first) && is_hadamard(second)) {
    auto one = read_hadamard_modules(first, nullptr), two = read_hadamard_modules(second, nullptr);
    if (one.ok() && two.ok()) {
      const LoraModules left = modulations(std::move(one).value()), right = modulations(std::move(two).value());
      RETURN_IF_ERROR(check_sizes(left, right));
      AdapterDifference made = compare_modules(left, right);
      made.measure = "the modulation M - 1 of each module, where W' = W o M";
      return made;
    }
  }
  return compare_tensors(first, second);
}

AdapterDifference compare_adapters_on(const TargetTable& targets, const Adapter& first, const Adapter& second) {
  AdapterDifference made{.measure = "the change W' - W of each weight of the base"};
  for (int32_t index = 0; index < targets.size(); ++index) {
    Tensor one = dense_update(targets, index, first), two = dense_update(targets, index, second);
    if (one.empty() && two.empty()) continue;
    const bool in_first = !one.empty(), in_second = !two.empty();
    if (one.empty()) one = Tensor(DType::kF32, two.shape());
    if (two.empty()) two = Tensor(DType::kF32, one.shape());
    ModuleDifference module = make_difference(targets[index].path, compare_dense(one.f32(), two.f32(), one.elements()));
    module.in_first = in_first;
    module.in_second = in_second;
    made.modules.push_back(std::move(module));
  }
  return made;
}

}  // namespace umbel
