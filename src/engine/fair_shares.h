// FairShares: how one step's token budget is divided: deficit round robin over tenants, then over their adapters
// (lanes).
//
// Every step, the budget is first filled to equal heights over the tenants that want something, and each tenant's part
// over its lanes (max-min: who wants less leaves the rest to the others). A lane whose one row costs more than its part
// saves up an equal share a step (its deficit) until the row is paid for. What nobody is entitled to goes to who asks
// for it. Shreedhar & Varghese 1995, with cost in place of bytes. A lane that is alone may take everything.
//
// Promises, where memory is no limit: a lane whose row costs no more than its equal share has a row at least every
// second step; a lane whose row costs c has one at least every 2 c / (its equal share) + 2 steps beyond; a lane's
// unused share is never lost to the step. Nothing depends on time, threads or addresses. One thread; allocates nothing
// after construction.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace umbel {

// The running sequences of one tenant on one adapter, in one step.
struct ShareDemand {
  uint64_t lane = 0;     // the same in every step; unique
  uint64_t tenant = 0;
  uint64_t oldest = 0;   // smallest arrival among its sequences
  int64_t demand = 0;    // cost of all the rows that it could have now, > 0
  int32_t row_cost = 1;  // of one row
};

class FairShares {
 public:
  // At most so many demands a step.
  explicit FairShares(int32_t lanes_max);

  // What each lane may have. REQUIRES demands by ascending lane, borrowed until close(); budget > 0.
  void open(std::span<const ShareDemand> demands, int32_t budget, int64_t step);
  // Indices of demands, in the order in which they are to be served: first up to what they are entitled to, then, in
  // the same order, from what is left.
  std::span<const int32_t> order() const { return order_; }
  int64_t entitled(int32_t index) const { return lanes_[index].entitled; }
  // used: what each lane got, beside demands.
  void close(std::span<const int64_t> used);

 private:
  struct Lane {
    uint64_t lane = 0;
    int64_t served_step = 0;  // last step with a row; the step in which it came, before that
    int64_t credit = 0;       // in 1 / kCreditUnit of cost
    int64_t part = 0;         // of this step
    int64_t entitled = 0;
    bool passed_over = false;  // had a part and no row in the last step: goes first
  };
  void carry_over(int64_t step);
  void sort();
  void divide(int32_t budget);

  std::span<const ShareDemand> demands_;
  int64_t step_ = 0;
  std::vector<Lane> lanes_;  // beside demands_
  std::vector<Lane> before_;
  std::vector<int32_t> order_;
  struct Tenant {
    uint64_t tenant = 0;
    int32_t begin = 0, end = 0;  // in by_tenant_
    int32_t place = 0;           // of its best lane in order_
    int64_t demand = 0;
    int64_t part = 0;
  };
  std::vector<Tenant> tenants_;
  std::vector<int32_t> by_tenant_;  // indices of demands, by tenant, in order_'s order within
  std::vector<int32_t> places_;     // of a demand in order_
  std::vector<int64_t> wants_, parts_;
  std::vector<int32_t> rank_;
};

// Divides total into parts of at most wants[i] each, as equal as that allows; units that don't divide go to the earlier
// ones. parts and scratch are resized.
void fill_evenly(int64_t total, std::span<const int64_t> wants, std::vector<int64_t>& parts,
                 std::vector<int32_t>& scratch);

}  // namespace umbel
