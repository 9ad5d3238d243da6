// The table of one ISA, from the bodies that all ISAs share.
#pragma once

#include "kernels/cpu/matmul-inl.h"

namespace umbel::kernels::UMBEL_TARGET {

extern const Table kTable;
const Table kTable = {
    .name = UMBEL_TARGET_NAME,
    .lanes = kLanes,
    .matmul = kMatmulTable,
};

}  // namespace umbel::kernels::UMBEL_TARGET
