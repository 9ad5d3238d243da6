// GGUF version 3, as far as an adapter needs it: a little-endian file of named values and tensors, written atomically.
//
//   "GGUF", u32 3, u64 tensors, u64 values; each value: key, u32 type, value; each tensor: name, u32 dimensions, u64 each
//   (the fastest first: the reverse of a Shape), u32 type, u64 offset; then the data, everything aligned to 32 bytes.
// Source: the format description of the ggml project (docs/gguf.md).
#pragma once

#include <map>
#include <string>
#include <variant>
#include <vector>

#include "base/status.h"
#include "io/file.h"
#include "tensor/tensor.h"

namespace umbel {

using GgufValue = std::variant<std::string, float, uint32_t>;

// Tensors in the order of their names. kUnsupported: a type other than f32, f16, bf16; kTooLong: a name of over 63 bytes
// (readers refuse those).
Status write_gguf(const Path& file, const std::vector<std::pair<std::string, GgufValue>>& values,
                  const std::map<std::string, TensorView>& tensors);

}  // namespace umbel
