// Task files: YAML to Task.
#include <algorithm>
#include <set>

#include "base/nearest.h"
#include "base/problems.h"
#include "eval/scorers/registry.h"
#include "eval/tasks/task.h"
#include "io/sha256.h"
#include "io/yaml.h"

namespace umbel::eval {
namespace {

constexpr size_t kTasksMax = 10'000;

// Reads keys of one map; every complaint has its place.
class Keys {
 public:
  Keys(const Yaml& map, Problems& problems) : map_(map), problems_(problems) {}

  const Yaml* find(const std::string& key) {
    known_.push_back(key);
    const YamlEntry* entry = map_.find(key);
    return entry == nullptr || entry->value->is_null() ? nullptr : entry->value.get();
  }
  std::string text(const std::string& key, const char* missing = nullptr) {
    const Yaml* node = find(key);
    if (node == nullptr) {
      if (missing != nullptr) problems_.add(map_.where, "the key \"" + key + "\" is missing: " + missing);
      return "";
    }
    const auto read = yaml_text(*node);
    if (!read.ok()) problems_.add(node->where, key + ": " + read.status().message());
    return read.ok() ? *read : "";
  }
  int64_t integer(const std::string& key, int64_t fallback, int64_t min) {
    const Yaml* node = find(key);
    if (node == nullptr) return fallback;
    const auto read = yaml_integer(*node);
    if (read.ok() && *read >= min) return *read;
    problems_.add(node->where, key + ": " + (read.ok() ? "it is to be from " + std::to_string(min) + " on" : read.status().message()));
    return fallback;
  }
  bool flag(const std::string& key) {
    const Yaml* node = find(key);
    if (node == nullptr) return false;
    const auto read = yaml_switch(*node);
    if (!read.ok()) problems_.add(node->where, key + ": " + read.status().message());
    return read.ok() && *read;
  }
  // A text or a list of texts.
  std::vector<std::string> texts(const std::string& key) {
    std::vector<std::string> list;
    const Yaml* node = find(key);
    if (node == nullptr) return list;
    if (!node->is_list()) {
      list.push_back(text(key));
      return list;
    }
    for (const YamlPtr& item : node->items) {
      const auto read = yaml_text(*item);
      if (!read.ok()) problems_.add(item->where, key + ": " + read.status().message());
      if (read.ok()) list.push_back(*read);
    }
    return list;
  }
  // The map under a key; null when absent.
  const Yaml* map(const std::string& key) {
    const Yaml* node = find(key);
    if (node == nullptr || node->is_map()) return node;
    problems_.add(node->where, key + ": expected a map, found " + describe_yaml(*node));
    return nullptr;
  }
  void refuse_unknown() {
    for (const YamlEntry& entry : map_.entries) {
      if (std::find(known_.begin(), known_.end(), entry.key) != known_.end()) continue;
      const std::string near = nearest_name(entry.key, known_);
      problems_.add(entry.where, "there is no key \"" + entry.key + "\"" + (near.empty() ? "" : "; did you mean \"" + near + "\"?"));
    }
  }

 private:
  const Yaml& map_;
  Problems& problems_;
  std::vector<std::string> known_;
};

// Options of a scorer as JSON; the scorer reads texts as numbers where it wants numbers.
OrderedJson json_of(const Yaml& node) {
  if (node.is_list()) {
    OrderedJson list = OrderedJson::array();
    for (const YamlPtr& item : node.items) list.push_back(json_of(*item));
    return list;
  }
  if (node.is_map()) {
    OrderedJson map = OrderedJson::object();
    for (const YamlEntry& entry : node.entries) map[entry.key] = json_of(*entry.value);
    return map;
  }
  return node.is_null() ? OrderedJson(nullptr) : OrderedJson(node.text);
}

TaskSource read_source(const Yaml& map, Problems& problems) {
  Keys keys(map, problems);
  TaskSource source;
  source.hub = keys.text("hub");
  source.configuration = keys.text("configuration");
  source.split = keys.text("split");
  source.files = keys.texts("files");
  source.header = keys.texts("header");
  source.plain_tsv = keys.flag("plain_tsv");
  for (const std::string& file : source.files) {
    const Path path(file);
    const bool climbs = std::find(path.begin(), path.end(), "..") != path.end();
    if (path.is_absolute() || climbs) problems.add(map.where, "files: \"" + file + "\" is to lie below the data folder");
  }
  if (source.plain_tsv && source.header.empty()) problems.add(map.where, "plain_tsv needs \"header\", the names of its columns");
  keys.refuse_unknown();
  return source;
}

// The scorer exists, and takes these options.
void check_scorer(const ScorerChoice& choice, const std::string& where, Problems& problems) {
  if (choice.name.empty()) return;
  const auto made = make_scorer(choice.name, choice.options);
  if (!made.ok()) problems.add(where, made.status().message());
}

ScorerChoice read_scorer(Keys& keys, const std::string& key, const Yaml& root, Problems& problems) {
  ScorerChoice choice{.name = keys.text(key), .options = OrderedJson::object()};
  if (const Yaml* options = keys.map(key + "_options")) choice.options = json_of(*options);
  check_scorer(choice, root.where, problems);
  return choice;
}

void read_columns(Keys& keys, Task& task, Problems& problems) {
  if (const Yaml* columns = keys.map("columns")) {
    for (const YamlEntry& entry : columns->entries) {
      const auto path = yaml_text(*entry.value);
      if (!path.ok()) problems.add(entry.where, "columns: " + path.status().message());
      if (path.ok()) task.columns.emplace_back(entry.key, *path);
    }
  }
  if (const Yaml* values = keys.map("values")) {
    for (const YamlEntry& entry : values->entries) {
      if (!entry.value->is_map()) {
        problems.add(entry.where, "values: a field's are a map of what stands there to words");
        continue;
      }
      for (const YamlEntry& value : entry.value->entries) {
        const auto word = yaml_text(*value.value);
        if (!word.ok()) problems.add(value.where, "values: " + word.status().message());
        if (word.ok()) task.values[entry.key][value.key] = *word;
      }
    }
  }
}

void read_few_shot(Keys& keys, Task& task, Problems& problems) {
  const Yaml* list = keys.find("few_shot");
  if (list == nullptr) return;
  if (!list->is_list()) {
    problems.add(list->where, "few_shot: expected a list of {prompt, completion}, found " + describe_yaml(*list));
    return;
  }
  for (const YamlPtr& item : list->items) {
    if (!item->is_map()) {
      problems.add(item->where, "few_shot: expected {prompt, completion}, found " + describe_yaml(*item));
      continue;
    }
    Keys pair(*item, problems);
    std::string prompt = pair.text("prompt", "an example has a prompt"), completion = pair.text("completion", "an example has a completion");
    pair.refuse_unknown();
    task.few_shot.emplace_back(std::move(prompt), std::move(completion));
  }
}

TaskChoices read_choices(Keys& keys, const Yaml& root, Problems& problems) {
  TaskChoices choices;
  const std::string ask = keys.text("ask");
  const bool known = ask.empty() || ask == "generate" || ask == "likelihood" || ask == "choose";
  if (!known) problems.add(root.where, "ask: \"" + ask + "\" is none of generate, likelihood, choose");
  if (ask == "likelihood") choices.ask = AskKind::kLikelihood;
  if (ask == "choose") choices.ask = AskKind::kChoose;
  choices.templates = keys.texts("choices");
  choices.from = keys.text("choices_from");
  choices.labels_from = keys.text("labels_from");
  if (keys.find("before_choice") != nullptr) choices.before = keys.text("before_choice");
  for (const std::string& text : choices.templates) problems.add(data::RowTemplate::parse(text, "choices").status().with_context(root.where));
  const bool has = !choices.templates.empty() || !choices.from.empty();
  if (choices.ask == AskKind::kGenerate && has) problems.add(root.where, "choices go with \"ask: likelihood\" or \"ask: choose\"");
  if (choices.ask != AskKind::kGenerate && choices.templates.empty() == choices.from.empty()) {
    problems.add(root.where, "ask: " + ask + " needs either \"choices\" (templates) or \"choices_from\" (the path of a list)");
  }
  return choices;
}

// Log-likelihoods are for the scorers that take them, texts for all others.
void check_takes(const Task& task, const ScorerChoice& choice, const std::string& where, Problems& problems) {
  const auto entry = find_scorer(choice.name);
  if (!entry.ok()) return;  // said elsewhere
  const bool likelihoods = (*entry)->takes == Takes::kLogLikelihoods;
  if (likelihoods == (task.choices.ask == AskKind::kLikelihood)) return;
  problems.add(where, likelihoods ? "scorer \"" + choice.name + "\" is for \"ask: likelihood\"" : "ask: likelihood goes with the scorers acc and acc_norm, not \"" + choice.name + "\"");
}

void read_paper(Keys& keys, Task& task, Problems& problems) {
  const Yaml* map = keys.map("paper");
  if (map == nullptr) return;
  Keys paper(*map, problems);
  task.paper.metric = paper.text("metric");
  if (const Yaml* scores = paper.map("scores")) {
    for (const YamlEntry& entry : scores->entries) {
      const auto score = yaml_number(*entry.value);
      if (!score.ok()) problems.add(entry.where, "scores: " + score.status().message());
      if (score.ok()) task.paper.scores[entry.key] = *score;
    }
  }
  paper.refuse_unknown();
}

std::string digest_of(const Task& task) {
  Sha256 sha;
  sha.add_text(task.prompt);
  sha.add_text(task.completion);
  for (const auto& [prompt, completion] : task.few_shot) {
    sha.add_text(prompt);
    sha.add_text(completion);
  }
  if (task.choices.ask != AskKind::kGenerate) {
    sha.add_u64(static_cast<uint64_t>(task.choices.ask));
    sha.add_text(task.choices.before);
    for (const std::string& choice : task.choices.templates) sha.add_text(choice);
  }
  return sha.hex();
}

}  // namespace

Result<Task> read_task(const Path& file) {
  ASSIGN_OR_RETURN(const YamlPtr root, read_yaml(file));
  if (!root->is_map()) return invalid_argument(root->where + ": a task is a map of keys, not " + describe_yaml(*root));
  Problems problems;
  Keys keys(*root, problems);
  Task task;
  task.file = file;
  task.name = keys.text("task", "the task's name");
  task.what = keys.text("what");
  task.type = keys.text("type");
  task.licence = keys.text("licence");
  if (const Yaml* source = keys.map("source")) task.source = read_source(*source, problems);
  read_columns(keys, task, problems);
  task.prompt = keys.text("prompt", "the template of what is asked");
  task.choices = read_choices(keys, *root, problems);
  // The answer of a row of choices is one of them.
  task.completion = keys.text("completion", task.choices.ask == AskKind::kGenerate ? "the template of the answer" : nullptr);
  problems.add(data::RowTemplate::parse(task.prompt, "prompt").status().with_context(root->where));
  problems.add(data::RowTemplate::parse(task.completion, "completion").status().with_context(root->where));
  read_few_shot(keys, task, problems);
  task.reference_from = keys.text("reference_from");
  if (keys.find("scorer") == nullptr) problems.add(root->where, "the key \"scorer\" is missing: how an answer counts");
  task.scorer = read_scorer(keys, "scorer", *root, problems);
  ScorerChoice honest = read_scorer(keys, "honest", *root, problems);
  if (!honest.name.empty()) task.honest = std::move(honest);
  check_takes(task, task.scorer, root->where, problems);
  if (task.honest) check_takes(task, *task.honest, root->where, problems);
  if (task.choices.ask != AskKind::kGenerate && task.reference_from.empty() && task.completion.empty()) {
    problems.add(root->where, "which choice is right is missing: \"reference_from\" (its place, label or text) or \"completion\" (its text)");
  }
  task.max_tokens = static_cast<int>(std::min<int64_t>(keys.integer("max_tokens", task.max_tokens, 1), 1 << 20));
  task.stop = keys.texts("stop");
  task.limit = keys.integer("limit", 0, 0);
  read_paper(keys, task, problems);
  keys.refuse_unknown();
  RETURN_IF_ERROR(problems.status());
  task.digest = digest_of(task);
  return task;
}

Result<std::vector<Task>> read_tasks(const Path& dir) {
  std::error_code error;
  std::vector<Path> files;
  for (const auto& entry : std::filesystem::directory_iterator(dir, error)) {
    if (entry.path().extension() == ".yaml") files.push_back(entry.path());
    if (files.size() > kTasksMax) return Status(Code::kTooLong, "\"" + dir.string() + "\" holds more than " + std::to_string(kTasksMax) + " tasks");
  }
  if (error) return not_found("the folder of tasks \"" + dir.string() + "\" can't be read: " + error.message());
  std::vector<Task> tasks;
  for (const Path& file : files) {
    ASSIGN_OR_RETURN(Task task, read_task(file));
    tasks.push_back(std::move(task));
  }
  std::sort(tasks.begin(), tasks.end(), [](const Task& a, const Task& b) { return a.name < b.name; });
  for (size_t i = 1; i < tasks.size(); ++i) {
    if (tasks[i].name == tasks[i - 1].name) {
      return invalid_argument(tasks[i].file.string() + " and " + tasks[i - 1].file.string() + " both have the task \"" + tasks[i].name + "\"");
    }
  }
  return tasks;
}

}  // namespace umbel::eval
