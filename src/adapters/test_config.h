// adapter_config.json by hand, for tests: {{"r", value(4)}, {"use_dora", value(true)}}. Included by *_test.cc only.
#pragma once

#include <initializer_list>
#include <string>

#include "adapters/config_value.h"

namespace umbel::testing {

inline ConfigValue value(bool flag) { return {flag}; }
inline ConfigValue value(int number) { return {static_cast<int64_t>(number)}; }
inline ConfigValue value(double number) { return {number}; }
inline ConfigValue value(const char* text) { return {std::string(text)}; }
inline ConfigValue list(std::initializer_list<ConfigValue> items) { return {ConfigList(items)}; }
inline ConfigValue object(std::initializer_list<ConfigField> fields) { return {ConfigObject(fields)}; }

}  // namespace umbel::testing
