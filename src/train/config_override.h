// Overrides of a configuration, applied to its tree before it is read (config.h).
#pragma once

#include "train/config.h"
#include "train/problems.h"

namespace umbel {

// The tree with every override in it; those that name nothing become problems. root: a map.
YamlPtr apply_overrides(YamlPtr root, const std::vector<ConfigOverride>& overrides, Problems& problems);

}  // namespace umbel
