// KindTraining: how a kind is trained and written, one row a kind (kind_training.cc); the functions stand in trainable_KIND.cc.
// What jobs of the kind may say is its row in train/job/kind_facts.h; its tensors are declared in adapters/kind_tensors.h.
#pragma once

#include <vector>

#include "io/json.h"
#include "train/kinds/trainable_build.h"

namespace umbel::train {

// The selected modules, ascending.
using Selected = std::vector<int32_t>;

struct KindTraining {
  TrainKind kind;
  Json (*fields)(const JobSpec& spec);                               // of adapter_config.json, beside those that all kinds share
  Status (*build)(TrainableBuild& build, const Selected& selected);  // terms, parameters and initial values
  // What the configuration needs once the modules are known; null = nothing.
  void (*finish)(const TrainableBuild& build, const Selected& selected, Json& config) = nullptr;
};

// REQUIRES a kind of adapter (not kFull).
const KindTraining& kind_training(TrainKind kind);

Json lora_fields(const JobSpec& spec);  // the LoRA family, DoRA too
Status train_lora(TrainableBuild& build, const Selected& selected);
Json ia3_fields(const JobSpec& spec);
Status train_ia3(TrainableBuild& build, const Selected& selected);
void finish_ia3(const TrainableBuild& build, const Selected& selected, Json& config);
Json vera_fields(const JobSpec& spec);
Status train_vera(TrainableBuild& build, const Selected& selected);
Json flora_fields(const JobSpec& spec);
Status train_flora(TrainableBuild& build, const Selected& selected);
Json loha_fields(const JobSpec& spec);
Status train_loha(TrainableBuild& build, const Selected& selected);
Json miss_fields(const JobSpec& spec);
Status train_miss(TrainableBuild& build, const Selected& selected);

}  // namespace umbel::train
