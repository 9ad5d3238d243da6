#include "train/run_spec.h"

namespace umbel {

Status check_life(const JobPlan& plan) {
  const JobLife& life = plan.life;
  const auto bad = [&](const std::string& what) { return invalid_argument(plan.job.name + ": " + what); };
  if (life.eval_every < 0 || life.patience < 0 || life.checkpoint_every < 0) {
    return bad("eval_every, patience and checkpoint_every are counts; they can't be negative");
  }
  if (life.spike != 0 && !(life.spike > 1)) return bad("spike is a factor above 1, or 0 = off");
  if (plan.eval_rows < 0) return bad("eval_rows can't be negative");
  if (plan.eval_rows > 0 && !plan.eval_data.empty()) return bad("eval_data and eval_rows say the same thing two ways; give one of them");
  if (life.patience > 0 && plan.eval_rows == 0 && plan.eval_data.empty()) return bad("patience needs eval_data or eval_rows");
  return ok_status();
}

}  // namespace umbel
