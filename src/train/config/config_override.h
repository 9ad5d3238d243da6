// Overrides of a configuration, applied to its tree before it is read (config.h).
#pragma once

#include "base/problems.h"
#include "train/config/config.h"
#include "train/config/config_key.h"

namespace umbel::train {

// What a flag or a --set gives a key: YAML's flow style, but where the key takes a text one in braces is that text ("{question}").
Result<YamlPtr> override_value(const ConfigKey& field, const std::string& text, const std::string& flag);

// The tree with every override in it; those that name nothing become problems. root: a map.
YamlPtr apply_overrides(YamlPtr root, const std::vector<ConfigOverride>& overrides, Problems& problems);

}  // namespace umbel::train
