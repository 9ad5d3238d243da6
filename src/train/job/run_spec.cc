#include "train/job/run_spec.h"

namespace umbel::train {

Result<BestBy> parse_best_by(const std::string& name) {
  for (const BestBy by : {BestBy::kLoss, BestBy::kExactMatch}) {
    if (best_by_name(by) == name) return by;
  }
  return invalid_argument("unknown measure \"" + name + "\" (known: loss, exact_match)");
}

std::string best_by_name(BestBy by) { return by == BestBy::kLoss ? "loss" : by == BestBy::kExactMatch ? "exact_match" : ""; }

Result<SweepKeep> parse_sweep_keep(const std::string& name) {
  for (const SweepKeep keep : {SweepKeep::kWinner, SweepKeep::kAll}) {
    if (sweep_keep_name(keep) == name) return keep;
  }
  return invalid_argument("unknown choice \"" + name + "\" (known: winner, all)");
}

std::string sweep_keep_name(SweepKeep keep) { return keep == SweepKeep::kWinner ? "winner" : keep == SweepKeep::kAll ? "all" : ""; }

Status check_life(const JobPlan& plan) {
  const JobLife& life = plan.life;
  const auto bad = [&](const std::string& what) { return invalid_argument(plan.job.name + ": " + what); };
  if (life.eval_every < 0 || life.patience < 0 || life.checkpoint_every < 0) {
    return bad("eval_every, patience and checkpoint_every are counts; they can't be negative");
  }
  if (life.spike != 0 && !(life.spike > 1)) return bad("spike is a factor above 1, or 0 = off");
  if (plan.eval_rows < 0) return bad("eval_rows can't be negative");
  if (plan.eval_rows > 0 && !plan.eval_data.empty()) return bad("eval_data and eval_rows say the same thing two ways; give one of them");
  if (life.best_by == BestBy::kExactMatch && plan.eval_rows == 0 && plan.eval_data.empty()) return bad("best_by exact_match needs eval_data or eval_rows");
  if (life.patience > 0 && plan.eval_rows == 0 && plan.eval_data.empty()) return bad("patience needs eval_data or eval_rows");
  return ok_status();
}

}  // namespace umbel::train
