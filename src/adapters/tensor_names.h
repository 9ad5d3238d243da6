// TensorNames: how tensors are named in adapter_model.safetensors, and how files that were saved in other ways come to
// the same names.
//
// The one name of a module's tensor is "base_model.model." + PATH + "." + SUFFIX, without the adapter's own name, as
// PEFT's save_pretrained writes it. Also read: files that keep the adapter's name (model.state_dict() saved as it is:
// lora_A.default.weight, modules_to_save.default.weight), that lack the prefix or have it twice, and that keep what
// DDP, FSDP or torch.compile put into a name.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "adapters/targets.h"
#include "base/status.h"
#include "tensor/tensor.h"

namespace umbel {

inline constexpr std::string_view kTensorPrefix = "base_model.model.";

// The name of a module's tensor.
std::string tensor_name(std::string_view path, std::string_view suffix);

// PATH.SUFFIX of a name as it stands here: "" when the name has no prefix.
std::string_view without_prefix(std::string_view name);

// The one name of a tensor that a file calls `name`; unchanged where it is no adapter's tensor. A tensor of the base that
// the file keeps beside the adapter (original_module, base_layer) becomes PATH.base_layer.weight.
std::string canonical_tensor_name(std::string_view name);

// A file's tensors by their one name.
struct NamedTensors {
  std::map<std::string, TensorView> tensors;
  std::map<std::string, std::string> spelled;  // the file's own spelling, of those that have another
};
// kInvalidArgument naming both where two tensors come to one name (a file with two adapters in it).
Result<NamedTensors> canonical_tensors(const std::map<std::string, TensorView>& file);

// The target that a file's module path means: itself, or what is left without wrappers at its front (model.,
// language_model., ...), or with "model." before it (an adapter that was made on the model without its head). "" when
// the base has no such module.
std::string fitting_path(std::string_view path, const TargetTable& targets);

// Where PATH ends in "PATH.SUFFIX": the suffix begins at the first part that belongs to an adapter, or is the last part.
size_t path_length(std::string_view name);

}  // namespace umbel
