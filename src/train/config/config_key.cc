#include "train/config/config_key.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdio>

#include "base/nearest.h"
#include "base/random.h"

namespace umbel::train {
namespace {

template <typename... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <typename... F>
Overloaded(F...) -> Overloaded<F...>;

// The shortest text that reads back as the same number.
std::string number_text(double value) {
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  return {buffer, end};
}

std::string plain(const std::string& value) { return value; }
std::string plain(int64_t value) { return std::to_string(value); }
std::string plain(double value) { return number_text(value); }

template <typename T>
std::string joined(const std::vector<T>& values) {
  std::string text;
  for (const T& value : values) text += (text.empty() ? "" : ", ") + plain(value);
  return "[" + text + "]";
}

template <typename T>
std::string joined(const std::map<std::string, T>& values) {
  std::string text;
  for (const auto& [key, value] : values) text += (text.empty() ? "" : ", ") + key + ": " + plain(value);
  return "{" + text + "}";
}

// One value of each type that a field may hold.
template <typename T>
Result<T> read_value(const Yaml& node);
template <>
Result<std::string> read_value(const Yaml& node) { return yaml_text(node); }
template <>
Result<int64_t> read_value(const Yaml& node) { return yaml_integer(node); }
template <>
Result<uint64_t> read_value(const Yaml& node) { return yaml_unsigned(node); }
template <>
Result<double> read_value(const Yaml& node) { return yaml_number(node); }
template <>
Result<bool> read_value(const Yaml& node) { return yaml_switch(node); }

class Reader {
 public:
  Reader(const ConfigKey& field, const Yaml& node, const Path& folder) : field_(field), node_(node), folder_(folder) {}

  template <typename T>
  Status operator()(T* value) const {
    ASSIGN_OR_RETURN(*value, read_value<T>(node_));
    return in_range(*value);
  }
  Status operator()(const PathSlot& slot) const {
    ASSIGN_OR_RETURN(const std::string text, yaml_text(node_));
    if (text.empty()) return invalid_argument("expected a path, found an empty text");
    const bool is_name = slot.name_too && text.find('/') == std::string::npos;
    const Path path = is_name || node_.from_flag || Path(text).is_absolute() ? Path(text) : (folder_ / text).lexically_normal();
    if (slot.text != nullptr) *slot.text = path.string();
    if (slot.path != nullptr) *slot.path = path;
    return ok_status();
  }
  Status operator()(const ChoiceSlot& slot) const {
    ASSIGN_OR_RETURN(const std::string word, yaml_text(node_));
    const Status set = slot.set(word);
    if (set.ok()) return set;
    const std::string near = nearest_name(word, slot.names);
    return near.empty() ? set : invalid_argument(set.message() + "; did you mean \"" + near + "\"?");
  }
  // A list; of words also "a,b", as flags are written.
  template <typename T>
  Status operator()(std::vector<T>* values) const {
    values->clear();
    if (!node_.is_list()) {
      if (!node_.is_scalar()) return invalid_argument("expected a list, found " + describe_yaml(node_));
      for (size_t begin = 0; begin <= node_.text.size();) {
        const size_t end = std::min(node_.text.find(',', begin), node_.text.size());
        Yaml part = node_;
        part.text = node_.text.substr(begin, end - begin);
        begin = end + 1;
        if (!part.text.empty()) RETURN_IF_ERROR(add(*values, part));
      }
      return ok_status();
    }
    for (const YamlPtr& item : node_.items) RETURN_IF_ERROR(add(*values, *item));
    return ok_status();
  }
  template <typename T>
  Status operator()(std::map<std::string, T>* values) const {
    if (!node_.is_map()) return invalid_argument("expected a map from patterns to numbers, found " + describe_yaml(node_));
    values->clear();
    for (const YamlEntry& entry : node_.entries) {
      const auto value = read_value<T>(*entry.value);
      if (!value.ok()) return value.status().with_context("\"" + entry.key + "\"");
      RETURN_IF_ERROR(in_range(*value));
      (*values)[entry.key] = *value;
    }
    return ok_status();
  }

 private:
  template <typename T>
  Status add(std::vector<T>& values, const Yaml& item) const {
    ASSIGN_OR_RETURN(const T value, read_value<T>(item));
    RETURN_IF_ERROR(in_range(value));
    values.push_back(value);
    return ok_status();
  }
  template <typename T>
  Status in_range(const T& value) const {
    if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) {
      const auto number = static_cast<double>(value);
      if (number < field_.min) return invalid_argument(number_text(number) + " is below " + number_text(field_.min));
      if (number > field_.max) return invalid_argument(number_text(number) + " is above " + number_text(field_.max));
    }
    return ok_status();
  }

  const ConfigKey& field_;
  const Yaml& node_;
  const Path& folder_;
};

std::string show(const FieldSlot& slot) {
  return std::visit(Overloaded{
                        [](const std::string* value) { return *value; },
                        [](const PathSlot& value) { return value.text != nullptr ? *value.text : value.path->string(); },
                        [](const ChoiceSlot& value) { return value.get(); },
                        [](const bool* value) { return std::string(*value ? "true" : "false"); },
                        [](const int64_t* value) { return std::to_string(*value); },
                        [](const uint64_t* value) { return std::to_string(*value); },
                        [](const double* value) { return number_text(*value); },
                        [](const auto* values) { return joined(*values); },
                    },
                    slot);
}

std::string choice_names(const ChoiceSlot& slot) {
  std::string names;
  for (const std::string& name : slot.names) names += (names.empty() ? "" : ", ") + name;
  return names;
}

struct SectionText {
  ConfigSection section;
  const char* title;
};
constexpr SectionText kSections[] = {{ConfigSection::kRun, "Top level"},
                                     {ConfigSection::kJob, "A job, or \"defaults\" for all jobs (at the top level when there is no \"jobs\")"},
                                     {ConfigSection::kSweep, "\"sweep\" of a job with lists in its fields"}};

std::string names_of(const ConfigKey& field) {
  return field.alias[0] != 0 ? std::string(field.name) + " (" + field.alias + ")" : field.name;
}

}  // namespace

const ConfigKey* find_config_key(ConfigSection section, std::string_view key) {
  for (const ConfigKey& field : config_key_table()) {
    if (field.section == section && !key.empty() && (key == field.name || key == field.alias)) return &field;
  }
  return nullptr;
}

std::vector<std::string> config_keys(ConfigSection section) {
  std::vector<std::string> keys;
  for (const ConfigKey& field : config_key_table()) {
    if (field.section != section) continue;
    keys.push_back(field.name);
    if (field.alias[0] != 0) keys.push_back(field.alias);
  }
  return keys;
}

Status set_config_key(const ConfigKey& field, ConfigValues& values, const Yaml& node, const Path& folder) {
  return std::visit(Reader(field, node, folder), field.slot(values));
}

std::string config_key_type(const ConfigKey& field) {
  ConfigValues values;
  return std::visit(Overloaded{
                        [](const std::string*) { return std::string("text"); },
                        [](const PathSlot&) { return std::string("path"); },
                        [](const ChoiceSlot& slot) { return "one of " + choice_names(slot); },
                        [](const bool*) { return std::string("true or false"); },
                        [](const int64_t*) { return std::string("whole number"); },
                        [](const uint64_t*) { return std::string("whole number"); },
                        [](const double*) { return std::string("number"); },
                        [](const std::vector<std::string>*) { return std::string("list of words"); },
                        [](const std::vector<int64_t>*) { return std::string("list of whole numbers"); },
                        [](const std::vector<double>*) { return std::string("list of numbers"); },
                        [](const std::map<std::string, int64_t>*) { return std::string("map: pattern to whole number"); },
                        [](const std::map<std::string, double>*) { return std::string("map: pattern to number"); },
                    },
                    field.slot(values));
}

Json config_key_value(const ConfigKey& field, const ConfigValues& values) {
  ConfigValues copy = values;
  return std::visit(Overloaded{
                        [](const PathSlot& value) { return Json(value.text != nullptr ? *value.text : value.path->string()); },
                        [](const ChoiceSlot& value) { return Json(value.get()); },
                        [](const auto* value) { return Json(*value); },
                    },
                    field.slot(copy));
}

std::string config_key_text(const ConfigKey& field, const ConfigValues& values) {
  ConfigValues copy = values;
  return show(field.slot(copy));
}

std::string config_key_default(const ConfigKey& field) {
  ConfigValues values;
  values.job.job.name.clear();
  return show(field.slot(values));
}

bool is_list_field(const ConfigKey& field) {
  ConfigValues values;
  const FieldSlot slot = field.slot(values);
  return std::holds_alternative<std::vector<std::string>*>(slot) || std::holds_alternative<std::vector<int64_t>*>(slot) ||
         std::holds_alternative<std::vector<double>*>(slot);
}

std::string config_value_tag(const ConfigKey& field, const Yaml& node) {
  ConfigValues values;
  if (!set_config_key(field, values, node, {}).ok()) return "";
  const FieldSlot slot = field.slot(values);
  std::string text = show(slot);
  if (std::holds_alternative<PathSlot>(slot)) text = Path(text).stem().string();
  std::string tag;
  for (const char c : text) {
    if (c == ',') tag += '+';
    if (c == ':') tag += '=';
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '-') tag += c;
  }
  // Long ones are told apart by a digest of the whole.
  constexpr size_t kTagBytesMax = 40;
  if (tag.size() <= kTagBytesMax) return tag;
  uint64_t digest = 0;
  for (const char c : text) digest = mix_key({digest, static_cast<unsigned char>(c)});
  char hex[9];
  std::snprintf(hex, sizeof hex, "%08x", static_cast<unsigned>(digest));
  return tag.substr(0, kTagBytesMax - 9) + "-" + hex;
}

std::string config_help_text() {
  std::string text;
  for (const auto& [section, title] : kSections) {
    text += (text.empty() ? "" : "\n") + std::string(title) + ":\n";
    for (const ConfigKey& field : config_key_table()) {
      if (field.section != section) continue;
      const std::string value = config_key_default(field);
      std::string name = "  " + names_of(field);
      name.resize(std::max<size_t>(name.size() + 1, 30), ' ');
      text += name + field.help + "; " + config_key_type(field) + (value.empty() ? "" : "; default " + value) + "\n";
    }
  }
  return text;
}

std::string config_help_markdown() {
  std::string text;
  for (const auto& [section, title] : kSections) {
    text += (text.empty() ? "" : "\n") + std::string(title) + ":\n\n| key | type | default | meaning |\n|---|---|---|---|\n";
    for (const ConfigKey& field : config_key_table()) {
      if (field.section != section) continue;
      const std::string value = config_key_default(field);
      const std::string alias = field.alias[0] != 0 ? " (`" + std::string(field.alias) + "`)" : "";
      text += "| `" + std::string(field.name) + "`" + alias + " | " + config_key_type(field) + " | " +
              (value.empty() ? "" : "`" + value + "`") + " | " + field.help + " |\n";
    }
  }
  return text;
}

}  // namespace umbel::train
