#include "engine/fair_shares.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/check.h"

namespace umbel {
namespace {

constexpr int64_t kCreditUnit = int64_t{1} << 16;

}  // namespace

void fill_evenly(int64_t total, std::span<const int64_t> wants, std::vector<int64_t>& parts,
                 std::vector<int32_t>& scratch) {
  const auto count = static_cast<int64_t>(wants.size());
  parts.assign(wants.size(), 0);
  scratch.resize(wants.size());
  std::iota(scratch.begin(), scratch.end(), 0);
  std::sort(scratch.begin(), scratch.end(),
            [&](int32_t a, int32_t b) { return wants[a] != wants[b] ? wants[a] < wants[b] : a < b; });
  // The small ones get what they want; at the first one that doesn't, the height is found for all that follow.
  int64_t left = total;
  int64_t height = 0;
  for (int64_t place = 0; place < count; ++place) {
    const int64_t want = wants[scratch[place]];
    height = left / (count - place);
    if (want > height) break;
    parts[scratch[place]] = want;
    left -= want;
  }
  for (size_t index = 0; index < wants.size(); ++index) {
    if (wants[index] <= height || parts[index] > 0) continue;
    parts[index] = height;
    left -= height;
  }
  for (size_t index = 0; index < wants.size() && left > 0; ++index) {
    if (parts[index] >= wants[index]) continue;
    ++parts[index];
    --left;
  }
}

FairShares::FairShares(int32_t lanes_max) {
  for (auto* lanes : {&lanes_, &before_}) lanes->reserve(lanes_max);
  for (auto* list : {&order_, &by_tenant_, &places_, &rank_}) list->reserve(lanes_max);
  for (auto* list : {&wants_, &parts_}) list->reserve(lanes_max);
  tenants_.reserve(lanes_max);
}

void FairShares::open(std::span<const ShareDemand> demands, int32_t budget, int64_t step) {
  demands_ = demands;
  step_ = step;
  carry_over(step);
  sort();
  if (demands.size() == 1) {  // nobody else waits
    lanes_[0].entitled = std::numeric_limits<int64_t>::max();
    lanes_[0].part = budget;
    lanes_[0].credit = 0;
    return;
  }
  divide(budget);
  // Those that had a claim in the last step and nothing of it go first, with no more than their part: together they fit.
  const auto first = [&](int32_t index) {
    return lanes_[index].passed_over && demands_[index].row_cost <= lanes_[index].part;
  };
  std::sort(order_.begin(), order_.end(), [&](int32_t a, int32_t b) {
    return first(a) != first(b) ? first(a) : places_[a] < places_[b];
  });
}

// Lanes that are here again keep their credit; who is away loses it.
void FairShares::carry_over(int64_t step) {
  std::swap(lanes_, before_);
  lanes_.clear();
  size_t old = 0;
  for (const ShareDemand& demand : demands_) {
    CHECK(lanes_.empty() || lanes_.back().lane < demand.lane, "demands come by ascending lane");
    while (old < before_.size() && before_[old].lane < demand.lane) ++old;
    const bool known = old < before_.size() && before_[old].lane == demand.lane;
    lanes_.push_back(known ? before_[old] : Lane{.lane = demand.lane, .served_step = step - 1});
  }
}

void FairShares::sort() {
  order_.resize(demands_.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::sort(order_.begin(), order_.end(), [&](int32_t a, int32_t b) {
    const Lane& left = lanes_[a];
    const Lane& right = lanes_[b];
    if (left.served_step != right.served_step) return left.served_step < right.served_step;
    if (left.credit != right.credit) return left.credit > right.credit;
    return demands_[a].oldest != demands_[b].oldest ? demands_[a].oldest < demands_[b].oldest : a < b;
  });
  places_.resize(demands_.size());
  for (size_t place = 0; place < order_.size(); ++place) places_[order_[place]] = static_cast<int32_t>(place);
}

void FairShares::divide(int32_t budget) {
  by_tenant_.assign(order_.begin(), order_.end());
  std::sort(by_tenant_.begin(), by_tenant_.end(), [&](int32_t a, int32_t b) {
    return demands_[a].tenant != demands_[b].tenant ? demands_[a].tenant < demands_[b].tenant : places_[a] < places_[b];
  });
  tenants_.clear();
  for (int32_t place = 0; place < static_cast<int32_t>(by_tenant_.size()); ++place) {
    const ShareDemand& demand = demands_[by_tenant_[place]];
    if (tenants_.empty() || tenants_.back().tenant != demand.tenant) {
      tenants_.push_back({.tenant = demand.tenant, .begin = place, .end = place, .place = places_[by_tenant_[place]]});
    }
    tenants_.back().end = place + 1;
    tenants_.back().demand += demand.demand;
  }
  std::sort(tenants_.begin(), tenants_.end(), [](const Tenant& a, const Tenant& b) { return a.place < b.place; });
  wants_.clear();
  for (const Tenant& tenant : tenants_) wants_.push_back(tenant.demand);
  fill_evenly(budget, wants_, parts_, rank_);
  for (size_t index = 0; index < tenants_.size(); ++index) tenants_[index].part = parts_[index];

  for (const Tenant& tenant : tenants_) {
    wants_.clear();
    for (int32_t place = tenant.begin; place < tenant.end; ++place) {
      wants_.push_back(demands_[by_tenant_[place]].demand);
    }
    fill_evenly(tenant.part, wants_, parts_, rank_);
    const auto shares = static_cast<int64_t>(tenants_.size()) * (tenant.end - tenant.begin);
    for (int32_t place = tenant.begin; place < tenant.end; ++place) {
      const int32_t index = by_tenant_[place];
      Lane& lane = lanes_[index];
      const int64_t row_cost = demands_[index].row_cost;
      lane.part = parts_[place - tenant.begin];
      lane.credit += budget * kCreditUnit / shares;
      const bool saved_up = lane.credit >= row_cost * kCreditUnit;
      lane.entitled = row_cost <= lane.part ? lane.part : saved_up ? row_cost : 0;
    }
  }
}

void FairShares::close(std::span<const int64_t> used) {
  CHECK(used.size() == demands_.size(), "what was used stands beside what was asked for");
  for (size_t index = 0; index < used.size(); ++index) {
    Lane& lane = lanes_[index];
    const ShareDemand& demand = demands_[index];
    const bool satisfied = used[index] >= demand.demand;
    const int64_t most = demand.row_cost * kCreditUnit;
    lane.credit = satisfied ? 0 : std::clamp<int64_t>(lane.credit - used[index] * kCreditUnit, 0, most);
    lane.passed_over = used[index] == 0 && lane.part >= demand.row_cost;
    if (used[index] > 0) lane.served_step = step_;
  }
}

}  // namespace umbel
