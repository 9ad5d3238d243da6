#include "train/config/config_override.h"

#include <charconv>

#include "base/nearest.h"
#include "train/config/config_key.h"

namespace umbel::train {
namespace {

// What a path names, taken apart.
struct Address {
  bool defaults = false;
  std::string job;    // of "jobs.JOB."; empty = all jobs
  bool sweep = false;
  const ConfigKey* field = nullptr;
};

bool take_prefix(std::string_view& path, std::string_view prefix) {
  if (!path.starts_with(prefix)) return false;
  path.remove_prefix(prefix.size());
  return true;
}

Result<Address> parse_address(std::string_view path) {
  Address address;
  if (take_prefix(path, "jobs.")) {
    // A name may hold dots, a key does not.
    size_t dot = path.rfind('.');
    if (dot != std::string_view::npos && path.substr(0, dot).ends_with(".sweep")) dot -= std::string_view(".sweep").size();
    if (dot == std::string_view::npos || dot == 0) return invalid_argument("expected jobs.NUMBER.KEY or jobs.NAME.KEY");
    address.job = path.substr(0, dot);
    path.remove_prefix(dot + 1);
  } else {
    address.defaults = take_prefix(path, "defaults.");
  }
  address.sweep = take_prefix(path, "sweep.");
  const bool anywhere = address.job.empty() && !address.defaults && !address.sweep;
  const ConfigSection section = address.sweep ? ConfigSection::kSweep : ConfigSection::kJob;
  if (anywhere) address.field = find_config_key(ConfigSection::kRun, path);
  if (address.field == nullptr) address.field = find_config_key(section, path);
  if (address.field != nullptr) return address;
  std::vector<std::string> known = config_keys(section);
  if (anywhere) {
    for (std::string& key : config_keys(ConfigSection::kRun)) known.push_back(std::move(key));
  }
  const std::string near = nearest_name(path, known);
  return invalid_argument("unknown key \"" + std::string(path) + "\"" + (near.empty() ? "; umbel train --config-help lists all keys" : "; did you mean \"" + near + "\"?"));
}

YamlPtr empty_map(const std::string& where) {
  return std::make_shared<Yaml>(Yaml{.kind = Yaml::Kind::kMap, .where = where, .from_flag = true});
}

// Also takes away what stands under the field's other name.
YamlPtr with_field(const Yaml& map, const ConfigKey& field, const YamlPtr& value) {
  auto copy = std::make_shared<Yaml>(map);
  std::erase_if(copy->entries, [&](const YamlEntry& entry) { return entry.key == field.alias; });
  return yaml_with(*copy, {.key = field.name, .where = value->where, .value = value});
}

YamlPtr with_address(const Yaml& map, const Address& address, const YamlPtr& value) {
  if (!address.sweep) return with_field(map, *address.field, value);
  const YamlEntry* sweep = map.find("sweep");
  const YamlPtr old = sweep != nullptr && sweep->value->is_map() ? sweep->value : empty_map(value->where);
  return yaml_with(map, {.key = "sweep", .where = value->where, .value = with_field(*old, *address.field, value)});
}

std::string job_name(const Yaml& job) {
  const YamlEntry* name = job.find("name");
  return name != nullptr && name->value->is_scalar() ? name->value->text : "";
}

Result<size_t> find_job(const Yaml& jobs, const std::string& wanted) {
  std::vector<std::string> names;
  for (size_t i = 0; i < jobs.items.size(); ++i) {
    names.push_back(job_name(*jobs.items[i]));
    if (names.back() == wanted) return i;
  }
  size_t index = 0;
  const auto [end, error] = std::from_chars(wanted.data(), wanted.data() + wanted.size(), index);
  if (error == std::errc() && end == wanted.data() + wanted.size()) {
    if (index < names.size()) return index;
    return invalid_argument("there is no job " + wanted + "; the file has " + std::to_string(names.size()) + ", counted from 0");
  }
  const std::string near = nearest_name(wanted, names);
  return invalid_argument("there is no job \"" + wanted + "\"" + (near.empty() ? "" : "; did you mean \"" + near + "\"?"));
}

Result<YamlPtr> with_jobs(const Yaml& root, const Address& address, const YamlPtr& value) {
  const YamlEntry* jobs = root.find("jobs");
  if (jobs == nullptr || !jobs->value->is_list()) {
    if (!address.job.empty()) return invalid_argument("there are no jobs in this configuration");
    return with_address(root, address, value);
  }
  auto copy = std::make_shared<Yaml>(*jobs->value);
  size_t begin = 0, end = copy->items.size();
  if (!address.job.empty()) {
    ASSIGN_OR_RETURN(begin, find_job(*copy, address.job));
    end = begin + 1;
  }
  for (size_t i = begin; i < end; ++i) {
    if (copy->items[i]->is_map()) copy->items[i] = with_address(*copy->items[i], address, value);
  }
  return yaml_with(root, {.key = "jobs", .where = jobs->where, .value = copy});
}

Result<YamlPtr> with_override(const Yaml& root, const ConfigOverride& change) {
  ASSIGN_OR_RETURN(const Address address, parse_address(change.path));
  if (address.field->section == ConfigSection::kRun) return with_field(root, *address.field, change.value);
  if (!address.defaults) return with_jobs(root, address, change.value);
  const YamlEntry* defaults = root.find("defaults");
  const YamlPtr old = defaults != nullptr && defaults->value->is_map() ? defaults->value : empty_map(change.value->where);
  return yaml_with(root, {.key = "defaults", .where = old->where, .value = with_address(*old, address, change.value)});
}

}  // namespace

Result<ConfigOverride> parse_override(const std::string& text) {
  const std::string flag = "--set " + text;
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) return invalid_argument(flag + ": expected KEY=VALUE, e.g. lr=1e-3 or jobs.0.rank=4");
  const std::string path = text.substr(0, equals), words = text.substr(equals + 1);
  const auto address = parse_address(path);
  ASSIGN_OR_RETURN(const YamlPtr value, address.ok() ? override_value(*address->field, words, flag) : yaml_of_flag(words, flag));
  return ConfigOverride{.path = path, .value = value};
}

Result<YamlPtr> override_value(const ConfigKey& field, const std::string& text, const std::string& flag) {
  ConfigValues values;
  const bool takes_text = std::holds_alternative<std::string*>(field.slot(values));
  return takes_text && text.starts_with('{') ? yaml_text_of_flag(text, flag) : yaml_of_flag(text, flag);
}

YamlPtr apply_overrides(YamlPtr root, const std::vector<ConfigOverride>& overrides, Problems& problems) {
  for (const ConfigOverride& change : overrides) {
    auto changed = with_override(*root, change);
    if (changed.ok()) {
      root = *changed;
    } else {
      problems.add(changed.status().with_context(change.value->where));
    }
  }
  return root;
}

}  // namespace umbel::train
