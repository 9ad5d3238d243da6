// KindFacts: what is the same for all jobs of a kind, one row a kind (kind_facts.cc): its name, which fields of a job mean something to
// it, and what stands where a job says nothing. How it is computed and written is one row of train/kinds/kind_training.h.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "train/job/job.h"

namespace umbel::train {

struct KindFacts {
  TrainKind kind = TrainKind::kLora;
  std::string_view name = {};
  std::string_view targets = {};  // the usual ones on the Llama family, with blanks between
  double learning_rate = 3e-3;  // the peak that it does well with on the bundled base (docs/benchmarks.md, docs/training.md)
  int64_t rank_most = 4096;     // step memory is planned for no more of what it is served as (adapters/served_rank.h)
  bool lora = false;            // written as PEFT's LORA: A and B, at the embedding too, lora_plus_ratio
  bool flora = false;           // flora_init
  bool additive = false;        // W + an update that starts at 0, so weight decay leads to the base
  bool alpha = false;           // scaled by alpha / rank or the like; alpha_pattern
  bool rank_pattern = false;
  bool dropout = false;
  bool in_peft = true;          // PEFT reads the folder
};

std::span<const KindFacts> all_kind_facts();
const KindFacts& kind_facts(TrainKind kind);

// The kind's usual targets on the Llama family; other families have theirs (name_default_targets).
std::vector<std::string> default_targets(TrainKind kind);
// Fills targets and feedforward where the job names nothing, by the base's own table; Llama's where it has none.
void name_default_targets(const DefaultTargets& base, JobSpec& spec);
inline double default_learning_rate(TrainKind kind) { return kind_facts(kind).learning_rate; }

}  // namespace umbel::train
