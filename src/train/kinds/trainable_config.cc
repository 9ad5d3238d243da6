// adapter_config.json: what all kinds share. PEFT 0.21 writes its own types so; docs/flora-format.md says it for FLoRA.
#include "train/job/kind_facts.h"
#include "train/kinds/kind_training.h"

namespace umbel::train {
namespace {

Json target_field(const JobSpec& spec) {
  if (spec.all_linear) return "all-linear";
  if (!spec.target_regex.empty()) return spec.target_regex;
  return spec.targets.empty() ? default_targets(spec.kind) : spec.targets;
}

}  // namespace

Json make_adapter_config(const JobSpec& spec, const std::string& base_name) {
  Json config{{"base_model_name_or_path", base_name},
              {"task_type", "CAUSAL_LM"},
              {"inference_mode", true},
              {"target_modules", target_field(spec)},
              {"modules_to_save", nullptr}};
  if (!spec.exclude.empty()) config["exclude_modules"] = spec.exclude;
  if (!spec.layers.empty()) config["layers_to_transform"] = spec.layers;
  config.update(kind_training(spec.kind).fields(spec));
  return config;
}

}  // namespace umbel::train
