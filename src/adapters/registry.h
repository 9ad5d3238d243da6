// The kinds of adapters, and the one way from a parsed folder to a resident Adapter.
//
// Adding a kind: one file with its `Status build_KIND(Builder&)`, one line in registry.cc, one test; no kernel.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/adapter.h"
#include "adapters/shared_tensors.h"
#include "adapters/spec.h"
#include "adapters/targets.h"
#include "base/status.h"

namespace umbel {

struct BuildOptions {
  DType factor_dtype =
      DType::kF32;                  // of low-rank factors: kF32, or kBF16 in 16-bit modes. Scale vectors are always f32
  int64_t rank_max = 4096;          // a larger rank in a file is refused by number
  int64_t vocabulary_max = INT32_MAX;  // likewise an adapter's own vocabulary
  SharedTensors* shared = nullptr;  // where adapters meet that carry the same projections; null = no sharing
};

// "lora" for "LORA", ...; empty for a type that is not computed here.
std::string_view kind_name(std::string_view peft_type);
// r where a configuration does not say it: PEFT's default for the type. REQUIRES a type that is computed here.
int64_t default_rank(std::string_view peft_type);
// All peft_types, for messages.
std::vector<std::string> kind_types();

// Strict: every tensor is used, every selected module has its tensors, every active field is computed; what is not is
// kUnsupported or kInvalidArgument and named. kFailedPrecondition: the adapter was made for another base (shapes,
// modules). Reads base weights where a kind needs them (DoRA); takes long for those, so call it on a loading thread.
// Any thread.
Result<std::shared_ptr<const Adapter>> build_adapter(const AdapterSource& source, const TargetTable& targets,
                                                     const BuildOptions& options);

}  // namespace umbel
