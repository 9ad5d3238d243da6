#include "engine/scheduler.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "kernels/api.h"

namespace umbel {
namespace {

enum State : uint8_t { kOpen, kPlanned, kPreempted };

// What is left to give away while one schedule is made.
struct Supply {
  int32_t budget;
  int32_t blocks;
  int32_t prompt_logit_rows;
};

// Cuts rows so that the rows that want prompt logits stay within what is left of their buffer.
int32_t cut_to_logit_rows(const SequenceView& view, int32_t rows, int32_t left) {
  if (view.logit_first < 0) return rows;
  const int32_t before = std::max(0, view.logit_first - view.computed);  // rows without
  return std::min(rows, before + left);
}

// The one with the weakest claim of those that must yield.
int32_t weakest_victim(const ScheduleInput& input, const Schedule& result, int32_t needy) {
  int32_t victim = -1;
  for (int32_t index = 0; index < static_cast<int32_t>(input.running.size()); ++index) {
    const SequenceView& view = input.running[index];
    if (index == needy || result.state[index] != kOpen || view.blocks_held == 0) continue;
    if (!input.policy.yields(view, input.running[needy])) continue;
    const auto claim = [](const SequenceView& of) { return std::pair(of.rank, of.arrival); };
    if (victim < 0 || claim(view) > claim(input.running[victim])) victim = index;
  }
  return victim;
}

// Rows that one sequence may have beside those that it has in this step already, at most `budget` of cost; or 0.
// Preempts only when not even one row fits.
int32_t more_rows(const ScheduleInput& input, int32_t index, int64_t budget, const Supply& left, Schedule& result) {
  SequenceView view = input.running[index];
  const int32_t have = result.state[index] == kPlanned ? result.rows[result.place[index]].rows : 0;
  view.remaining -= have;
  view.computed += have;
  view.blocks_held = std::max(view.blocks_held, blocks_for(view.computed));
  if (view.remaining <= 0) return 0;
  const auto most = static_cast<int32_t>(std::min<int64_t>(budget, left.budget));
  int32_t rows = input.policy.rows(view, most, result.rows.empty());
  rows = std::min(rows, input.limits.prefill_chunk_max - have);
  rows = cut_to_logit_rows(view, rows, left.prompt_logit_rows);
  return std::max(rows, 0);
}

// One sequence's share of `budget`, written down and taken from the supply; the cost of it.
int64_t serve(const ScheduleInput& input, int32_t index, int64_t budget, Supply& supply, Schedule& result) {
  const SequenceView& view = input.running[index];
  int32_t rows = more_rows(input, index, budget, supply, result);
  if (rows == 0) return 0;
  const bool planned = result.state[index] == kPlanned;
  const int32_t have = planned ? result.rows[result.place[index]].rows : 0;
  const int32_t held = std::max(view.blocks_held, blocks_for(view.computed + have));
  const auto fit = [&] { return (held + supply.blocks) * kernels::kKvBlockSize - view.computed - have; };
  while (fit() <= 0) {
    const int32_t victim = planned ? -1 : weakest_victim(input, result, index);
    if (victim < 0) return 0;
    result.state[victim] = kPreempted;
    result.preempted.push_back(victim);
    supply.blocks += input.running[victim].blocks_exclusive;
  }
  rows = std::min(rows, fit());
  if (planned) {
    result.rows[result.place[index]].rows += rows;
  } else {
    result.state[index] = kPlanned;
    result.place[index] = static_cast<int32_t>(result.rows.size());
    result.rows.push_back({index, rows});
  }
  const int32_t computed = view.computed + have;
  supply.budget -= rows * view.cost;
  supply.blocks -= std::max(0, blocks_for(computed + rows) - held);
  if (view.logit_first >= 0) supply.prompt_logit_rows -= rows - std::clamp(view.logit_first - computed, 0, rows);
  return static_cast<int64_t>(rows) * view.cost;
}

// order by lane, and by service within; the lanes and what they ask for.
void find_lanes(const ScheduleInput& input, Schedule& result) {
  result.order.resize(input.running.size());
  std::iota(result.order.begin(), result.order.end(), 0);
  std::sort(result.order.begin(), result.order.end(), [&](int32_t a, int32_t b) {
    const SequenceView& left = input.running[a];
    const SequenceView& right = input.running[b];
    return left.lane != right.lane ? left.lane < right.lane : input.policy.before(left, right, input.step);
  });
  result.lanes.clear();
  result.demands.clear();
  for (int32_t place = 0; place < static_cast<int32_t>(result.order.size()); ++place) {
    const SequenceView& view = input.running[result.order[place]];
    if (result.demands.empty() || result.demands.back().lane != view.lane) {
      result.lanes.push_back({place, place});
      result.demands.push_back(
          {.lane = view.lane, .tenant = view.tenant, .oldest = view.arrival, .row_cost = view.cost});
    }
    ShareDemand& demand = result.demands.back();
    result.lanes.back().end = place + 1;
    demand.oldest = std::min(demand.oldest, view.arrival);
    demand.demand += static_cast<int64_t>(std::min(view.remaining, input.limits.prefill_chunk_max)) * view.cost;
  }
}

}  // namespace

int32_t blocks_for(int32_t tokens) { return (tokens + kernels::kKvBlockSize - 1) / kernels::kKvBlockSize; }

void Schedule::reserve(int32_t sequences) {
  for (auto* list : {&preempted, &order, &place}) list->reserve(sequences);
  rows.reserve(sequences);
  state.reserve(sequences);
  lanes.reserve(sequences);
  demands.reserve(sequences);
  used.reserve(sequences);
}

void claim_ranks(std::span<SequenceView> views, std::vector<int32_t>& order) {
  order.resize(views.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return views[a].lane != views[b].lane ? views[a].lane < views[b].lane : views[a].arrival < views[b].arrival;
  });
  for (size_t place = 0; place < order.size(); ++place) {  // first its place in the lane
    const bool first = place == 0 || views[order[place]].lane != views[order[place - 1]].lane;
    views[order[place]].rank = first ? 0 : views[order[place - 1]].rank + 1;
  }
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    const SequenceView& left = views[a];
    const SequenceView& right = views[b];
    if (left.tenant != right.tenant) return left.tenant < right.tenant;
    return left.rank != right.rank ? left.rank < right.rank : left.arrival < right.arrival;
  });
  for (size_t place = 0; place < order.size(); ++place) {
    const bool first = place == 0 || views[order[place]].tenant != views[order[place - 1]].tenant;
    views[order[place]].rank = first ? 0 : views[order[place - 1]].rank + 1;
  }
}

void schedule(const ScheduleInput& input, Schedule& result) {
  result.rows.clear();
  result.preempted.clear();
  result.state.assign(input.running.size(), kOpen);
  result.place.assign(input.running.size(), -1);
  find_lanes(input, result);
  result.used.assign(result.lanes.size(), 0);
  if (input.running.empty()) return;
  input.shares.open(result.demands, input.limits.step_tokens_max, input.step);
  Supply supply{input.limits.step_tokens_max, input.blocks_available, input.limits.prompt_logprob_rows_max};
  for (const bool entitled : {true, false}) {  // what is theirs, then what is left
    for (const int32_t lane : input.shares.order()) {
      for (int32_t place = result.lanes[lane].begin; place < result.lanes[lane].end; ++place) {
        const int32_t index = result.order[place];
        const int64_t own = entitled ? input.shares.entitled(lane) - result.used[lane] : supply.budget;
        if (result.state[index] == kPreempted || supply.budget <= 0) continue;
        if (entitled && own < input.running[index].cost) continue;
        result.used[lane] += serve(input, index, own, supply, result);
      }
    }
  }
  input.shares.close(result.used);
}

}  // namespace umbel
