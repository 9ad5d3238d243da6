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

inline constexpr int kJsonDepthMax = 100;

// A name that stands twice in one object: the last one counts (as in Python and JavaScript), or it is an error.
enum class JsonKeys : uint8_t { kLastCounts, kUnique };

// what names the source in errors ("config.json", "request body"). Nesting deeper than kJsonDepthMax, text that is not
// UTF-8 and numbers beyond a double are refused. Messages are plain ASCII whatever the text holds.
Result<Json> parse_json(std::string_view text, std::string_view what, JsonKeys keys = JsonKeys::kLastCounts);
Result<Json> read_json(const Path& path, size_t limit_bytes = size_t{64} << 20);

// Well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms)? Json::dump() throws on anything else.
bool is_utf8(std::string_view text);

// object[name] as T: kInvalidArgument naming the field when absent or null (first form), of another type, or out of
// range. Absent or null gives fallback in the second form. T: bool, int64_t, double, std::string. 3.0 is a valid int64_t.
template <typename T>
Result<T> json_field(const Json& object, const char* name);
template <typename T>
Result<T> json_field_or(const Json& object, const char* name, T fallback);

}  // namespace umbel
