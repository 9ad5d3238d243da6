// Packing: examples laid together into units of the batch, and texts joined into windows. Pure functions of their input.
#pragma once

#include <cstdint>

#include "data/dataset.h"

namespace umbel::data {

// Orders examples so that each unit's stand together and sets data.packs. Best fit: in order of falling length (equal lengths
// in file order) an example goes into the fullest unit that still has room for its computed tokens (all but the last);
// units keep the order of their first example in the file, and so do the examples in a unit.
void pack_examples(Dataset& data, int64_t length_max);

// Joins the texts of each file, in order, and cuts windows of length_max tokens out of them; a window begins with the last
// token of the one before. Every token is trained, the first one of a window apart (it was trained as the last one of the
// window before). Examples are replaced; the last window of a file may be short.
void join_examples(Dataset& data, int64_t length_max);

}  // namespace umbel::data
