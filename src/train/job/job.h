// JobSpec: what one adapter is trained as: kind, size, targets, data, optimisation. Plain data, checked before any compute.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "adapters/targets.h"
#include "base/status.h"
#include "train/optim/learning_rate.h"
#include "train/optim/optimizer.h"

namespace umbel::train {

// What is trained. kLoraPlus is LoRA whose output sides learn faster (lora_plus_ratio); kQlora is LoRA that insists on a
// quantised base. kFull trains every weight of a base that is not quantised: pre-training and continued training.
// What each one is, says job/kind_facts.h.
enum class TrainKind : uint8_t { kLora, kRsLora, kLoraPlus, kQlora, kDora, kVera, kIa3, kFlora, kFloraResidual, kLoha, kMiss, kFull };

// The name in a configuration, "lora-plus". kInvalidArgument lists them.
Result<TrainKind> parse_train_kind(const std::string& name);
std::string train_kind_name(TrainKind kind);  // "" for what is none, as the names below

// "adamw", "adamw8bit", "sgd".
Result<OptimizerKind> parse_optimizer(const std::string& name);
std::string optimizer_name(OptimizerKind kind);

// How FLoRA's factors start (docs/flora-format.md). kDefault: kOnes at rank 1, kIdentityLora above, kResidual for the
// residual form. kOnes is refused at rank > 1: every component would get the same gradient for ever.
enum class FloraInit : uint8_t { kDefault, kOnes, kIdentityLora, kOnesNoise, kResidual };
// "default", "ones", "identity_lora", "ones_noise", "residual".
Result<FloraInit> parse_flora_init(const std::string& name);
std::string flora_init_name(FloraInit init);

enum class FullInit : uint8_t { kBase, kRandom };
// "base", "random".
Result<FullInit> parse_full_init(const std::string& name);
std::string full_init_name(FullInit init);

// What full training starts from and leaves.
struct FullSpec {
  std::string base_dir;        // the base's folder: its config.json and tokenizer go into the result, its weights are the start
  FullInit init = FullInit::kBase;  // kRandom: N(0, random_std^2), gains 1, biases 0, drawn from the job's seed
  double random_std = 0.02;
  bool decay_vectors = true;   // weight decay of norm gains and biases too, as plain torch does
  std::string dtype;           // of the written checkpoint: f32, bf16, f16; empty = what the base is loaded as
};

struct JobSpec {
  std::string name = "adapter";
  TrainKind kind = TrainKind::kLora;
  int64_t rank = 8;
  double alpha = 16;                 // LoRA kinds: s = alpha / rank, or alpha / sqrt(rank); LoHa: s = alpha / rank

  // Which modules. At most one of targets, target_regex and all_linear; none of them = the kind's usual ones. Semantics are
  // PEFT's: a name is a whole path or its last dotted parts (also "embed_tokens" for LoRA, "lm_head"), a pattern matches
  // the whole path, all_linear is every linear layer except the head.
  std::vector<std::string> targets;
  std::string target_regex;
  bool all_linear = false;
  std::vector<std::string> exclude;      // names
  std::vector<int64_t> layers;           // layers_to_transform: only these; with targets by name
  std::vector<std::string> feedforward;  // IA3: endings of the modules scaled on the input side; empty = down_proj
  // LoRA kinds, LoHa and FLoRA (ranks only): the value at modules whose path ends in the key (a pattern), keys in sorted order.
  std::map<std::string, int64_t> rank_pattern;
  std::map<std::string, double> alpha_pattern;

  double dropout = 0;           // of the adapter's input, training only; LoRA kinds, VeRA and MiSS
  double lora_plus_ratio = 0;   // rate of B (and of DoRA's magnitude) over that of A; 0 = 16 for kLoraPlus, else 1
  FloraInit flora_init = FloraInit::kDefault;
  double flora_init_scale = 0.01;   // kOnesNoise: standard deviation
  double vera_d_initial = 0.1;      // lambda_d at the start
  uint64_t vera_projection_key = 0; // of the frozen projections: jobs with one key, rank and widths train over the same pair

  OptimizerKind optimizer = OptimizerKind::kAdamW;
  double momentum = 0;               // SGD
  double learning_rate = 3e-3;
  ScheduleKind schedule = ScheduleKind::kCosine;
  double schedule_floor = 0.05;
  double warmup_share = 0.05;        // of all steps
  double clip = 1.0;                 // gradient norm; 0 = off
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0.0;  // AdamW; decay for SGD too
  FullSpec full;                     // kFull
  int64_t epochs = 3;
  int64_t batch = 64;                // rows of one optimizer step
  bool shuffle = true;               // rows in a new order every epoch; false = as they stand in the file
  uint64_t seed = 1;
};

// Impossible ranks, rates, sizes: kInvalidArgument naming the field.
Status check_job(const JobSpec& spec);

}  // namespace umbel::train
