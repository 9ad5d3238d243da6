// PeftFiles: an adapter folder in the making, as merging and converting produce it, and how it gets its place on disk.
#pragma once

#include <map>
#include <span>
#include <string>

#include "adapters/lora_modules.h"
#include "base/status.h"
#include "io/json.h"
#include "io/new_folder.h"
#include "tensor/tensor.h"

namespace umbel {

struct PeftFiles {
  OrderedJson config;
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;
  std::string card;           // README.md; "" = none
  std::string chat_template;  // chat_template.jinja; "" = none
};

// Writes a new folder that appears whole or not at all (io/new_folder.h).
Status write_peft_files(const Path& dir, const PeftFiles& files, Existing existing);

// The tensor rounded to dtype (kF32, kBF16, kF16). kInvalidArgument naming it when a value is too large for the type.
Result<Tensor> rounded_tensor(const std::string& name, const TensorView& tensor, DType dtype);

// The folder of a LoRA adapter with these modules: config gets their ranks (the commonest as r, others as patterns) and
// alphas; every other field stays as it is given. REQUIRES scale 1 in all modules.
Result<PeftFiles> lora_files(OrderedJson config, const LoraModules& modules, DType dtype);

// What target_modules becomes when adapters are put together: the union of their lists, or, where one has a pattern,
// exclude_modules or layers_to_transform, the modules' full paths. The fields that limit it are emptied.
void unite_targets(OrderedJson& config, std::span<const OrderedJson> configs, const LoraModules& modules);

}  // namespace umbel
