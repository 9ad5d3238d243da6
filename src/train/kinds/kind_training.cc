#include "train/kinds/kind_training.h"

#include <algorithm>

#include "base/check.h"

namespace umbel::train {
namespace {

constexpr KindTraining kKinds[] = {
    {TrainKind::kLora, lora_fields, train_lora},
    {TrainKind::kRsLora, lora_fields, train_lora},
    {TrainKind::kLoraPlus, lora_fields, train_lora},
    {TrainKind::kQlora, lora_fields, train_lora},
    {TrainKind::kDora, lora_fields, train_lora},
    {TrainKind::kVera, vera_fields, train_vera},
    {TrainKind::kIa3, ia3_fields, train_ia3, finish_ia3},
    {TrainKind::kFlora, flora_fields, train_flora},
    {TrainKind::kFloraResidual, flora_fields, train_flora},
    {TrainKind::kLoha, loha_fields, train_loha},
    {TrainKind::kMiss, miss_fields, train_miss},
};

}  // namespace

const KindTraining& kind_training(TrainKind kind) {
  const auto* const found = std::ranges::find(kKinds, kind, &KindTraining::kind);
  CHECK(found != std::end(kKinds), "a kind of adapter");
  return *found;
}

}  // namespace umbel::train
