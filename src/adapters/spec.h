// AdapterSpec: adapter_config.json, checked, as plain data: what all kinds share, and the kind's own fields unread.
// Matching of module paths follows PEFT's rules (PEFT 0.21 source, tuners_utils.check_target_module_exists).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "adapters/config_fields.h"
#include "adapters/pattern.h"
#include "adapters/targets.h"
#include "base/status.h"
#include "tensor/tensor.h"

namespace umbel {

// target_modules or exclude_modules: names (equal to a path, or its last dotted parts), one pattern for the whole path,
// or "all-linear" (every linear layer except the head).
struct ModuleSelector {
  std::vector<std::string> names;
  std::vector<Pattern> pattern;  // at most one
  bool all_linear = false;

  bool empty() const { return names.empty() && pattern.empty() && !all_linear; }
  Result<bool> matches(std::string_view path) const;
};

// rank_pattern or alpha_pattern: the first key, in the file's order, whose pattern matches a path's end decides, as in PEFT.
template <typename T>
using ModulePattern = std::vector<std::pair<Pattern, T>>;

struct AdapterSpec {
  std::string peft_type;   // upper case: "LORA"
  std::string base_model;  // base_model_name_or_path, for messages only
  ModuleSelector target;
  ModuleSelector exclude;
  bool layers_limited = false;          // layers_to_transform is given
  std::vector<int64_t> layers;          // its indices
  std::vector<Pattern> layers_pattern;  // names of the list of layers; empty = any
  std::optional<int64_t> rank;          // "r"
  ModulePattern<int64_t> rank_pattern;
  ModulePattern<double> alpha_pattern;
  std::vector<std::string> modules_to_save;
  std::string bias = "none";  // "none", "all", or "KIND_only"
  OrderedJson own = OrderedJson::object();  // the kind's fields
  std::vector<std::string> warnings;

  int64_t rank_max() const;  // the largest of r and rank_pattern
  // The pattern's value at this path, else r, else the fallback.
  Result<int64_t> rank_at(std::string_view path, int64_t fallback) const;
  Result<double> alpha_at(std::string_view path, double fallback) const;
  // True when a kind's terms go to this path: selected, not excluded, in a wanted layer, not saved whole.
  Result<bool> selects(std::string_view path, TargetKind kind) const;
  // True when a part of the path lies in a module that modules_to_save names.
  bool saves(std::string_view path) const;
};

// config: an object. At most 16384 patterns of a kind (kTooLong).
Result<AdapterSpec> parse_spec(const OrderedJson& config);

// One adapter as read from its folder, its tensors by their one name (adapters/tensor_names.h). The views' bytes outlive
// the build.
struct AdapterSource {
  AdapterSpec spec;
  std::map<std::string, TensorView> tensors;
  std::map<std::string, std::string> spelled = {};    // the file's name of a tensor, where it is another one
  std::map<std::string, std::string> own_paths = {};  // the adapter's path of a base module, where it is another one
};

}  // namespace umbel
