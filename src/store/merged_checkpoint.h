// A base model's checkpoint with an adapter merged into it: a complete Hugging Face folder, written tensor by tensor.
//
// Any kind merges, since a merge follows from the algebra (adapters/merge.h). Exact weights are formed in f32 and rounded
// once to the written type; how far that, or a later quantisation, moves them is reported for every changed module.
#pragma once

#include <string>
#include <vector>

#include "adapters/adapter.h"
#include "adapters/targets.h"
#include "io/json.h"
#include "io/new_folder.h"
#include "kernels/quantised.h"

namespace umbel {

struct MergeOptions {
  DType dtype = DType::kBF16;  // of all floating-point tensors in the new checkpoint
  // How the merged model is going to be loaded; kNone: as written.
  kernels::Quantisation served = kernels::Quantisation::kNone;
};

// Of one changed weight; W base, W' exact merged, R what is left of W' after rounding (and quantising, where asked).
// All in Frobenius norms.
struct ModuleDrift {
  std::string path;
  double change = 0;         // |W' - W| / |W|
  double error = 0;          // |R - W'| / |W'|
  double error_of_change = 0;  // |R - W'| / |W' - W|: over 1, less is left of the adapter than noise
};

struct MergeReport {
  std::vector<ModuleDrift> modules;
  int64_t tensors = 0;        // in the new checkpoint
  int64_t changed = 0;        // of these, made by the adapter
  uint64_t bytes = 0;
  bool untied = false;  // the base's embedding and head were one weight; the merged ones differ
};

// base: the folder that targets were loaded from, unquantised; adapter: built with f32 factors on them. Writes
// model.safetensors, config.json and copies of the tokenizer and generation files into `out`, an existing folder.
// kUnsupported naming a module whose bias the architecture has no place for.
Result<MergeReport> write_merged_checkpoint(const Path& base, const TargetTable& targets, const Adapter& adapter,
                                            const MergeOptions& options, const Path& out);

}  // namespace umbel
