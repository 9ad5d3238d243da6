#include "train/config/config.h"

#include <algorithm>
#include <map>
#include <system_error>

#include "base/nearest.h"
#include "base/problems.h"
#include "store/folder.h"
#include "train/config/config_override.h"
#include "train/config/sweep.h"
#include "train/job/kind_facts.h"

namespace umbel::train {
namespace {

constexpr const char* kJobs = "jobs";
constexpr const char* kDefaults = "defaults";
constexpr const char* kSweep = "sweep";

// A key that was found in the table, and what it is given.
struct Assignment {
  const ConfigKey* field;
  const YamlEntry* entry;
};

// The keys of one job, those of "defaults" among them.
struct JobKeys {
  std::string where;  // empty: from flags alone
  std::vector<Assignment> fields;
  const YamlEntry* sweep = nullptr;
  bool own_sweep = true;  // not that of "defaults"
  bool alone = false;     // its keys stand at the top level

  bool has(const char* name) const {
    return std::any_of(fields.begin(), fields.end(), [&](const Assignment& a) { return std::string_view(a.field->name) == name; });
  }
  // What the job does not say itself. Its own held-out rows, whichever way they are named, stand in the place of the defaults'.
  void take_defaults(const JobKeys& defaults) {
    const bool own_eval = has("eval_data") || has("eval_rows");
    for (const Assignment& assignment : defaults.fields) {
      const std::string_view name = assignment.field->name;
      if (!has(assignment.field->name) && !(own_eval && (name == "eval_data" || name == "eval_rows"))) fields.push_back(assignment);
    }
  }
};

// "." is the working folder's name.
std::string folder_name(const Path& path) {
  if (path.empty()) return "";
  std::error_code error;
  const Path full = std::filesystem::absolute(path, error);
  const Path normal = (error ? path : full).lexically_normal();
  return (normal.filename().empty() ? normal.parent_path() : normal).filename().string();
}

class ConfigReader {
 public:
  explicit ConfigReader(const Path& folder) : folder_(folder) {}

  RunSpec read(const Yaml& root);
  Problems& problems() { return problems_; }

 private:
  void read_top(const Yaml& root);
  std::vector<Assignment> read_map(const Yaml& map, ConfigSection section, const YamlEntry** sweep);
  void unknown_key(const YamlEntry& entry, ConfigSection section);
  void take_field(std::vector<Assignment>& fields, const ConfigKey& field, const YamlEntry& entry);
  void read_jobs(const YamlEntry& jobs, const JobKeys& defaults);
  void add_job(const JobKeys& keys);
  void add_arms(const JobKeys& keys, const ConfigValues& fixed, const std::vector<SweepAxis>& axes);
  void add_plan(const JobKeys& keys, JobPlan plan);
  std::vector<SweepAxis> set_fields(const JobKeys& keys, ConfigValues& values);
  SweepAxis read_axis(const Assignment& assignment);
  SweepPlan read_sweep(const JobKeys& keys);
  void set(const Assignment& assignment, const Yaml& node, ConfigValues& values);
  void check_distinct();

  const Path& folder_;
  Problems problems_;
  ConfigValues run_;  // the keys of the run, and defaults for the rest
};

void ConfigReader::set(const Assignment& assignment, const Yaml& node, ConfigValues& values) {
  problems_.add(set_config_key(*assignment.field, values, node, folder_).with_context(node.where + ": " + assignment.field->name));
}

void ConfigReader::unknown_key(const YamlEntry& entry, ConfigSection section) {
  constexpr std::pair<ConfigSection, const char*> kPlaces[] = {{ConfigSection::kRun, "at the top level"},
                                                               {ConfigSection::kJob, "in a job or in \"defaults\""},
                                                               {ConfigSection::kSweep, "under \"sweep\" of a job"}};
  for (const auto& [other, place] : kPlaces) {
    if (other != section && find_config_key(other, entry.key) != nullptr) {
      return problems_.add(entry.where, "the key \"" + entry.key + "\" belongs " + place);
    }
  }
  std::vector<std::string> known = config_keys(section);
  if (section == ConfigSection::kRun) {
    for (std::string& key : config_keys(ConfigSection::kJob)) known.push_back(std::move(key));
    known.insert(known.end(), {kJobs, kDefaults});
  }
  if (section != ConfigSection::kSweep) known.push_back(kSweep);
  const std::string near = nearest_name(entry.key, known);
  problems_.add(entry.where, "unknown key \"" + entry.key + "\"" +
                                 (near.empty() ? "; umbel train --config-help lists all keys" : "; did you mean \"" + near + "\"?"));
}

void ConfigReader::take_field(std::vector<Assignment>& fields, const ConfigKey& field, const YamlEntry& entry) {
  for (const Assignment& other : fields) {
    if (other.field != &field) continue;
    return problems_.add(entry.where, "\"" + entry.key + "\" and \"" + other.entry->key + "\" (" + other.entry->where + ") are the same key");
  }
  fields.push_back({&field, &entry});
}

// sweep: gets the entry of that name; null = it has no place here.
std::vector<Assignment> ConfigReader::read_map(const Yaml& map, ConfigSection section, const YamlEntry** sweep) {
  std::vector<Assignment> fields;
  for (const YamlEntry& entry : map.entries) {
    if (const ConfigKey* field = find_config_key(section, entry.key)) {
      take_field(fields, *field, entry);
    } else if (sweep != nullptr && entry.key == kSweep) {
      *sweep = &entry;
    } else {
      unknown_key(entry, section);
    }
  }
  return fields;
}

// A list where one value belongs, or a list of lists where a list does.
SweepAxis ConfigReader::read_axis(const Assignment& assignment) {
  const Yaml& node = *assignment.entry->value;
  const bool lists = is_list_field(*assignment.field);
  if (!node.is_list() || (lists && (node.items.empty() || !node.items[0]->is_list()))) return {};
  const std::string_view name = assignment.field->name;
  if (name == "name" || name == "out") {
    problems_.add(node.where, std::string(name) + ": one text is expected, found a list");
    return {};
  }
  if (node.items.empty()) problems_.add(node.where, std::string(name) + ": an empty list leaves no value to sweep over");
  return {.field = assignment.field, .where = node.where, .values = node.items};
}

// Single values into `values`; returns the others, each value of which has been tried.
std::vector<SweepAxis> ConfigReader::set_fields(const JobKeys& keys, ConfigValues& values) {
  std::vector<SweepAxis> axes;
  for (const Assignment& assignment : keys.fields) {
    const Yaml& node = *assignment.entry->value;
    SweepAxis axis = read_axis(assignment);
    if (axis.field != nullptr) {
      ConfigValues scratch;
      const size_t before = problems_.lines().size();
      for (size_t i = 0; i < axis.values.size() && problems_.lines().size() == before; ++i) set(assignment, *axis.values[i], scratch);
      if (!axis.values.empty()) axes.push_back(std::move(axis));
    } else if (!node.is_list() || is_list_field(*assignment.field)) {
      set(assignment, node, values);
    }
  }
  return axes;
}

SweepPlan ConfigReader::read_sweep(const JobKeys& keys) {
  ConfigValues values;
  if (keys.sweep == nullptr) return values.sweep;
  if (!keys.sweep->value->is_map()) {
    problems_.add(keys.sweep->where, "sweep: expected a map, found " + describe_yaml(*keys.sweep->value));
    return values.sweep;
  }
  for (const Assignment& assignment : read_map(*keys.sweep->value, ConfigSection::kSweep, nullptr)) {
    set(assignment, *assignment.entry->value, values);
  }
  double last = 0;
  for (const double share : values.sweep.halve_at) {
    if (share <= last || share >= 1) problems_.add(keys.sweep->where, "sweep: halve_at is a rising list of shares between 0 and 1");
    last = share;
  }
  return values.sweep;
}

// Checked by itself; what jobs owe to each other is check_distinct's.
void ConfigReader::add_plan(const JobKeys& keys, JobPlan plan) {
  if (!keys.has("learning_rate")) plan.job.learning_rate = default_learning_rate(plan.job.kind);
  const std::string& name = plan.job.name;
  if (name.empty()) return problems_.add(keys.where, "the job has no name: give it one (\"name\"), or an \"out\" whose last part names it");
  if (const Status fit = check_adapter_name(name); !fit.ok()) return problems_.add(keys.where, "the name \"" + name + "\": " + fit.message());
  for (const Status& checked : {check_job(plan.job), check_life(plan)}) problems_.add(keys.where.empty() ? checked : checked.with_context(keys.where));
  if (plan.data.empty()) problems_.add(keys.where, name + ": data is missing: the file of training rows");
  plan.where = keys.where;
  run_.run.jobs.push_back(std::move(plan));
}

void ConfigReader::add_arms(const JobKeys& keys, const ConfigValues& fixed, const std::vector<SweepAxis>& axes) {
  const std::string& name = fixed.job.job.name;
  auto arms = choose_arms(axes, fixed.sweep);
  if (!arms.ok()) return problems_.add(keys.where, name + ": " + arms.status().message());
  const Path folder = keys.has("out") ? fixed.job.out : run_.run.out;
  for (const ArmChoice& arm : *arms) {
    ConfigValues values = fixed;
    for (size_t i = 0; i < axes.size(); ++i) {
      const Status set = set_config_key(*axes[i].field, values, *axes[i].values[arm[i]], folder_);
      if (!set.ok()) return;  // told already
    }
    values.job.job.name = arm_name(name, axes, arm);
    values.job.out = folder / values.job.job.name;
    values.job.sweep = name;
    add_plan(keys, values.job);
  }
  run_.run.sweeps.push_back({.name = name, .halve_at = fixed.sweep.halve_at, .out = folder / name, .keep = fixed.sweep.keep});
  if (const Status fit = check_adapter_name(name); !fit.ok()) problems_.add(keys.where, "the name \"" + name + "\": " + fit.message());
}

void ConfigReader::add_job(const JobKeys& keys) {
  ConfigValues values;
  values.job.job.name.clear();
  const std::vector<SweepAxis> axes = set_fields(keys, values);
  values.sweep = read_sweep(keys);
  if (!keys.has("out")) values.job.out = keys.alone ? run_.run.out : Path();
  if (values.job.job.name.empty()) values.job.job.name = folder_name(values.job.out);
  if (!axes.empty()) return add_arms(keys, values, axes);
  if (keys.sweep != nullptr && keys.own_sweep) problems_.add(keys.sweep->where, "sweep: no field of the job holds a list");
  if (values.job.out.empty()) values.job.out = run_.run.out / values.job.job.name;
  add_plan(keys, values.job);
}

void ConfigReader::read_jobs(const YamlEntry& jobs, const JobKeys& defaults) {
  if (!jobs.value->is_list() || jobs.value->items.empty()) return problems_.add(jobs.where, "jobs: expected a list of at least one job");
  for (const YamlPtr& item : jobs.value->items) {
    if (!item->is_map()) {
      problems_.add(item->where, "a job is a map of keys, not " + describe_yaml(*item));
      continue;
    }
    JobKeys keys{.where = item->where};
    keys.fields = read_map(*item, ConfigSection::kJob, &keys.sweep);
    keys.own_sweep = keys.sweep != nullptr;
    if (!keys.own_sweep) keys.sweep = defaults.sweep;
    keys.take_defaults(defaults);
    add_job(keys);
  }
}

void ConfigReader::read_top(const Yaml& root) {
  const YamlEntry* jobs = root.find(kJobs);
  const YamlEntry* defaults_entry = root.find(kDefaults);
  JobKeys one{.where = root.from_flag ? "" : root.where, .alone = true}, defaults;
  std::vector<Assignment> run;
  for (const YamlEntry& entry : root.entries) {
    const ConfigKey* of_run = find_config_key(ConfigSection::kRun, entry.key);
    const ConfigKey* of_job = find_config_key(ConfigSection::kJob, entry.key);
    if (of_run != nullptr) {
      take_field(run, *of_run, entry);
    } else if (jobs == nullptr && of_job != nullptr) {
      take_field(one.fields, *of_job, entry);
    } else if (jobs == nullptr && entry.key == kSweep) {
      one.sweep = &entry;
    } else if (entry.key != kJobs && entry.key != kDefaults && !entry.key.starts_with("x-")) {
      unknown_key(entry, ConfigSection::kRun);
    }
  }
  for (const Assignment& assignment : run) set(assignment, *assignment.entry->value, run_);
  if (defaults_entry != nullptr && !defaults_entry->value->is_map()) {
    problems_.add(defaults_entry->where, "defaults: expected a map, found " + describe_yaml(*defaults_entry->value));
  } else if (defaults_entry != nullptr) {
    defaults.fields = read_map(*defaults_entry->value, ConfigSection::kJob, &defaults.sweep);
    for (const char* own : {"name", "out"}) {
      if (defaults.has(own)) problems_.add(defaults_entry->where, std::string("defaults: ") + own + " belongs to each job by itself");
    }
  }
  if (run_.run.out.empty()) problems_.add(one.where, "out is missing: the folder of the run, where logs and adapters go");
  if (jobs != nullptr) return read_jobs(*jobs, defaults);
  one.take_defaults(defaults);
  add_job(one);
}

void ConfigReader::check_distinct() {
  std::map<std::string, const JobPlan*> names, folders;
  for (const JobPlan& plan : run_.run.jobs) {
    const auto [named, new_name] = names.emplace(plan.job.name, &plan);
    if (!new_name) {
      problems_.add(plan.where, "the name \"" + plan.job.name + "\" stands twice" + (named->second->where != plan.where ? " (first at " + named->second->where + ")" : " among the arms of a sweep"));
      continue;
    }
    const std::string folder = plan.out.lexically_normal().string();
    const auto [placed, new_folder] = folders.emplace(folder, &plan);
    if (!new_folder) problems_.add(plan.where, plan.job.name + ": its folder \"" + folder + "\" is " + placed->second->job.name + "'s already");
  }
  for (const SweepSpec& sweep : run_.run.sweeps) {
    if (names.contains(sweep.name)) problems_.add(names[sweep.name]->where, "the name \"" + sweep.name + "\" is that of a sweep's winner, too");
    const std::string folder = sweep.out.lexically_normal().string();
    if (folders.contains(folder)) problems_.add(folders[folder]->where, folders[folder]->job.name + ": its folder \"" + folder + "\" is that of a sweep's winner, too");
  }
}

RunSpec ConfigReader::read(const Yaml& root) {
  read_top(root);
  check_distinct();
  return run_.run;
}

}  // namespace

Result<RunSpec> read_run_spec(const ConfigInput& input) {
  ConfigReader reader(input.folder);
  YamlPtr root = input.root;
  if (root->is_null()) root = std::make_shared<Yaml>(Yaml{.kind = Yaml::Kind::kMap, .where = root->where, .from_flag = root->from_flag});
  if (!root->is_map()) return invalid_argument(root->where + ": a configuration is a map of keys, not " + describe_yaml(*root));
  root = apply_overrides(root, input.overrides, reader.problems());
  RunSpec spec = reader.read(*root);
  RETURN_IF_ERROR(reader.problems().status());
  return spec;
}

Result<RunSpec> read_run_spec(const Path& file, std::vector<ConfigOverride> overrides) {
  ASSIGN_OR_RETURN(const YamlPtr root, read_yaml(file));
  return read_run_spec({.root = root, .folder = file.parent_path(), .overrides = std::move(overrides)});
}

}  // namespace umbel::train
