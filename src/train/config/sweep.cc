#include "train/config/sweep.h"

#include <set>

#include "base/random.h"

namespace umbel::train {
namespace {

constexpr uint64_t kUncountable = uint64_t{1} << 62;

uint64_t count_arms(const std::vector<SweepAxis>& axes) {
  uint64_t count = 1;
  for (const SweepAxis& axis : axes) {
    if (count > kUncountable / axis.values.size()) return kUncountable;
    count *= axis.values.size();
  }
  return count;
}

ArmChoice arm_at(const std::vector<SweepAxis>& axes, uint64_t index) {
  ArmChoice arm(axes.size());
  for (size_t i = axes.size(); i-- > 0; index /= axes[i].values.size()) arm[i] = index % axes[i].values.size();
  return arm;
}

// Distinct, so wanted must be below the number of arms (many more than that would be slow, but arms_max bounds it).
std::vector<ArmChoice> draw_arms(const std::vector<SweepAxis>& axes, uint64_t wanted, uint64_t seed) {
  std::set<ArmChoice> drawn;
  Random random(mix_key({seed, 0x7377656570ull}));
  while (drawn.size() < wanted) {
    ArmChoice arm(axes.size());
    for (size_t i = 0; i < axes.size(); ++i) arm[i] = random.next_below(axes[i].values.size());
    drawn.insert(std::move(arm));
  }
  return {drawn.begin(), drawn.end()};
}

}  // namespace

Result<std::vector<ArmChoice>> choose_arms(const std::vector<SweepAxis>& axes, const SweepPlan& plan) {
  const uint64_t all = count_arms(axes);
  const bool draw = plan.random > 0 && static_cast<uint64_t>(plan.random) < all;
  const uint64_t wanted = draw ? static_cast<uint64_t>(plan.random) : all;
  if (wanted > static_cast<uint64_t>(plan.arms_max)) {
    const std::string count = wanted == kUncountable ? "a boundless number of" : std::to_string(wanted);
    return invalid_argument("the sweep has " + count + " arms, more than arms_max " + std::to_string(plan.arms_max) +
                            "; give fewer values, or sweep: {random: N}, or a larger arms_max");
  }
  if (draw) return draw_arms(axes, wanted, plan.seed);
  std::vector<ArmChoice> arms;
  for (uint64_t i = 0; i < all; ++i) arms.push_back(arm_at(axes, i));
  return arms;
}

std::string arm_name(const std::string& job, const std::vector<SweepAxis>& axes, const ArmChoice& arm) {
  std::string name = job;
  for (size_t i = 0; i < axes.size(); ++i) {
    const ConfigKey& field = *axes[i].field;
    const std::string value = config_value_tag(field, *axes[i].values[arm[i]]);
    name += "-";
    const std::string tag = field.tag[0] != 0 ? field.tag : field.name;
    // A word says by itself what it is; a number needs its field.
    const bool word = !value.empty() && (std::isdigit(static_cast<unsigned char>(value[0])) == 0) && value[0] != '-' && value != "true" && value != "false";
    name += (word ? "" : tag) + value;
  }
  return name;
}

}  // namespace umbel::train
