#include "train/job.h"

#include <cmath>

namespace umbel {

Result<TrainKind> parse_train_kind(const std::string& name) {
  if (name == "lora") return TrainKind::kLora;
  if (name == "rslora") return TrainKind::kRsLora;
  if (name == "ia3") return TrainKind::kIa3;
  if (name == "flora") return TrainKind::kFlora;
  if (name == "flora-residual") return TrainKind::kFloraResidual;
  return invalid_argument("unknown kind \"" + name + "\" (trained here: lora, rslora, ia3, flora, flora-residual)");
}

std::vector<std::string> default_targets(TrainKind kind) {
  switch (kind) {
    case TrainKind::kLora:
    case TrainKind::kRsLora: return {"q_proj", "v_proj"};
    case TrainKind::kIa3: return {"k_proj", "v_proj", "down_proj"};
    case TrainKind::kFlora:
    case TrainKind::kFloraResidual:
      return {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};
  }
  return {};
}

Status check_job(const JobSpec& spec) {
  const auto bad = [&](const std::string& what) { return invalid_argument(spec.name + ": " + what); };
  if (spec.rank < 1 || spec.rank > 4096) return bad("rank " + std::to_string(spec.rank) + " is not in 1 .. 4096");
  if (!std::isfinite(spec.alpha) || spec.alpha <= 0) return bad("alpha must be a positive number");
  if (!std::isfinite(spec.learning_rate) || spec.learning_rate <= 0) return bad("the learning rate must be a positive number");
  if (spec.epochs < 1) return bad("epochs must be at least 1");
  if (spec.batch < 1) return bad("batch must be at least 1");
  if (spec.clip < 0) return bad("clip must not be negative");
  if (spec.warmup_share < 0 || spec.warmup_share > 1) return bad("warm-up is a share of the steps, 0 .. 1");
  if (spec.schedule_floor < 0 || spec.schedule_floor > 1) return bad("the schedule's floor is a share of the peak, 0 .. 1");
  if (spec.weight_decay != 0 && spec.kind != TrainKind::kLora && spec.kind != TrainKind::kRsLora) {
    return bad("weight decay would pull a multiplicative adapter to zero, which erases the base; use 0");
  }
  return ok_status();
}

}  // namespace umbel
