#include "eval/scorers/options.h"

#include <algorithm>
#include <cmath>

#include "base/nearest.h"
#include "eval/text/python_text.h"

namespace umbel::eval {

Options::Options(const OrderedJson& values, std::string what) : values_(values), what_(std::move(what)) {
  if (values_.is_null()) values_ = OrderedJson::object();
  if (!values_.is_object()) {
    problems_.add(what_, "its options are to be a map");
    values_ = OrderedJson::object();
  }
}

const OrderedJson* Options::find(const char* name) {
  known_.push_back(name);
  const auto found = values_.find(name);
  return found == values_.end() || found->is_null() ? nullptr : &*found;
}

void Options::complain(const char* name, const std::string& expected) {
  problems_.add(what_, std::string("option \"") + name + "\" is to be " + expected);
}

// Flags give texts where files give numbers.
double Options::number(const char* name, double fallback) {
  const OrderedJson* value = find(name);
  if (value == nullptr) return fallback;
  if (value->is_number()) return value->get<double>();
  const auto read = value->is_string() ? python_float(value->get<std::string>()) : std::nullopt;
  if (read && std::isfinite(*read)) return *read;
  complain(name, "a number");
  return fallback;
}

int64_t Options::integer(const char* name, int64_t fallback, int64_t min) {
  const double value = number(name, static_cast<double>(fallback));
  if (value == std::floor(value) && value >= static_cast<double>(min) && value <= 1e15) return static_cast<int64_t>(value);
  complain(name, "a whole number from " + std::to_string(min) + " on");
  return fallback;
}

bool Options::flag(const char* name, bool fallback) {
  const OrderedJson* value = find(name);
  if (value == nullptr) return fallback;
  if (value->is_boolean()) return value->get<bool>();
  const std::string text = value->is_string() ? lower_case(value->get<std::string>()) : "";
  if (text == "true" || text == "yes" || text == "on") return true;
  if (text == "false" || text == "no" || text == "off") return false;
  complain(name, "true or false");
  return fallback;
}

std::string Options::text(const char* name, std::string fallback) {
  const OrderedJson* value = find(name);
  if (value == nullptr) return fallback;
  if (value->is_string()) return value->get<std::string>();
  complain(name, "a text");
  return fallback;
}

std::string Options::choice(const char* name, const std::vector<std::string>& choices) {
  std::string value = text(name, choices.front());
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return value;
  std::string all;
  for (const std::string& one : choices) all += (all.empty() ? "" : ", ") + one;
  complain(name, "one of " + all);
  return choices.front();
}

std::vector<std::string> Options::texts(const char* name, std::vector<std::string> fallback) {
  const OrderedJson* value = find(name);
  if (value == nullptr) return fallback;
  std::vector<std::string> list;
  if (value->is_string()) {  // of a flag: parted by commas
    std::string rest = value->get<std::string>() + ",";
    for (size_t end; (end = rest.find(',')) != std::string::npos; rest.erase(0, end + 1)) list.emplace_back(strip_blanks(rest.substr(0, end)));
  } else if (value->is_array()) {
    for (const OrderedJson& item : *value) list.push_back(python_str(item));
  } else {
    complain(name, "a list of texts");
    return fallback;
  }
  if (list.empty()) complain(name, "a list that is not empty");
  return list;
}

Status Options::status() {
  for (const auto& [name, value] : values_.items()) {
    if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    const std::string near = nearest_name(name, known_);
    std::string all;
    for (const std::string& one : known_) all += (all.empty() ? "" : ", ") + one;
    problems_.add(what_, "there is no option \"" + name + "\"" +
                             (!near.empty() ? "; did you mean \"" + near + "\"?" : known_.empty() ? "; it has none" : "; it has " + all));
  }
  return problems_.status();
}

}  // namespace umbel::eval
