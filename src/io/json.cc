#include "io/json.h"

#include <cmath>

namespace umbel {
namespace {

constexpr int kDepthMax = 100;

// Nesting depth of the text, strings skipped: checked before the parser recurses over it.
bool too_deep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kDepthMax) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

std::string where(std::string_view text, size_t byte) {
  size_t line = 1, column = 1;
  for (size_t i = 0; i + 1 < byte && i < text.size(); ++i) {
    ++column;
    if (text[i] == '\n') {
      ++line;
      column = 1;
    }
  }
  return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

Status wrong_type(const char* name, const char* wanted, const Json& found) {
  return invalid_argument("field \"" + std::string(name) + "\" must be " + wanted + ", not " + found.type_name());
}

Result<bool> convert(const char* name, const Json& value, bool*) {
  if (!value.is_boolean()) return wrong_type(name, "true or false", value);
  return value.get<bool>();
}

Result<int64_t> convert(const char* name, const Json& value, int64_t*) {
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    return invalid_argument("field \"" + std::string(name) + "\" is too large");
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  if (value.is_number_float()) {
    const double number = value.get<double>();
    if (number == std::floor(number) && std::fabs(number) < 9e15) return static_cast<int64_t>(number);
  }
  return wrong_type(name, "an integer", value);
}

Result<double> convert(const char* name, const Json& value, double*) {
  if (!value.is_number()) return wrong_type(name, "a number", value);
  const double number = value.get<double>();
  if (!std::isfinite(number)) return invalid_argument("field \"" + std::string(name) + "\" must be a finite number");
  return number;
}

Result<std::string> convert(const char* name, const Json& value, std::string*) {
  if (!value.is_string()) return wrong_type(name, "a string", value);
  return value.get<std::string>();
}

}  // namespace

Result<Json> parse_json(std::string_view text, std::string_view what) {
  const std::string source(what);
  if (too_deep(text)) return invalid_argument(source + ": JSON is nested deeper than " + std::to_string(kDepthMax) + " levels");
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    return invalid_argument(source + ": not valid JSON at " + where(text, error.byte));
  } catch (const Json::exception& error) {
    return invalid_argument(source + ": not valid JSON (" + error.what() + ")");
  }
}

Result<Json> read_json(const Path& path, size_t limit_bytes) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path, limit_bytes));
  return parse_json(text, path.string());
}

template <typename T>
Result<T> json_field(const Json& object, const char* name) {
  if (!object.is_object()) return invalid_argument("an object with the field \"" + std::string(name) + "\" is expected");
  const auto found = object.find(name);
  if (found == object.end() || found->is_null()) return invalid_argument("field \"" + std::string(name) + "\" is missing");
  return convert(name, *found, static_cast<T*>(nullptr));
}

template <typename T>
Result<T> json_field_or(const Json& object, const char* name, T fallback) {
  if (!object.is_object()) return fallback;
  const auto found = object.find(name);
  if (found == object.end() || found->is_null()) return fallback;
  return convert(name, *found, static_cast<T*>(nullptr));
}

template Result<bool> json_field(const Json&, const char*);
template Result<int64_t> json_field(const Json&, const char*);
template Result<double> json_field(const Json&, const char*);
template Result<std::string> json_field(const Json&, const char*);
template Result<bool> json_field_or(const Json&, const char*, bool);
template Result<int64_t> json_field_or(const Json&, const char*, int64_t);
template Result<double> json_field_or(const Json&, const char*, double);
template Result<std::string> json_field_or(const Json&, const char*, std::string);

}  // namespace umbel
