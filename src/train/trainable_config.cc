// adapter_config.json as PEFT 0.21 writes it for its own types, and as docs/flora-format.md says for FLoRA.
#include <algorithm>

#include "train/trainable_build.h"

namespace umbel {
namespace {

Json target_field(const JobSpec& spec) {
  if (spec.all_linear) return "all-linear";
  if (!spec.target_regex.empty()) return spec.target_regex;
  return spec.targets.empty() ? default_targets(spec.kind) : spec.targets;
}

Json lora_fields(const JobSpec& spec) {
  return {{"peft_type", "LORA"},
          {"r", spec.rank},
          {"lora_alpha", spec.alpha},
          {"lora_dropout", spec.dropout},
          {"bias", "none"},
          {"use_rslora", spec.kind == TrainKind::kRsLora},
          {"use_dora", spec.kind == TrainKind::kDora},
          {"fan_in_fan_out", false},
          {"init_lora_weights", true},
          {"rank_pattern", spec.rank_pattern},
          {"alpha_pattern", spec.alpha_pattern}};
}

Json ia3_fields(const JobSpec& spec) {
  return {{"peft_type", "IA3"}, {"feedforward_modules", feedforward_of(spec)}, {"fan_in_fan_out", false}, {"init_ia3_weights", true}};
}

Json vera_fields(const JobSpec& spec) {
  return {{"peft_type", "VERA"},
          {"r", spec.rank},
          {"projection_prng_key", spec.vera_projection_key},
          {"save_projection", true},
          {"vera_dropout", spec.dropout},
          {"d_initial", spec.vera_d_initial},
          {"bias", "none"},
          {"fan_in_fan_out", false},
          {"init_weights", true}};
}

const char* init_name(const JobSpec& spec) {
  switch (flora_init_of(spec)) {
    case FloraInit::kOnes: return "ones";
    case FloraInit::kOnesNoise: return "ones_noise";
    case FloraInit::kResidual: return "residual";
    default: return "identity_lora";
  }
}

Json flora_fields(const JobSpec& spec) {
  Json fields{{"peft_type", "FLORA"},
              {"flora_format", 1},
              {"r", spec.rank},
              {"flora_alpha", nullptr},
              {"reduction", "mean"},
              {"form", spec.kind == TrainKind::kFloraResidual ? "residual" : "multiplicative"},
              {"scale_bias", false},
              {"store_offset", false},
              {"bias", "none"},
              {"init_flora_weights", init_name(spec)}};
  if (!spec.rank_pattern.empty()) fields["rank_pattern"] = spec.rank_pattern;
  if (spec.flora_init == FloraInit::kOnesNoise) fields["init_scale"] = spec.flora_init_scale;
  return fields;
}

}  // namespace

FloraInit flora_init_of(const JobSpec& spec) {
  if (spec.flora_init != FloraInit::kDefault) return spec.flora_init;
  return spec.kind == TrainKind::kFloraResidual ? FloraInit::kResidual : FloraInit::kIdentityLora;
}

// PEFT wants them to be among the targets when those are a list.
std::vector<std::string> feedforward_of(const JobSpec& spec) {
  const std::vector<std::string> endings = spec.feedforward.empty() ? std::vector<std::string>{"down_proj"} : spec.feedforward;
  if (spec.all_linear || !spec.target_regex.empty()) return endings;
  std::vector<std::string> among;
  for (const std::string& target : spec.targets.empty() ? default_targets(spec.kind) : spec.targets) {
    if (std::any_of(endings.begin(), endings.end(), [&](const std::string& ending) { return target.ends_with(ending); })) {
      among.push_back(target);
    }
  }
  return among;
}

Json make_adapter_config(const JobSpec& spec, const std::string& base_name) {
  Json config{{"base_model_name_or_path", base_name},
              {"task_type", "CAUSAL_LM"},
              {"inference_mode", true},
              {"target_modules", target_field(spec)},
              {"modules_to_save", nullptr}};
  if (!spec.exclude.empty()) config["exclude_modules"] = spec.exclude;
  if (!spec.layers.empty()) config["layers_to_transform"] = spec.layers;
  if (is_lora_family(spec.kind)) {
    config.update(lora_fields(spec));
  } else if (spec.kind == TrainKind::kIa3) {
    config.update(ia3_fields(spec));
  } else if (spec.kind == TrainKind::kVera) {
    config.update(vera_fields(spec));
  } else {
    config.update(flora_fields(spec));
  }
  return config;
}

}  // namespace umbel
