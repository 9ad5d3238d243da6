#include "adapters/config_fields.h"

#include <cmath>

namespace umbel {

bool is_inactive(const OrderedJson& value) {
  if (value.is_null()) return true;
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_string()) return value.get_ref<const std::string&>().empty();
  return value.is_structured() && value.empty();
}

std::optional<int64_t> as_integer(const OrderedJson& value) {
  if (!value.is_number_integer()) return {};
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) return {};
  return value.get<int64_t>();
}

Status field_error(std::string_view name, const OrderedJson& value, std::string_view expected) {
  std::string what;
  switch (value.type()) {
    case OrderedJson::value_t::null: what = "null"; break;
    case OrderedJson::value_t::boolean: what = "a boolean"; break;
    case OrderedJson::value_t::string: what = "'" + value.get_ref<const std::string&>().substr(0, 80) + "'"; break;
    case OrderedJson::value_t::array: what = "a list"; break;
    case OrderedJson::value_t::object: what = "an object"; break;
    default: what = value.dump() + (value.is_number_integer() && !as_integer(value) ? " (too large)" : "");
  }
  return invalid_argument("adapter_config.json: " + std::string(name) + " is " + what + ", expected " +
                          std::string(expected));
}

const OrderedJson* Fields::take(std::string_view name) {
  size_t index = 0;
  for (auto field = object_.begin(); field != object_.end(); ++field, ++index) {
    if (field.key() != name) continue;
    read_[index] = true;
    return field->is_null() ? nullptr : &*field;
  }
  return nullptr;
}

Result<bool> Fields::boolean(std::string_view name, bool fallback) {
  const OrderedJson* value = take(name);
  if (value == nullptr) return fallback;
  if (value->is_boolean()) return value->get<bool>();
  return field_error(name, *value, "true or false");
}

Result<int64_t> Fields::integer(std::string_view name, int64_t fallback) {
  const OrderedJson* value = take(name);
  if (value == nullptr) return fallback;
  if (const auto number = as_integer(*value)) return *number;
  return field_error(name, *value, "an integer");
}

Result<double> Fields::number(std::string_view name, double fallback) {
  const OrderedJson* value = take(name);
  if (value == nullptr) return fallback;
  if (const auto number = as_integer(*value)) return static_cast<double>(*number);
  if (value->is_number_float() && std::isfinite(value->get<double>())) return value->get<double>();
  return field_error(name, *value, "a finite number");
}

Result<std::string> Fields::text(std::string_view name, std::string_view fallback) {
  const OrderedJson* value = take(name);
  if (value == nullptr) return std::string(fallback);
  if (value->is_string()) return value->get<std::string>();
  return field_error(name, *value, "a string");
}

Result<std::vector<std::string>> Fields::texts(std::string_view name) {
  const OrderedJson* value = take(name);
  std::vector<std::string> found;
  if (value == nullptr) return found;
  if (value->is_string()) {
    if (!is_inactive(*value)) found.push_back(value->get<std::string>());
    return found;
  }
  if (!value->is_array()) return field_error(name, *value, "a list of strings");
  for (const OrderedJson& item : *value) {
    if (!item.is_string() || is_inactive(item)) return field_error(name, item, "a list of non-empty strings");
    found.push_back(item.get<std::string>());
  }
  return found;
}

Result<std::vector<int64_t>> Fields::integers(std::string_view name) {
  const OrderedJson* value = take(name);
  std::vector<int64_t> found;
  if (value == nullptr) return found;
  if (const auto number = as_integer(*value)) return std::vector<int64_t>{*number};
  if (!value->is_array()) return field_error(name, *value, "a list of integers");
  for (const OrderedJson& item : *value) {
    const auto number = as_integer(item);
    if (!number) return field_error(name, item, "a list of integers");
    found.push_back(*number);
  }
  return found;
}

void Fields::ignore(std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) take(name);
}

void Fields::expect_inactive(std::initializer_list<std::string_view> names) {
  size_t index = 0;
  for (auto field = object_.begin(); field != object_.end(); ++field, ++index) {
    for (const std::string_view name : names) {
      if (field.key() == name && is_inactive(*field)) read_[index] = true;
    }
  }
}

Status Fields::finish(std::string_view kind, std::vector<std::string>& warnings) const {
  size_t index = 0;
  for (auto field = object_.begin(); field != object_.end(); ++field, ++index) {
    if (read_[index]) continue;
    if (!is_inactive(*field)) {
      return unsupported("adapter_config.json: the field " + field.key() +
                         " is set, but is not computed here for " + std::string(kind) +
                         "; remove it or set it to null if the adapter was trained without it");
    }
    warnings.push_back("adapter_config.json: unknown field " + field.key() + " is empty and ignored");
  }
  return ok_status();
}

OrderedJson Fields::rest() const {
  OrderedJson left = OrderedJson::object();
  size_t index = 0;
  for (auto field = object_.begin(); field != object_.end(); ++field, ++index) {
    if (!read_[index]) left.get_ref<OrderedJson::object_t&>().emplace_back(field.key(), *field);  // names are distinct already
  }
  return left;
}

}  // namespace umbel
