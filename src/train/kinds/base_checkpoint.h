// Base checkpoints: what full training starts from and what it leaves: a Hugging Face folder that umbel and transformers load
// (config.json, model.safetensors, the tokenizer's files).
#pragma once

#include <map>
#include <string>

#include "base/status.h"
#include "io/file.h"
#include "tensor/tensor.h"

namespace umbel::train {

struct BaseCheckpoint {
  Path base_dir;                // where config.json and the tokenizer's files come from
  DType dtype = DType::kBF16;   // of the written weights: kF32, kBF16, kF16
};

// Writes tensors (f32 masters, by Hugging Face name) and everything else of the folder; config.json comes last and carries the new
// dtype: a folder without it is not complete. Over an older checkpoint its config.json goes first, so that old and new are never
// mixed. kFailedPrecondition when dir is base_dir itself: the base stays as it is.
Status write_base_checkpoint(const Path& dir, const BaseCheckpoint& checkpoint, const std::map<std::string, TensorView>& tensors);

}  // namespace umbel::train
