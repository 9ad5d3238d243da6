#include "store/peft_files.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "store/folder.h"
#include "store/peft_dir.h"

namespace umbel {
namespace {

// The rank that most modules have; of equals, the larger.
int64_t commonest_rank(const LoraModules& modules) {
  std::map<int64_t, int> counts;
  for (const auto& [path, module] : modules) ++counts[module.rank()];
  int64_t best = 0;
  for (const auto& [rank, count] : counts) {
    if (best == 0 || count >= counts[best]) best = rank;
  }
  return best;
}

bool limits_targets(const OrderedJson& config) {
  for (const char* field : {"exclude_modules", "layers_to_transform", "layers_pattern"}) {
    if (config.contains(field) && !config[field].is_null() && !config[field].empty()) return true;
  }
  return !config.contains("target_modules") || !config["target_modules"].is_array();
}

}  // namespace

Status write_peft_files(const Path& dir, const PeftFiles& files, Existing existing) {
  ASSIGN_OR_RETURN(NewFolder folder, NewFolder::create(dir, existing));
  if (!files.card.empty()) RETURN_IF_ERROR(write_file_atomic(folder.path() / "README.md", files.card));
  if (!files.chat_template.empty()) {
    RETURN_IF_ERROR(write_file_atomic(folder.path() / kAdapterTemplateName, files.chat_template));
  }
  std::map<std::string, TensorView> views;
  for (const auto& [name, tensor] : files.tensors) views.emplace(name, tensor.view());
  RETURN_IF_ERROR(write_peft_dir(folder.path(), files.config, views, files.metadata));
  return folder.commit();
}

Result<Tensor> rounded_tensor(const std::string& name, const TensorView& tensor, DType dtype) {
  Tensor made = Tensor::converted(tensor, dtype);
  if (dtype != DType::kF16) return made;
  const Tensor before = Tensor::widened(tensor), after = Tensor::widened(made.view());
  for (int64_t i = 0; i < made.elements(); ++i) {
    if (std::isfinite(before.f32()[i]) && !std::isfinite(after.f32()[i])) {
      return invalid_argument("the value " + std::to_string(before.f32()[i]) + " in " + name +
                              " is too large for f16; take bf16 or f32");
    }
  }
  return made;
}

Result<PeftFiles> lora_files(OrderedJson config, const LoraModules& modules, DType dtype) {
  PeftFiles files;
  const int64_t rank = commonest_rank(modules);
  config["peft_type"] = "LORA";
  config["r"] = rank;
  config["lora_alpha"] = rank;
  config["use_rslora"] = false;
  OrderedJson patterns = OrderedJson::object();
  for (const auto& [path, module] : modules) {
    CHECK(module.scale == 1.0f, "the scale is in the factors");
    if (module.rank() != rank) patterns[path] = module.rank();
    const std::string a = lora_a_name(path, module.embedding), b = lora_b_name(path, module.embedding);
    ASSIGN_OR_RETURN(files.tensors[a], rounded_tensor(a, module.a.view(), dtype));
    ASSIGN_OR_RETURN(files.tensors[b], rounded_tensor(b, module.b.view(), dtype));
  }
  config["rank_pattern"] = patterns;
  config["alpha_pattern"] = patterns;
  files.config = std::move(config);
  return files;
}

void unite_targets(OrderedJson& config, std::span<const OrderedJson> configs, const LoraModules& modules) {
  std::set<std::string> names;
  if (std::any_of(configs.begin(), configs.end(), limits_targets)) {
    for (const auto& [path, module] : modules) names.insert(path);
    for (const char* field : {"exclude_modules", "layers_to_transform", "layers_pattern"}) config[field] = nullptr;
  } else {
    for (const OrderedJson& one : configs) {
      for (const OrderedJson& name : one["target_modules"]) names.insert(name.get<std::string>());
    }
  }
  config["target_modules"] = names;
}

}  // namespace umbel
