#include "adapters/spec.h"

#include <algorithm>
#include <cctype>

namespace umbel {
namespace {

bool is_name_of(std::string_view path, std::string_view name) {
  return path == name ||
         (path.size() > name.size() && path.ends_with(name) && path[path.size() - name.size() - 1] == '.');
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char byte) { return std::tolower(byte); });
  return text;
}

Result<Pattern> compile_field(std::string_view field, const std::string& text) {
  Result<Pattern> pattern = Pattern::compile(text);
  if (!pattern.ok()) return pattern.status().with_context("adapter_config.json: " + std::string(field));
  return pattern;
}

Result<ModuleSelector> parse_selector(Fields& fields, std::string_view name) {
  ModuleSelector selector;
  const OrderedJson* value = fields.take(name);
  if (value == nullptr) return selector;
  if (value->is_string()) {
    const std::string& text = value->get_ref<const std::string&>();
    if (lower(text) == "all-linear") {
      selector.all_linear = true;
    } else if (!text.empty()) {
      ASSIGN_OR_RETURN(Pattern pattern, compile_field(name, text));
      selector.pattern.push_back(std::move(pattern));
    }
    return selector;
  }
  ASSIGN_OR_RETURN(selector.names, fields.texts(name));
  return selector;
}

// PEFT searches a key as ^(.*\.)?(key)$ in the path.
Result<Pattern> ending_pattern(std::string_view field, const std::string& key) {
  return compile_field(field, "(.*\\.)?(" + key + ")");
}

constexpr size_t kPatternsMax = 16384;  // each is tried at every module

// A {pattern: value} field in the file's order. read: a value, none where it has another type.
template <typename T, typename Read>
Status parse_pattern(Fields& fields, std::string_view name, const char* expected, ModulePattern<T>& into, const Read& read) {
  const OrderedJson* object = fields.take(name);
  if (object == nullptr) return ok_status();
  if (!object->is_object()) return field_error(name, *object, "an object of pattern: number");
  if (object->size() > kPatternsMax) {
    return Status(Code::kTooLong, "adapter_config.json: " + std::string(name) + " has " + std::to_string(object->size()) +
                                      " patterns, at most " + std::to_string(kPatternsMax) + " are read");
  }
  for (auto field = object->begin(); field != object->end(); ++field) {
    const std::optional<T> value = read(*field);
    if (!value) return field_error(std::string(name) + "['" + field.key() + "']", *field, expected);
    ASSIGN_OR_RETURN(Pattern pattern, ending_pattern(name, field.key()));
    into.emplace_back(std::move(pattern), *value);
  }
  return ok_status();
}

Status parse_patterns(Fields& fields, AdapterSpec& spec) {
  RETURN_IF_ERROR(parse_pattern(fields, "rank_pattern", "a positive integer", spec.rank_pattern, [](const OrderedJson& value) {
    const std::optional<int64_t> rank = as_integer(value);
    return rank && *rank >= 1 ? rank : std::nullopt;
  }));
  return parse_pattern(fields, "alpha_pattern", "a number", spec.alpha_pattern, [](const OrderedJson& value) {
    return value.is_number() ? std::optional(value.get<double>()) : std::nullopt;
  });
}

Status parse_layers(Fields& fields, AdapterSpec& spec) {
  ASSIGN_OR_RETURN(spec.layers, fields.integers("layers_to_transform"));
  spec.layers_limited = !spec.layers.empty();
  ASSIGN_OR_RETURN(const std::vector<std::string> names, fields.texts("layers_pattern"));
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(Pattern pattern, compile_field("layers_pattern", name));
    spec.layers_pattern.push_back(std::move(pattern));
  }
  const bool by_names = spec.target.pattern.empty() && !spec.target.all_linear;
  if (spec.layers_limited && !by_names) {
    return invalid_argument("adapter_config.json: layers_to_transform needs target_modules as a list of names");
  }
  if (!spec.layers_pattern.empty() && !spec.layers_limited) {
    return invalid_argument("adapter_config.json: layers_pattern needs layers_to_transform");
  }
  return ok_status();
}

bool all_digits(std::string_view text) {
  return !text.empty() && text.size() < 10 &&
         std::all_of(text.begin(), text.end(), [](unsigned char byte) { return std::isdigit(byte); });
}

// The first numbered part with a part before it (any of `patterns`, or any) and one after it; -1 when there is none.
Result<int64_t> layer_index(std::string_view path, const std::vector<Pattern>& patterns) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    parts.push_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  const auto first_index = [&](const Pattern* pattern) -> Result<int64_t> {
    // Without a pattern PEFT wants two parts before the number: ".*?\.[^.]*\.(\d+)\.".
    for (size_t i = pattern == nullptr ? 2 : 1; i + 1 < parts.size(); ++i) {
      if (!all_digits(parts[i])) continue;
      bool wanted = pattern == nullptr;
      for (size_t begin = i; !wanted && begin-- > 0;) {  // a pattern may span several parts
        const char* start = parts[begin].data();
        ASSIGN_OR_RETURN(wanted, pattern->full_match({start, static_cast<size_t>(parts[i].data() - 1 - start)}));
      }
      if (wanted) return static_cast<int64_t>(std::stoll(std::string(parts[i])));
    }
    return int64_t{-1};
  };
  if (patterns.empty()) return first_index(nullptr);
  for (const Pattern& pattern : patterns) {
    ASSIGN_OR_RETURN(const int64_t index, first_index(&pattern));
    if (index >= 0) return index;
  }
  return int64_t{-1};
}

}  // namespace

Result<bool> ModuleSelector::matches(std::string_view path) const {
  for (const std::string& name : names) {
    if (is_name_of(path, name)) return true;
  }
  if (!pattern.empty()) return pattern[0].full_match(path);
  return false;
}

int64_t AdapterSpec::rank_max() const {
  int64_t most = rank.value_or(0);
  for (const auto& [pattern, value] : rank_pattern) most = std::max(most, value);
  return most;
}

Result<int64_t> AdapterSpec::rank_at(std::string_view path, int64_t fallback) const {
  for (const auto& [pattern, value] : rank_pattern) {
    ASSIGN_OR_RETURN(const bool matched, pattern.full_match(path));
    if (matched) return value;
  }
  return rank.value_or(fallback);
}

Result<double> AdapterSpec::alpha_at(std::string_view path, double fallback) const {
  for (const auto& [pattern, value] : alpha_pattern) {
    ASSIGN_OR_RETURN(const bool matched, pattern.full_match(path));
    if (matched) return value;
  }
  return fallback;
}

bool AdapterSpec::saves(std::string_view path) const {
  // PEFT wraps every module whose path ends with the name (no dot needed) and with it all that is inside.
  for (size_t end = path.size();; end = path.rfind('.', end - 1)) {
    if (end == std::string_view::npos) return false;
    const std::string_view module = path.substr(0, end);
    for (const std::string& name : modules_to_save) {
      if (module.ends_with(name)) return true;
    }
    if (end == 0) return false;
  }
}

Result<bool> AdapterSpec::selects(std::string_view path, TargetKind kind) const {
  ASSIGN_OR_RETURN(const bool excluded, exclude.matches(path));
  if (excluded) return false;
  for (const std::string& name : modules_to_save) {  // PEFT: (^|.*\.)NAME($|\..*)
    for (size_t end = path.find('.');; end = path.find('.', end + 1)) {
      if (is_name_of(path.substr(0, end), name)) return false;
      if (end == std::string_view::npos) break;
    }
  }
  if (target.all_linear) return kind == TargetKind::kLinear;
  ASSIGN_OR_RETURN(const bool matched, target.matches(path));
  if (!matched || !layers_limited) return matched;
  // A name that is the whole path counts whatever its layer, as in PEFT.
  if (std::find(target.names.begin(), target.names.end(), path) != target.names.end()) return true;
  ASSIGN_OR_RETURN(const int64_t index, layer_index(path, layers_pattern));
  return std::find(layers.begin(), layers.end(), index) != layers.end();
}

Result<AdapterSpec> parse_spec(const OrderedJson& config) {
  Fields fields(config);
  AdapterSpec spec;
  ASSIGN_OR_RETURN(spec.peft_type, fields.text("peft_type", ""));
  if (spec.peft_type.empty()) return invalid_argument("adapter_config.json: peft_type is missing");
  std::transform(spec.peft_type.begin(), spec.peft_type.end(), spec.peft_type.begin(),
                 [](unsigned char byte) { return std::toupper(byte); });
  ASSIGN_OR_RETURN(spec.base_model, fields.text("base_model_name_or_path", ""));
  ASSIGN_OR_RETURN(const std::string task, fields.text("task_type", ""));
  if (!task.empty() && task != "CAUSAL_LM") {
    spec.warnings.push_back("adapter_config.json: task_type is " + task + "; it is run as a causal language model");
  }
  fields.ignore({"auto_mapping", "revision", "inference_mode", "peft_version", "runtime_config"});
  ASSIGN_OR_RETURN(spec.target, parse_selector(fields, "target_modules"));
  ASSIGN_OR_RETURN(spec.exclude, parse_selector(fields, "exclude_modules"));
  if (spec.exclude.all_linear) {
    return invalid_argument("adapter_config.json: exclude_modules can't be all-linear; list the modules");
  }
  RETURN_IF_ERROR(parse_layers(fields, spec));
  if (const OrderedJson* rank = fields.take("r"); rank != nullptr) {
    ASSIGN_OR_RETURN(spec.rank, fields.integer("r", 0));
  }
  RETURN_IF_ERROR(parse_patterns(fields, spec));
  ASSIGN_OR_RETURN(spec.modules_to_save, fields.texts("modules_to_save"));
  ASSIGN_OR_RETURN(spec.bias, fields.text("bias", "none"));
  spec.own = fields.rest();
  return spec;
}

}  // namespace umbel
