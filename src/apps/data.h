// The parts of "umbel data" that stand in files of their own.
#pragma once

#include "apps/verb.h"

namespace umbel::apps {

void add_data_measure(CLI::App& verb, Run& run);

}  // namespace umbel::apps
