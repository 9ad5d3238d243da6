// What can be known about a run before its base is opened: its files and folders.
#pragma once

#include "base/problems.h"
#include "train/job/run_spec.h"

namespace umbel::train {

// Data files that are not there, not readable or empty; folders that are files or cannot be made or written. Makes nothing.
void check_files(const RunSpec& spec, Problems& problems);

}  // namespace umbel::train
