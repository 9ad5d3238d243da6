// A sweep: a job with lists in its fields stands for its arms, one for every combination. Pure functions.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "train/config/config_key.h"

namespace umbel::train {

// A field with several values.
struct SweepAxis {
  const ConfigKey* field;
  std::string where;
  std::vector<YamlPtr> values;  // at least one
};

// An arm: which value of each axis.
using ArmChoice = std::vector<size_t>;

// All combinations, the last axis fastest; with plan.random so many distinct ones of them in the same order, drawn by
// plan.seed. kInvalidArgument when that is more than plan.arms_max.
Result<std::vector<ArmChoice>> choose_arms(const std::vector<SweepAxis>& axes, const SweepPlan& plan);

// "NAME-lr0.003-r8". Distinct arms may get one name (long values are shortened); the caller looks.
std::string arm_name(const std::string& job, const std::vector<SweepAxis>& axes, const ArmChoice& arm);

}  // namespace umbel::train
