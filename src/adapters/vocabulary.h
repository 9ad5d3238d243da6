// An adapter's vocabulary, where the model was resized before it was trained (tokens added, or padding rows cut off): its
// file then has an embedding and a head of its own, and its rows read and produce its own tokens.
// Private to adapters/.
#pragma once

#include <cstdint>
#include <string>

#include "adapters/spec.h"
#include "adapters/targets.h"
#include "base/status.h"

namespace umbel {

struct ResizedVocabulary {
  int64_t rows = 0;       // 0: the base's own size
  std::string embedding;  // names of the whole tables in the file; "" = the tied other one serves for both
  std::string head;
};

// The target that holds the embedding or the head; -1 when there is none.
int32_t find_target(const TargetTable& targets, TargetKind kind);

// What the file's tensors say. kFailedPrecondition where they have another number of rows than the base and the file lacks
// what such an adapter needs: both tables whole (one where the base ties them), of one size.
Result<ResizedVocabulary> find_resized_vocabulary(const AdapterSource& source, const TargetTable& targets);

}  // namespace umbel
