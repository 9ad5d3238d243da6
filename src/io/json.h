// JSON of strangers: nlohmann::json, parsed without exceptions, depth and size limited, with errors that name file and
// position. Field helpers give typed errors that name the field.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/status.h"
#include "io/file.h"

namespace umbel {

using Json = nlohmann::json;

// what names the source in errors ("config.json", "request body"). Nesting deeper than 100 is refused.
Result<Json> parse_json(std::string_view text, std::string_view what);
Result<Json> read_json(const Path& path, size_t limit_bytes = size_t{64} << 20);

// object[name] as T: kInvalidArgument naming the field when absent (first form), of another type, or out of range.
// Absent or null gives fallback in the second form. T: bool, int64_t, double, std::string.
template <typename T>
Result<T> json_field(const Json& object, const char* name);
template <typename T>
Result<T> json_field_or(const Json& object, const char* name, T fallback);

}  // namespace umbel
