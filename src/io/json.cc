#include "io/json.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace umbel {
namespace {

// Error texts travel in answers and logs: control characters and bytes past ASCII become '?'.
std::string printable(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c < 0x20 || c == 0x7f) c = '?';  // char is signed here: bytes past ASCII are below 0x20 too
  }
  return result;
}

// Builds the value while it checks depth and names; the parser below it does not recurse.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(JsonKeys keys) : keys_(keys) {}

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(number_integer_t value) override { return put(value); }
  bool number_unsigned(number_unsigned_t value) override { return put(value); }
  bool number_float(number_float_t value, const string_t&) override { return put(value); }
  bool string(string_t& value) override { return put(std::move(value)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    Json& object = *stack_.back();
    if (keys_ == JsonKeys::kUnique && object.contains(name)) {
      error_ = "the name \"" + printable(name.substr(0, 100)) + "\" stands twice in one object";
      return false;
    }
    slot_ = &object[name];
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) override {
    std::string_view text = error.what();
    if (text.starts_with("[json.exception.")) text.remove_prefix(std::min(text.size(), text.find("] ") + 2));
    error_ = printable(text.substr(0, 300));
    return false;
  }

  Json take() { return std::move(root_); }
  const std::string& error() const { return error_; }

 private:
  template <typename Value>
  bool put(Value&& value) {
    place(Json(std::forward<Value>(value)));
    return true;
  }
  bool open(Json container) {
    if (stack_.size() >= kJsonDepthMax) {
      error_ = "nested deeper than " + std::to_string(kJsonDepthMax) + " levels";
      return false;
    }
    stack_.push_back(place(std::move(container)));
    return true;
  }
  bool close() {
    stack_.pop_back();
    return true;
  }
  Json* place(Json value) {
    if (stack_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *stack_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    *slot_ = std::move(value);
    return slot_;
  }

  JsonKeys keys_;
  Json root_;
  std::vector<Json*> stack_;  // open containers, outermost first; only the innermost one grows, so these stay valid
  Json* slot_ = nullptr;      // where the value of the last key goes
  std::string error_;
};

Status field_error(const char* name, const char* expected, const Json& found) {
  return invalid_argument("field \"" + std::string(name) + "\" must be " + expected + ", not " + found.type_name());
}

// A number written with a fraction or exponent that still is a whole number (3.0, 1e3).
bool whole(double value) { return std::abs(value) <= 0x1.0p53 && std::floor(value) == value; }

Status convert(const Json& value, const char* name, bool* result) {
  if (!value.is_boolean()) return field_error(name, "true or false", value);
  *result = value.get<bool>();
  return ok_status();
}

Status convert(const Json& value, const char* name, int64_t* result) {
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    return invalid_argument("field \"" + std::string(name) + "\" is out of range");
  }
  if (value.is_number_integer()) {
    *result = value.get<int64_t>();
    return ok_status();
  }
  if (!value.is_number_float()) return field_error(name, "a whole number", value);
  if (!whole(value.get<double>())) return field_error(name, "a whole number", value);
  *result = static_cast<int64_t>(value.get<double>());
  return ok_status();
}

Status convert(const Json& value, const char* name, double* result) {
  if (!value.is_number()) return field_error(name, "a number", value);
  *result = value.get<double>();
  return ok_status();
}

Status convert(const Json& value, const char* name, std::string* result) {
  if (!value.is_string()) return field_error(name, "a string", value);
  *result = value.get<std::string>();
  return ok_status();
}

// Null when object is not an object or has no such name.
const Json* find_field(const Json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

// Length of the well-formed sequence that starts at text[0], or 0.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
  uint8_t low = 0x80;
  uint8_t high = 0xBF;  // bounds of the second byte: they shut out overlong forms, surrogates and > U+10FFFF
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  if (byte(1) < low || byte(1) > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  return length;
}

}  // namespace

Result<Json> parse_json(std::string_view text, std::string_view what, JsonKeys keys) {
  // The parser takes a zero byte for the end of the text and would not look at what follows.
  if (text.find('\0') != std::string_view::npos) return invalid_argument(std::string(what) + ": it holds a zero byte");
  Builder builder(keys);
  if (Json::sax_parse(text.begin(), text.end(), &builder)) return builder.take();
  return invalid_argument(std::string(what) + ": " + builder.error());
}

Result<Json> read_json(const Path& path, size_t limit_bytes) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path, limit_bytes));
  return parse_json(text, path.string());
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

template <typename T>
Result<T> json_field(const Json& object, const char* name) {
  const Json* value = find_field(object, name);
  if (value == nullptr || value->is_null()) return invalid_argument("field \"" + std::string(name) + "\" is missing");
  T result{};
  RETURN_IF_ERROR(convert(*value, name, &result));
  return result;
}

template <typename T>
Result<T> json_field_or(const Json& object, const char* name, T fallback) {
  const Json* value = find_field(object, name);
  if (value == nullptr || value->is_null()) return fallback;
  RETURN_IF_ERROR(convert(*value, name, &fallback));
  return fallback;
}

template Result<bool> json_field<bool>(const Json&, const char*);
template Result<int64_t> json_field<int64_t>(const Json&, const char*);
template Result<double> json_field<double>(const Json&, const char*);
template Result<std::string> json_field<std::string>(const Json&, const char*);
template Result<bool> json_field_or<bool>(const Json&, const char*, bool);
template Result<int64_t> json_field_or<int64_t>(const Json&, const char*, int64_t);
template Result<double> json_field_or<double>(const Json&, const char*, double);
template Result<std::string> json_field_or<std::string>(const Json&, const char*, std::string);

}  // namespace umbel
