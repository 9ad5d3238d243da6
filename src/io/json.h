// JSON of strangers: nlohmann::json, parsed in one pass without exceptions, with limits and with errors that name file and
// position. Field helpers give typed errors that name the field.
//
// The cost of parsing grows with the text (times a logarithm of the names in one object), whatever it holds.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/status.h"
#include "io/file.h"

namespace umbel {

using Json = nlohmann::json;
// JSON whose objects keep the order of their names: chat templates print tools and arguments in that order. It converts
// to Json in one pass; a Json converts to it too, but its names are sorted by then. Looking a name up is a walk over its
// object: never look up as many names as a stranger likes.
using OrderedJson = nlohmann::ordered_json;

inline constexpr int kJsonDepthMax = 100;

// What one text may hold. A value costs 16 bytes and more, whatever its text costs: a limit of bytes alone is not enough.
struct JsonLimits {
  size_t values_max = size_t{1} << 24;  // numbers, strings, objects, ...: every value counts as one
  size_t names_max = size_t{1} << 22;   // names in objects, doubled ones too
};
inline constexpr JsonLimits kRequestJsonLimits = {.values_max = 1'000'000, .names_max = 100'000};

// A name that stands twice in one object: the last one counts (as in Python and JavaScript), or it is an error.
enum class JsonKeys : uint8_t { kLastCounts, kUnique };

// what names the source in errors ("config.json", "request body"). Nesting deeper than kJsonDepthMax, text that is not
// UTF-8 and numbers beyond a double are kInvalidArgument; more than the limits allow is kTooLong. Messages are
// printable whatever the text holds.
Result<Json> parse_json(std::string_view text, std::string_view what, JsonKeys keys = JsonKeys::kLastCounts,
                        const JsonLimits& limits = {});
// The same in the order of the text. A name that stands twice keeps its first place and gets its last value, or is an error.
Result<OrderedJson> parse_ordered_json(std::string_view text, std::string_view what, const JsonLimits& limits = {},
                                       JsonKeys keys = JsonKeys::kLastCounts);
// Of a file; one that holds something else altogether (a Git LFS pointer, a web page) is said to be that.
Result<Json> read_json(const Path& path, size_t limit_bytes = size_t{64} << 20);
Result<OrderedJson> read_ordered_json(const Path& path, size_t limit_bytes = size_t{64} << 20);

// Well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms)? Json::dump() throws on anything else.
bool is_utf8(std::string_view text);

// object[name] as T: kInvalidArgument naming the field when absent or null (first form), of another type, or out of
// range. Absent or null gives fallback in the second form. T: bool, int64_t, double, std::string. 3.0 is a valid int64_t.
template <typename T>
Result<T> json_field(const Json& object, const char* name);
template <typename T>
Result<T> json_field_or(const Json& object, const char* name, T fallback);

}  // namespace umbel
