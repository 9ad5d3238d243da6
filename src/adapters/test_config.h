// adapter_config.json by hand, for tests: {{"r", value(4)}, {"use_dora", value(true)}}. Included by *_test.cc only.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "io/json.h"

namespace umbel::testing {

struct ConfigField {
  std::string name;
  OrderedJson value;
};
using ConfigObject = std::vector<ConfigField>;

inline OrderedJson value(bool flag) { return flag; }
inline OrderedJson value(int number) { return number; }
inline OrderedJson value(double number) { return number; }
inline OrderedJson value(const char* text) { return text; }
inline OrderedJson list(std::initializer_list<OrderedJson> items) {
  OrderedJson made = OrderedJson::array();
  for (const OrderedJson& item : items) made.push_back(item);
  return made;
}
inline OrderedJson object(const ConfigObject& fields) {
  OrderedJson made = OrderedJson::object();
  for (const ConfigField& field : fields) made[field.name] = field.value;
  return made;
}

inline OrderedJson object(std::initializer_list<ConfigField> fields) { return object(ConfigObject(fields)); }

}  // namespace umbel::testing
