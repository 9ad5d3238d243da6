// What can be known about a run before its base is opened: its files and folders.
#pragma once

#include "train/problems.h"
#include "train/run_spec.h"

namespace umbel {

// Data files that are not there, not readable or empty; folders that are files or cannot be made or written. Makes nothing.
void check_files(const RunSpec& spec, Problems& problems);

}  // namespace umbel
