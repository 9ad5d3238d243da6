// What is different between two adapters: fields of their configurations, and for every module what they do to it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "adapters/adapter.h"
#include "adapters/low_rank_compare.h"
#include "adapters/spec.h"
#include "io/json.h"

namespace umbel {

struct FieldDifference {
  std::string field;
  Json first, second;  // null where absent
};

// Fields with other values; lists of names count as sets; null, false, "", [] and {} count as absent.
std::vector<FieldDifference> compare_configs(const Json& first, const Json& second);

struct ModuleDifference {
  std::string path;  // of a module; of a tensor where tensors are compared
  bool in_first = true, in_second = true;
  UpdateComparison update;
  double relative = 0;  // |first - second| / |first|
};

struct AdapterDifference {
  // What was compared: "the update of each weight (dW)", "the low-rank part of each module", ... for people.
  std::string measure;
  std::vector<ModuleDifference> modules;
};

// Without a base: LoRA with LoRA as updates dW = s B A; FLoRA and HiRA with each other as modulations M - 1, where
// W' = W o M; anything else tensor by tensor.
Result<AdapterDifference> compare_adapters(const AdapterSource& first, const AdapterSource& second);

// With a base: dW = W' - W of every weight that one of them changes, whatever their kinds; tokens that an adapter's own
// vocabulary adds are left out.
AdapterDifference compare_adapters_on(const TargetTable& targets, const Adapter& first, const Adapter& second);

}  // namespace umbel
