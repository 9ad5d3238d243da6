#include "adapters/config_value.h"

#include <cmath>

namespace umbel {

bool ConfigValue::is_inactive() const {
  if (is_null()) return true;
  if (const bool* flag = as<bool>()) return !*flag;
  if (const std::string* text = as<std::string>()) return text->empty();
  if (const ConfigList* list = as<ConfigList>()) return list->empty();
  if (const ConfigObject* object = as<ConfigObject>()) return object->empty();
  return false;
}

std::string ConfigValue::type_name() const {
  constexpr const char* kNames[] = {"null", "a boolean", "an integer", "a number", "a string", "a list", "an object"};
  return kNames[value.index()];
}

Status field_error(std::string_view name, const ConfigValue& value, std::string_view expected) {
  std::string what = value.type_name();
  if (const std::string* text = value.as<std::string>()) what = "'" + text->substr(0, 80) + "'";
  if (const int64_t* number = value.as<int64_t>()) what = std::to_string(*number);
  if (const double* number = value.as<double>()) what = std::to_string(*number);
  return invalid_argument("adapter_config.json: " + std::string(name) + " is " + what + ", expected " +
                          std::string(expected));
}

const ConfigValue* Fields::take(std::string_view name) {
  for (size_t i = 0; i < object_.size(); ++i) {
    if (object_[i].name != name) continue;
    read_[i] = true;
    return object_[i].value.is_null() ? nullptr : &object_[i].value;
  }
  return nullptr;
}

Result<bool> Fields::boolean(std::string_view name, bool fallback) {
  const ConfigValue* value = take(name);
  if (value == nullptr) return fallback;
  if (const bool* flag = value->as<bool>()) return *flag;
  return field_error(name, *value, "true or false");
}

Result<int64_t> Fields::integer(std::string_view name, int64_t fallback) {
  const ConfigValue* value = take(name);
  if (value == nullptr) return fallback;
  if (const int64_t* number = value->as<int64_t>()) return *number;
  return field_error(name, *value, "an integer");
}

Result<double> Fields::number(std::string_view name, double fallback) {
  const ConfigValue* value = take(name);
  if (value == nullptr) return fallback;
  if (const int64_t* number = value->as<int64_t>()) return static_cast<double>(*number);
  if (const double* number = value->as<double>(); number != nullptr && std::isfinite(*number)) return *number;
  return field_error(name, *value, "a finite number");
}

Result<std::string> Fields::text(std::string_view name, std::string_view fallback) {
  const ConfigValue* value = take(name);
  if (value == nullptr) return std::string(fallback);
  if (const std::string* text = value->as<std::string>()) return *text;
  return field_error(name, *value, "a string");
}

Result<std::vector<std::string>> Fields::texts(std::string_view name) {
  const ConfigValue* value = take(name);
  std::vector<std::string> found;
  if (value == nullptr) return found;
  if (const std::string* text = value->as<std::string>()) {
    if (!text->empty()) found.push_back(*text);
    return found;
  }
  const ConfigList* list = value->as<ConfigList>();
  if (list == nullptr) return field_error(name, *value, "a list of strings");
  for (const ConfigValue& item : *list) {
    const std::string* text = item.as<std::string>();
    if (text == nullptr || text->empty()) return field_error(name, item, "a list of non-empty strings");
    found.push_back(*text);
  }
  return found;
}

Result<std::vector<int64_t>> Fields::integers(std::string_view name) {
  const ConfigValue* value = take(name);
  std::vector<int64_t> found;
  if (value == nullptr) return found;
  if (const int64_t* number = value->as<int64_t>()) return std::vector<int64_t>{*number};
  const ConfigList* list = value->as<ConfigList>();
  if (list == nullptr) return field_error(name, *value, "a list of integers");
  for (const ConfigValue& item : *list) {
    const int64_t* number = item.as<int64_t>();
    if (number == nullptr) return field_error(name, item, "a list of integers");
    found.push_back(*number);
  }
  return found;
}

void Fields::ignore(std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) take(name);
}

void Fields::expect_inactive(std::initializer_list<std::string_view> names) {
  for (size_t i = 0; i < object_.size(); ++i) {
    for (const std::string_view name : names) {
      if (object_[i].name == name && object_[i].value.is_inactive()) read_[i] = true;
    }
  }
}

Status Fields::finish(std::string_view kind, std::vector<std::string>& warnings) const {
  for (size_t i = 0; i < object_.size(); ++i) {
    if (read_[i]) continue;
    if (!object_[i].value.is_inactive()) {
      return unsupported("adapter_config.json: the field " + object_[i].name +
                         " is set, but is not computed here for " + std::string(kind) +
                         "; remove it or set it to null if the adapter was trained without it");
    }
    warnings.push_back("adapter_config.json: unknown field " + object_[i].name + " is empty and ignored");
  }
  return ok_status();
}

ConfigObject Fields::rest() const {
  ConfigObject left;
  for (size_t i = 0; i < object_.size(); ++i) {
    if (!read_[i]) left.push_back(object_[i]);
  }
  return left;
}

}  // namespace umbel
