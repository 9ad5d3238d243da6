// JobSpec: what one adapter is trained as: kind, size, targets, data, optimisation. Plain data, checked before any compute.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "train/learning_rate.h"

namespace umbel {

enum class TrainKind : uint8_t { kLora, kRsLora, kIa3, kFlora, kFloraResidual };

// "lora", "rslora", "ia3", "flora", "flora-residual".
Result<TrainKind> parse_train_kind(const std::string& name);

struct JobSpec {
  std::string name = "adapter";
  TrainKind kind = TrainKind::kLora;
  int64_t rank = 8;
  double alpha = 16;                 // LoRA kinds: s = alpha / rank, or alpha / sqrt(rank)
  std::vector<std::string> targets;  // last parts of module paths; empty = the kind's usual ones
  double learning_rate = 3e-3;
  ScheduleKind schedule = ScheduleKind::kCosine;
  double schedule_floor = 0.05;
  double warmup_share = 0.05;        // of all steps
  double clip = 1.0;                 // gradient norm; 0 = off
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0.0;  // AdamW
  int64_t epochs = 3;
  int64_t batch = 64;                // rows of one optimizer step
  uint64_t seed = 1;
};

// The kind's usual targets on the Llama family: q, v for LoRA; k, v, down for IA3; all seven linear layers for FLoRA.
std::vector<std::string> default_targets(TrainKind kind);

// Impossible ranks, rates, sizes: kInvalidArgument naming the field.
Status check_job(const JobSpec& spec);

}  // namespace umbel
