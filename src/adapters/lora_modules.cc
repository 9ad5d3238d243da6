#include "adapters/lora_modules.h"

#include <cmath>
#include <optional>
#include <set>
#include <vector>

#include "adapters/kind_tensors.h"
#include "adapters/lora_fields.h"
#include "adapters/registry.h"
#include "adapters/tensor_names.h"

namespace umbel {
namespace {

constexpr const char* kFile = "adapter_model.safetensors: ";

// "base_model.model.PATH.SUFFIX" -> PATH.
std::optional<std::string> path_of(std::string_view name, std::string_view suffix) {
  name = without_prefix(name);
  const size_t length = path_length(name);
  if (length == 0 || name.substr(length + 1) != suffix) return {};
  return std::string(name.substr(0, length));
}

// Two dimensions, a float type, finite values.
Result<Tensor> read_factor(const std::string& name, const TensorView& view) {
  if (view.shape.size() != 2) {
    return invalid_argument(kFile + name + " has shape " + shape_string(view.shape) + ", expected a matrix");
  }
  if (view.dtype != DType::kF32 && view.dtype != DType::kBF16 && view.dtype != DType::kF16 && view.dtype != DType::kF64) {
    return unsupported(kFile + name + " has type " + std::string(dtype_name(view.dtype)) + ", expected f32, f16 or bf16");
  }
  Tensor tensor = Tensor::widened(view);
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    if (!std::isfinite(tensor.f32()[i])) return data_loss(kFile + name + " holds a value that is not finite (element " + std::to_string(i) + ")");
  }
  return tensor;
}

Status more_than_low_rank(const std::string& what) {
  return unsupported("adapter_config.json: " + what +
                     " is more than a low-rank product, so it can't be taken apart here; merge the adapter into its base instead "
                     "(umbel adapter merge --base)");
}

Status check_plain(const AdapterSpec& spec) {
  if (spec.bias != "none") return more_than_low_rank("bias '" + spec.bias + "' (trained biases)");
  if (!spec.modules_to_save.empty()) return more_than_low_rank("modules_to_save");
  return ok_status();
}

class LoraReader {
 public:
  LoraReader(const AdapterSource& source, const LoraFields& fields) : source_(source), fields_(fields) {}

  Result<LoraModules> read() {
    for (const auto& [name, view] : source_.tensors) {
      for (const bool embedding : {false, true}) {
        const auto path = path_of(name, (embedding ? kLoraEmbeddingA : kLoraA).suffix);
        if (path) RETURN_IF_ERROR(add(*path, embedding));
      }
    }
    for (const auto& [name, view] : source_.tensors) {
      // PEFT stores the base's own embedding or head beside an adapter that selects it.
      if (used_.contains(name) || name.ends_with(".base_layer.weight")) continue;
      return unsupported(kFile + name + " is not one of the two factors of a LoRA module (or its partner is missing)");
    }
    return std::move(modules_);
  }

 private:
  Result<Tensor> take(const std::string& name) {
    const auto found = source_.tensors.find(name);
    if (found == source_.tensors.end()) return invalid_argument(kFile + name + " is missing; the file is incomplete");
    used_.insert(name);
    return read_factor(name, found->second);
  }

  Status add(const std::string& path, bool embedding) {
    LoraModule module{.embedding = embedding};
    ASSIGN_OR_RETURN(module.a, take(lora_a_name(path, embedding)));
    ASSIGN_OR_RETURN(module.b, take(lora_b_name(path, embedding)));
    ASSIGN_OR_RETURN(const int64_t rank, source_.spec.rank_at(path, default_rank(source_.spec.peft_type)));
    if (module.rank() != rank || module.b.shape()[1] != rank) {
      return invalid_argument(kFile + path + ": the factors are " + shape_string(module.a.shape()) + " and " +
                              shape_string(module.b.shape()) + ", adapter_config.json says rank " + std::to_string(rank));
    }
    ASSIGN_OR_RETURN(const double alpha, source_.spec.alpha_at(path, fields_.alpha));
    module.scale = lora_scale(alpha, rank, fields_.rslora);
    modules_.emplace(path, std::move(module));
    return ok_status();
  }

  const AdapterSource& source_;
  const LoraFields& fields_;
  std::set<std::string> used_;
  LoraModules modules_;
};

Result<LoraModules> read_lora(const AdapterSource& source) {
  Fields fields(source.spec.own);
  ASSIGN_OR_RETURN(const LoraFields lora, read_lora_fields(fields));
  std::vector<std::string> ignored;
  RETURN_IF_ERROR(fields.finish(source.spec.peft_type, ignored));
  if (lora.dora) return more_than_low_rank("use_dora (a rescaling of the whole weight)");
  if (lora.bias) return more_than_low_rank("lora_bias");
  if (lora.token_indices != nullptr) return more_than_low_rank("trainable_token_indices");
  return LoraReader(source, lora).read();
}

// A term's factors with its vectors and scale multiplied in: A' = diag(v) A, B' = scale diag(u) B.
LoraModule folded(const Target& target, const LowRankTerm& term) {
  LoraModule module{.a = Tensor(DType::kF32, {term.rank, target.in}), .b = Tensor(DType::kF32, {target.out, term.rank})};
  const size_t size = size_of(term.dtype);
  std::vector<float> b_row(target.out);
  for (int32_t j = 0; j < term.rank; ++j) {
    float* a = module.a.f32() + j * target.in;
    widen_to_f32(term.dtype, static_cast<const std::byte*>(term.a) + j * term.a_stride * size, a, target.in);
    widen_to_f32(term.dtype, static_cast<const std::byte*>(term.b_t) + j * term.b_stride * size, b_row.data(), target.out);
    for (int64_t i = 0; i < target.in && term.v != nullptr; ++i) a[i] *= term.v[j];
    for (int64_t o = 0; o < target.out; ++o) {
      module.b.f32()[o * term.rank + j] = term.scale * (term.u == nullptr ? 1.0f : term.u[o]) * b_row[o];
    }
  }
  return module;
}

}  // namespace

std::string lora_a_name(const std::string& path, bool embedding) {
  return tensor_name(path, (embedding ? kLoraEmbeddingA : kLoraA).suffix);
}

std::string lora_b_name(const std::string& path, bool embedding) {
  return tensor_name(path, (embedding ? kLoraEmbeddingB : kLoraB).suffix);
}

Result<LoraModules> read_lora_modules(const AdapterSource& source) {
  RETURN_IF_ERROR(check_plain(source.spec));
  if (source.spec.peft_type == "LORA") return read_lora(source);
  return unsupported("adapter_config.json: peft_type " + source.spec.peft_type + " is not a LoRA, expected LORA");
}

Result<LoraModules> low_rank_modules(const Adapter& adapter, const TargetTable& targets) {
  LoraModules modules;
  if (adapter.embedding() != nullptr) return more_than_low_rank("a change of the embedding");
  for (int32_t index = 0; index < targets.size(); ++index) {
    const std::string& path = targets[index].path;
    if (adapter.norm_gain(index) != nullptr) return more_than_low_rank("the saved norm " + path);
    const LinearTerms* terms = adapter.linear(index);
    if (terms == nullptr) continue;
    if (!terms->scale.empty() || terms->own_weight != nullptr || terms->bias != nullptr || terms->low_rank.size() != 1) {
      return more_than_low_rank("what the adapter does at " + path);
    }
    modules.emplace(path, folded(targets[index], terms->low_rank.front()));
  }
  return modules;
}

}  // namespace umbel
