#include "adapters/hadamard_modules.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "adapters/flora_fields.h"
#include "adapters/registry.h"
#include "adapters/tensor_names.h"

namespace umbel {
namespace {

constexpr const char* kFile = "adapter_model.safetensors: ";

// Where a tensor of this name belongs; none for a tensor that is no factor.
struct FactorName {
  std::string path;
  bool embedding;
  bool is_a;
};

std::optional<FactorName> parse_factor(std::string_view name, const HadamardTensors& tensors) {
  name = without_prefix(name);
  const size_t length = path_length(name);
  if (length == 0) return {};
  const std::string_view suffix = name.substr(length + 1);
  for (const KindTensor* tensor : {&tensors.a, &tensors.b, &tensors.embedding_a, &tensors.embedding_b}) {
    if (suffix != tensor->suffix) continue;
    return FactorName{std::string(name.substr(0, length)), tensor->embedding, tensor == &tensors.a || tensor == &tensors.embedding_a};
  }
  return {};
}

Tensor ones(const Shape& shape) {
  Tensor made(DType::kF32, shape);
  std::fill_n(made.f32(), made.elements(), 1.0f);
  return made;
}

Result<Tensor> read_factor(const std::string& name, const TensorView& view, float offset) {
  if (view.shape.size() != 2) return invalid_argument(kFile + name + " has shape " + shape_string(view.shape) + ", expected a matrix");
  Tensor made = Tensor::widened(view);
  for (int64_t i = 0; i < made.elements(); ++i) {
    made.f32()[i] += offset;
    if (!std::isfinite(made.f32()[i])) return data_loss(kFile + name + " holds a value that is not finite (element " + std::to_string(i) + ")");
  }
  return made;
}

// Fills in what the file left out, and checks the module against the configuration.
Status complete(const AdapterSource& source, const HadamardFields& fields, const TargetTable* targets, const std::string& path,
                HadamardModule& module) {
  if (module.a.empty() || module.b.empty()) {
    const int32_t index = targets == nullptr ? -1 : targets->find(path);
    if (index < 0 || !fields.missing_is_ones) {
      return unsupported(kFile + path + " has one of its two factors only; the other one's size is the base's, so give --base");
    }
    const Target& target = (*targets)[index];
    if (module.a.empty()) module.a = ones({module.b.shape()[1], target.in});
    if (module.b.empty()) module.b = ones({target.out, module.a.shape()[0]});
  }
  const int64_t rank = module.rank();
  ASSIGN_OR_RETURN(const int64_t wanted, source.spec.rank_at(path, default_rank(source.spec.peft_type)));
  if (module.b.shape()[1] != rank || (rank != wanted && !fields.rank_of_file)) {
    return invalid_argument(kFile + path + ": the factors are " + shape_string(module.a.shape()) + " and " +
                            shape_string(module.b.shape()) + ", adapter_config.json says rank " + std::to_string(wanted));
  }
  ASSIGN_OR_RETURN(module.scale, hadamard_scale(source.spec, fields, path, rank));
  return ok_status();
}

}  // namespace

Result<HadamardModules> read_hadamard_modules(const AdapterSource& source, const TargetTable* targets) {
  Fields fields(source.spec.own);
  HadamardFields hadamard;
  if (source.spec.peft_type == "FLORA") {
    ASSIGN_OR_RETURN(hadamard, read_flora_fields(fields));
  } else if (source.spec.peft_type == "HIRA") {
    hadamard = read_hira_fields(fields);
  } else {
    return unsupported("adapter_config.json: peft_type " + source.spec.peft_type + " is neither FLORA nor HIRA");
  }
  std::vector<std::string> ignored;
  RETURN_IF_ERROR(fields.finish(source.spec.peft_type, ignored));
  HadamardModules made{.residual = hadamard.residual, .scale_bias = hadamard.scale_bias};
  for (const auto& [name, view] : source.tensors) {
    const std::optional<FactorName> factor = parse_factor(name, *hadamard.tensors);
    if (!factor) {
      made.others.emplace(name, view);
      continue;
    }
    HadamardModule& module = made.modules[factor->path];
    module.embedding = factor->embedding;
    ASSIGN_OR_RETURN(Tensor tensor, read_factor(name, view, hadamard.store_offset ? 1.0f : 0.0f));
    (factor->is_a ? module.a : module.b) = std::move(tensor);
  }
  for (auto& [path, module] : made.modules) RETURN_IF_ERROR(complete(source, hadamard, targets, path, module));
  return made;
}

}  // namespace umbel
