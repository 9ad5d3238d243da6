#include "train/run/halving.h"

#include <algorithm>
#include <cmath>

namespace umbel::train {
namespace {

bool in_contest(const SweepArm& arm) { return !arm.failed && !arm.lost; }

// Best first.
std::vector<SweepArm> ranked(const std::vector<SweepArm>& arms) {
  std::vector<SweepArm> order;
  std::copy_if(arms.begin(), arms.end(), std::back_inserter(order), in_contest);
  const auto key = [](const SweepArm& arm) { return std::isnan(arm.score) ? INFINITY : arm.score; };
  std::stable_sort(order.begin(), order.end(), [&](const SweepArm& a, const SweepArm& b) {
    if (key(a) != key(b)) return key(a) < key(b);
    return a.tie != b.tie ? a.tie < b.tie : a.job < b.job;
  });
  return order;
}

}  // namespace

int64_t look_step(double share, int64_t steps) {
  return std::clamp<int64_t>(static_cast<int64_t>(std::ceil(share * static_cast<double>(steps))), 1, std::max<int64_t>(1, steps));
}

bool look_due(const std::vector<SweepArm>& arms, double share) {
  return std::all_of(arms.begin(), arms.end(), [&](const SweepArm& arm) {
    return !in_contest(arm) || !arm.running || arm.step >= look_step(share, arm.steps);
  });
}

std::vector<size_t> losers(const std::vector<SweepArm>& arms) {
  const std::vector<SweepArm> order = ranked(arms);
  std::vector<size_t> jobs;
  for (size_t i = order.size() - order.size() / 2; i < order.size(); ++i) {
    if (order[i].running) jobs.push_back(order[i].job);
  }
  return jobs;
}

std::optional<size_t> winner(const std::vector<SweepArm>& arms) {
  const std::vector<SweepArm> order = ranked(arms);
  if (order.empty()) return std::nullopt;
  return order.front().job;
}

}  // namespace umbel::train
