// Inspection: what an adapter folder says of itself before anything is computed with it. Cheap checks come first: the
// configuration, sizes, and the header of the tensors' file; what cannot be used is refused before its content is read.
#pragma once

#include <stop_token>
#include <string>

#include "store/entry.h"
#include "store/folder.h"
#include "store/rank_limits.h"

namespace umbel {

// A header lists the tensors; the largest real ones (experts of many layers) stay below this.
inline constexpr size_t kAdapterHeaderBytesMax = size_t{8} << 20;

// Who builds adapters: build_adapter(), whose needs are known, or a loader of the caller's own.
enum class Building : uint8_t { kHere, kElsewhere };

struct InspectionLimits {
  size_t budget_bytes = SIZE_MAX;  // of all resident adapters: a file of more can't be one of them
  RankLimits ranks;
  Building building = Building::kHere;
};

// Reads the configuration and the header, then hashes the files. A folder that can't be used gives facts with broken set;
// kCancelled there means that a stop was asked for. Plain function, any thread.
EntryFacts inspect_folder(const std::string& name, const FoundFolder& found, const InspectionLimits& limits,
                          std::stop_token stop = {});

}  // namespace umbel
