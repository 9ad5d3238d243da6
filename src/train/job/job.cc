#include "train/job/job.h"

#include <cmath>
#include <span>
#include <utility>

#include "train/job/kind_facts.h"

namespace umbel::train {
namespace {

template <typename Value>
using Names = std::span<const std::pair<const char*, Value>>;

constexpr std::pair<const char*, OptimizerKind> kOptimizers[] = {
    {"adamw", OptimizerKind::kAdamW}, {"adamw8bit", OptimizerKind::kAdamW8bit}, {"sgd", OptimizerKind::kSgd}};
constexpr std::pair<const char*, FloraInit> kFloraInits[] = {
    {"default", FloraInit::kDefault},        {"ones", FloraInit::kOnes},         {"identity_lora", FloraInit::kIdentityLora},
    {"ones_noise", FloraInit::kOnesNoise},   {"residual", FloraInit::kResidual},
};

constexpr std::pair<const char*, FullInit> kFullInits[] = {{"base", FullInit::kBase}, {"random", FullInit::kRandom}};

template <typename Value>
Result<Value> parse_name(const std::string& what, const std::string& name, Names<Value> names) {
  std::string known;
  for (const auto& [text, value] : names) {
    if (name == text) return value;
    known += (known.empty() ? "" : ", ") + std::string(text);
  }
  return invalid_argument("unknown " + what + " \"" + name + "\" (known: " + known + ")");
}

template <typename Value>
std::string name_of(Value wanted, Names<Value> names) {
  for (const auto& [text, value] : names) {
    if (value == wanted) return text;
  }
  return "";
}

std::string check_targets(const JobSpec& spec) {
  if ((!spec.targets.empty()) + (!spec.target_regex.empty()) + spec.all_linear > 1) {
    return "targets, target_regex and all_linear say the same thing three ways; give one of them";
  }
  const bool by_name = spec.target_regex.empty() && !spec.all_linear;
  if (!spec.layers.empty() && !by_name) return "layers needs targets by name";
  for (const int64_t layer : spec.layers) {
    if (layer < 0) return "layer " + std::to_string(layer) + " is negative; layers count from 0";
  }
  if (spec.kind == TrainKind::kFull && (!spec.targets.empty() || !spec.target_regex.empty() || !spec.layers.empty() || !spec.exclude.empty())) {
    return "full training trains every module; leave targets, layers and exclude out";
  }
  if (!spec.feedforward.empty() && spec.kind != TrainKind::kIa3) return "feedforward is IA3's";
  return "";
}

std::string check_ranks(const JobSpec& spec) {
  const KindFacts& facts = kind_facts(spec.kind);
  const auto out_of_range = [&](int64_t rank) { return rank < 1 || rank > facts.rank_most; };
  const auto range = [&](int64_t rank) { return std::to_string(rank) + " is not in 1 .. " + std::to_string(facts.rank_most); };
  if (out_of_range(spec.rank)) return "rank " + range(spec.rank);
  for (const auto& [pattern, rank] : spec.rank_pattern) {
    if (out_of_range(rank)) return "rank_pattern[\"" + pattern + "\"]: " + range(rank);
  }
  if (!std::isfinite(spec.alpha) || spec.alpha <= 0) return "alpha must be a positive number";
  for (const auto& [pattern, alpha] : spec.alpha_pattern) {
    if (!std::isfinite(alpha) || alpha <= 0) return "alpha_pattern[\"" + pattern + "\"] must be a positive number";
  }
  const std::string kind(facts.name);
  if (!spec.rank_pattern.empty() && !facts.rank_pattern) return "rank_pattern has no meaning for " + kind;
  if (!spec.alpha_pattern.empty() && !facts.alpha) return "alpha_pattern has no meaning for " + kind;
  return "";
}

std::string check_dropout(const JobSpec& spec) {
  if (!(spec.dropout >= 0 && spec.dropout < 1)) return "dropout must be in [0, 1)";
  const KindFacts& facts = kind_facts(spec.kind);
  if (spec.dropout > 0 && !facts.dropout) {
    return "dropout has no meaning for " + std::string(facts.name) +
           (facts.additive ? "" : ": the adapter's input is the base's own, so the base would be dropped with it") + "; use 0";
  }
  return "";
}

std::string check_start(const JobSpec& spec) {
  const FloraInit init = spec.flora_init;
  if (init != FloraInit::kDefault && !kind_facts(spec.kind).flora) return "flora_init is FLoRA's";
  if (spec.kind == TrainKind::kFloraResidual && init != FloraInit::kDefault && init != FloraInit::kResidual) {
    return "the residual form starts with flora_init residual; any other start would change the base";
  }
  if (spec.kind == TrainKind::kFlora && init == FloraInit::kResidual) {
    return "flora_init residual starts at zero, which erases the base in the multiplicative form; use kind flora-residual";
  }
  if (init == FloraInit::kOnes) {
    bool higher = spec.rank > 1;
    for (const auto& [pattern, rank] : spec.rank_pattern) higher |= rank > 1;
    if (higher) {
      return "flora_init ones is degenerate at rank > 1: all components get the same gradient and stay equal for ever; use identity_lora "
             "or ones_noise";
    }
  }
  if (!(spec.flora_init_scale > 0) || !std::isfinite(spec.flora_init_scale)) return "flora_init_scale must be a positive number";
  if (!std::isfinite(spec.vera_d_initial) || spec.vera_d_initial == 0) return "vera_d_initial must be a number other than 0";
  return "";
}

std::string check_full(const JobSpec& spec) {
  const FullSpec& full = spec.full;
  if (spec.kind != TrainKind::kFull) return full.init == FullInit::kRandom ? "init random is for full training" : "";
  if (!(full.random_std > 0) || !std::isfinite(full.random_std)) return "random_std must be a positive number";
  if (!full.dtype.empty() && full.dtype != "f32" && full.dtype != "bf16" && full.dtype != "f16") {
    return "save_dtype \"" + full.dtype + "\" is not f32, bf16 or f16";
  }
  return "";
}

std::string check_optimizer(const JobSpec& spec) {
  if (!std::isfinite(spec.learning_rate) || spec.learning_rate <= 0) return "the learning rate must be a positive number";
  if (!std::isfinite(spec.lora_plus_ratio) || spec.lora_plus_ratio < 0) return "lora_plus_ratio must be a positive number";
  if (spec.lora_plus_ratio != 0 && !kind_facts(spec.kind).lora) return "lora_plus_ratio is for LoRA kinds";
  if (!(spec.momentum >= 0 && spec.momentum < 1)) return "momentum must be in [0, 1)";
  if (spec.momentum != 0 && spec.optimizer != OptimizerKind::kSgd) return "momentum is SGD's; AdamW has beta1";
  if (spec.clip < 0) return "clip must not be negative";
  if (spec.warmup_share < 0 || spec.warmup_share > 1) return "warm-up is a share of the steps, 0 .. 1";
  if (spec.schedule_floor < 0 || spec.schedule_floor > 1) return "the schedule's floor is a share of the peak, 0 .. 1";
  if (spec.weight_decay < 0 || !std::isfinite(spec.weight_decay)) return "weight decay must not be negative";
  if (spec.weight_decay != 0 && !kind_facts(spec.kind).additive) {
    return "weight decay would pull a multiplicative adapter to zero, which erases the base; use 0";
  }
  return "";
}

}  // namespace

Result<OptimizerKind> parse_optimizer(const std::string& name) { return parse_name<OptimizerKind>("optimizer", name, kOptimizers); }
Result<FloraInit> parse_flora_init(const std::string& name) { return parse_name<FloraInit>("flora_init", name, kFloraInits); }

std::string optimizer_name(OptimizerKind kind) { return name_of<OptimizerKind>(kind, kOptimizers); }
Result<FullInit> parse_full_init(const std::string& name) { return parse_name<FullInit>("init", name, kFullInits); }
std::string full_init_name(FullInit init) { return name_of<FullInit>(init, kFullInits); }
std::string flora_init_name(FloraInit init) { return name_of<FloraInit>(init, kFloraInits); }

Status check_job(const JobSpec& spec) {
  for (const auto check : {check_targets, check_ranks, check_dropout, check_start, check_full, check_optimizer}) {
    if (const std::string what = check(spec); !what.empty()) return invalid_argument(spec.name + ": " + what);
  }
  if (spec.epochs < 1) return invalid_argument(spec.name + ": epochs must be at least 1");
  if (spec.batch < 1) return invalid_argument(spec.name + ": batch must be at least 1");
  return ok_status();
}

}  // namespace umbel::train
