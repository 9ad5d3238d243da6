#include "train/job/kind_facts.h"

#include <algorithm>

#include "base/check.h"

namespace umbel::train {
namespace {

constexpr std::string_view kAttention = "q_proj v_proj";
constexpr std::string_view kSeven = "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj";

constexpr KindFacts kLora{.lora = true, .additive = true, .alpha = true, .rank_pattern = true, .dropout = true};

constexpr KindFacts lora_named(TrainKind kind, std::string_view name, double learning_rate = kLora.learning_rate) {
  KindFacts facts = kLora;
  facts.kind = kind;
  facts.learning_rate = learning_rate;
  facts.name = name;
  facts.targets = kAttention;
  return facts;
}

constexpr KindFacts flora_named(TrainKind kind, std::string_view name) {
  return {.kind = kind, .name = name, .targets = kSeven, .learning_rate = 0.1, .flora = true, .rank_pattern = true, .in_peft = false};
}

// Multiplicative kinds want steps of their own size; so do products of small numbers. What scales LoRA's product or its B side wants smaller ones.
constexpr KindFacts kFacts[] = {
    lora_named(TrainKind::kLora, "lora"),
    lora_named(TrainKind::kRsLora, "rslora", 1e-3),
    lora_named(TrainKind::kLoraPlus, "lora-plus", 1e-3),
    lora_named(TrainKind::kQlora, "qlora"),
    lora_named(TrainKind::kDora, "dora"),
    {.kind = TrainKind::kVera, .name = "vera", .targets = kAttention, .learning_rate = 2e-2, .additive = true, .dropout = true},
    {.kind = TrainKind::kIa3, .name = "ia3", .targets = "k_proj v_proj down_proj", .learning_rate = 0.3},
    flora_named(TrainKind::kFlora, "flora"),
    flora_named(TrainKind::kFloraResidual, "flora-residual"),
    {.kind = TrainKind::kLoha, .name = "loha", .targets = kAttention, .learning_rate = 2e-2, .rank_most = 64, .additive = true, .alpha = true,
     .rank_pattern = true},
    {.kind = TrainKind::kMiss, .name = "miss", .targets = kAttention, .additive = true, .dropout = true},
    {.kind = TrainKind::kFull, .name = "full", .targets = kAttention, .additive = true},
};

}  // namespace

std::span<const KindFacts> all_kind_facts() { return kFacts; }

const KindFacts& kind_facts(TrainKind kind) {
  const auto* const found = std::ranges::find(kFacts, kind, &KindFacts::kind);
  CHECK(found != std::end(kFacts), "every kind has a row");
  return *found;
}

std::vector<std::string> default_targets(TrainKind kind) {
  std::vector<std::string> names;
  for (std::string_view rest = kind_facts(kind).targets; !rest.empty();) {
    const size_t end = std::min(rest.find(' '), rest.size());
    names.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return names;
}

void name_default_targets(const DefaultTargets& base, JobSpec& spec) {
  if (spec.kind == TrainKind::kFull) return;
  const KindFacts& facts = kind_facts(spec.kind);
  if (spec.targets.empty() && spec.target_regex.empty() && !spec.all_linear) {
    spec.targets = facts.flora ? base.all : spec.kind == TrainKind::kIa3 ? base.ia3 : spec.kind == TrainKind::kVera ? base.vera : base.lora;
    if (spec.targets.empty()) spec.targets = default_targets(spec.kind);
  }
  if (spec.kind == TrainKind::kIa3 && spec.feedforward.empty()) spec.feedforward = base.feedforward;
}

Result<TrainKind> parse_train_kind(const std::string& name) {
  std::string known;
  for (const KindFacts& facts : kFacts) {
    if (facts.name == name) return facts.kind;
    known.append(known.empty() ? "" : ", ").append(facts.name);
  }
  return invalid_argument("unknown kind \"" + name + "\" (known: " + known + ")");
}

std::string train_kind_name(TrainKind kind) {
  const auto* const found = std::ranges::find(kFacts, kind, &KindFacts::kind);
  return found == std::end(kFacts) ? "" : std::string(found->name);
}

}  // namespace umbel::train
