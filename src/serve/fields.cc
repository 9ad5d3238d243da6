#include "serve/fields.h"

#include <cmath>
#include <limits>

namespace umbel::serve {
namespace {

constexpr size_t kUnknownMax = 8;
constexpr size_t kNameMax = 40;

// A number without trailing zeros: "2", "0.5".
std::string plain(double value) {
  std::string text = std::to_string(value);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.ends_with('.')) text.pop_back();
  return text;
}

}  // namespace

std::optional<int64_t> whole_number(const Json& value) {
  if (value.is_number_unsigned()) {
    const uint64_t number = value.get<uint64_t>();
    if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
    return static_cast<int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  if (!value.is_number_float()) return std::nullopt;
  const double number = value.get<double>();
  if (number != std::floor(number) || !(std::fabs(number) < 9e15)) return std::nullopt;
  return static_cast<int64_t>(number);
}

const char* type_name(Json::value_t type) {
  switch (type) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "a list";
    case Json::value_t::string:
      return "a string";
    case Json::value_t::boolean:
      return "true or false";
    default:
      return "a number";
  }
}

Fields::Fields(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
  if (!object.is_object()) {
    status_ = invalid_argument(std::string("the request body must be a JSON object, not ") + type_name(object));
  }
}

const Json* Fields::find(const char* name) {
  if (!object_.is_object()) return nullptr;
  known_.emplace(name, Use::kRead);
  if (!ok()) return nullptr;
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

std::optional<bool> Fields::boolean(const char* name) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_boolean()) return value->get<bool>();
  wrong_type(name, "true or false", *value);
  return std::nullopt;
}

std::optional<int64_t> Fields::integer(const char* name, int64_t low, int64_t high) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) {
    wrong_type(name, "an integer", *value);
    return std::nullopt;
  }
  const std::optional<int64_t> number = whole_number(*value);
  if (number && *number >= low && *number <= high) return number;
  fail(name, "must be an integer from " + std::to_string(low) + " to " + std::to_string(high));
  return std::nullopt;
}

std::optional<double> Fields::number(const char* name, Range range) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) {
    wrong_type(name, "a number", *value);
    return std::nullopt;
  }
  const double number = value->get<double>();
  if (number <= range.high && (range.open_low ? number > range.low : number >= range.low)) return number;
  fail(name, std::string("must be ") + (range.open_low ? "greater than " : "at least ") + plain(range.low) +
                 " and at most " + plain(range.high));
  return std::nullopt;
}

std::optional<std::string> Fields::string(const char* name) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return value->get<std::string>();
  wrong_type(name, "a string", *value);
  return std::nullopt;
}

std::vector<std::string> Fields::strings(const char* name, const ListLimits& limits) {
  const Json* value = find(name);
  if (value == nullptr) return {};
  if (!value->is_string() && !value->is_array()) {
    wrong_type(name, "a string or a list of strings", *value);
    return {};
  }
  if (value->is_array() && !check_count(name, value->size(), limits.count_max)) return {};
  std::vector<std::string> texts;
  size_t bytes = 0;
  const auto take = [&](const Json& entry) {
    if (!entry.is_string()) return wrong_type(name, "a string or a list of strings", entry);
    const std::string& text = entry.get_ref<const std::string&>();
    bytes += text.size();
    if (text.size() > limits.bytes_each_max)
      return fail(name, "has a string of " + std::to_string(text.size()) + " bytes; at most " +
                            std::to_string(limits.bytes_each_max) + " are allowed");
    if (bytes > limits.bytes_total_max)
      return fail(name, "has strings of more than " + std::to_string(limits.bytes_total_max) + " bytes together");
    texts.push_back(text);
  };
  if (value->is_string()) {
    take(*value);
  } else {
    for (auto entry = value->begin(); entry != value->end() && ok(); ++entry) take(*entry);
  }
  if (!ok()) texts.clear();
  return texts;
}

bool Fields::check_count(const std::string& name, size_t count, size_t count_max) {
  if (count <= count_max) return true;
  fail(name, "has " + std::to_string(count) + " entries; at most " + std::to_string(count_max) + " are allowed");
  return false;
}

Fields::ListLimits stop_limits(const RequestLimits& limits) {
  return {.count_max = limits.stops_max, .bytes_each_max = limits.stop_bytes_max, .bytes_total_max = limits.stops_bytes_max};
}

std::vector<int32_t> Fields::ids(const char* name, size_t count_max) {
  const Json* value = find(name);
  if (value == nullptr) return {};
  if (!value->is_array()) {
    wrong_type(name, "a list of token ids", *value);
    return {};
  }
  if (!check_count(name, value->size(), count_max)) return {};
  std::vector<int32_t> ids;
  for (const Json& entry : *value) {
    const std::optional<int64_t> id = entry.is_number() ? whole_number(entry) : std::nullopt;
    if (!id || *id < 0 || *id > std::numeric_limits<int32_t>::max()) {
      fail(name, "must hold token ids: whole numbers from 0 on");
      return {};
    }
    ids.push_back(static_cast<int32_t>(*id));
  }
  return ids;
}

void Fields::fail(Code code, const std::string& name, const std::string& message) {
  if (!ok()) return;
  param_ = where_ + name;
  status_ = Status(code, "`" + param_ + "` " + message);
}

void Fields::wrong_type(const char* name, const char* wanted, const Json& found) {
  fail(name, std::string("must be ") + wanted + ", not " + type_name(found));
}

void Fields::ignore(std::initializer_list<const char*> names) {
  for (const char* name : names) known_[name] = Use::kIgnored;
}

void Fields::refuse(std::initializer_list<const char*> names, const char* why) {
  for (const char* name : names) {
    const Json* value = find(name);
    known_[name] = Use::kRefused;
    if (value == nullptr || *value == false || *value == "") continue;
    if (value->is_structured() && value->empty()) continue;
    fail(Code::kUnsupported, name, why);
  }
}

std::vector<std::string> Fields::read() const {
  std::vector<std::string> names;
  for (const auto& [name, use] : known_) {
    if (use == Use::kRead) names.push_back(name);
  }
  return names;
}

std::vector<std::string> Fields::unknown() const {
  std::vector<std::string> names;
  if (!object_.is_object()) return names;
  for (const auto& [name, value] : object_.items()) {
    if (known_.contains(name) || names.size() >= kUnknownMax) continue;
    std::string clean = where_ + name.substr(0, kNameMax);
    for (char& c : clean) c = c >= ' ' && c < 0x7f ? c : '?';
    names.push_back(clean);
  }
  return names;
}

}  // namespace umbel::serve
