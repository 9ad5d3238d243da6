// The leaf functions for generic; flags in house.cmake, rules in leaf-inl.h.
#include <stddef.h>
#include <stdint.h>

#include "kernels/table.h"

#define UMBEL_TARGET generic
#define UMBEL_TARGET_NAME "generic"
#include "kernels/cpu/vec_generic-inl.h"
// (the vectors come first)
#include "kernels/cpu/leaf-inl.h"
