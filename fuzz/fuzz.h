// What the fuzz targets share. A target is one file with LLVMFuzzerTestOneInput; it must accept any bytes without a crash,
// a leak or undefined behaviour, and may abort only when a promise of the code under test does not hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/status.h"

namespace umbel::fuzz {

inline std::string_view text_of(const uint8_t* data, size_t size) { return {reinterpret_cast<const char*>(data), size}; }

// A refusal of a stranger's input has a sentence, and is not our own bug.
inline void check_refusal(const Status& status) {
  CHECK(!status.ok() && !status.message().empty(), "a refusal says why");
  CHECK(status.code() != Code::kInternal, "a stranger's input is never an internal error");
}

}  // namespace umbel::fuzz
