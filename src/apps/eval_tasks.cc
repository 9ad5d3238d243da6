// umbel eval tasks: which exams there are, and whether their data is at hand.
#include <algorithm>
#include <cstdio>
#include <iostream>

#include "apps/base_model.h"
#include "apps/eval.h"
#include "apps/exit.h"
#include "apps/table.h"
#include "base/nearest.h"
#include "eval/land/study.h"

namespace umbel::apps {
namespace {

struct Flags {
  std::string dir, data;
  bool json = false;
};

Result<Path> task_folder(const std::string& dir) {
  if (!dir.empty()) return Path(dir);
  ASSIGN_OR_RETURN(const Path assets, find_assets());
  return assets / "exams";
}

// What LoRA Land reports of the task of this name: model -> [base, fine-tuned]; null when it is not one of the paper's.
Result<OrderedJson> paper_figures(const std::string& name) {
  ASSIGN_OR_RETURN(const Path assets, find_assets());
  ASSIGN_OR_RETURN(const eval::Study study, eval::read_study(assets / "land"));
  for (const eval::StudyTask& task : study.tasks) {
    if (task.name != name) continue;
    OrderedJson figures = {{"gpt_3_5", task.gpt_3_5}, {"gpt_4", task.gpt_4}};
    for (size_t i = 0; i < study.models.size(); ++i) figures[study.models[i]] = {{"base", task.base[i]}, {"fine_tuned", task.fine_tuned[i]}};
    return figures;
  }
  return OrderedJson(nullptr);
}

Result<OrderedJson> task_json(const eval::Task& task, bool at_hand) {
  OrderedJson json = {{"task", task.name}, {"what", task.what}, {"type", task.type}, {"licence", task.licence}, {"scorer", task.scorer.name},
                      {"honest", task.honest ? OrderedJson(task.honest->name) : OrderedJson(nullptr)}, {"max_tokens", task.max_tokens}, {"limit", task.limit},
                      {"hub", task.source.hub}, {"configuration", task.source.configuration}, {"split", task.source.split}, {"files", task.source.files},
                      {"at_hand", at_hand}, {"digest", task.digest}, {"file", task.file.string()}};
  ASSIGN_OR_RETURN(const OrderedJson paper, paper_figures(task.name));
  json["paper"] = {{"metric", task.paper.metric}, {"scores", task.paper.scores}, {"lora_land", paper}};
  return json;
}

Status run_tasks(const Flags& flags) {
  ASSIGN_OR_RETURN(const Path dir, task_folder(flags.dir));
  ASSIGN_OR_RETURN(const auto tasks, eval::read_tasks(dir));
  const Path data = flags.data.empty() ? eval::data_folder() : Path(flags.data);
  OrderedJson list = OrderedJson::array();
  Table table({"task", "type", "scorer", "honest", "data", "from"});
  size_t there = 0;
  for (const eval::Task& task : tasks) {
    const bool at_hand = eval::is_at_hand(task, data);
    there += at_hand ? 1 : 0;
    if (flags.json) {
      ASSIGN_OR_RETURN(OrderedJson json, task_json(task, at_hand));
      list.push_back(std::move(json));
    }
    std::string files;
    for (const std::string& file : task.source.files) files += (files.empty() ? "" : " ") + file;
    table.add({task.name, task.type, task.scorer.name, task.honest ? task.honest->name : "", at_hand ? "at hand" : files.empty() ? "name its files" : "put " + files, task.source.hub});
  }
  if (flags.json) {
    std::cout << list.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) << "\n";
    return ok_status();
  }
  std::cout << table.text() << "\n" << there << " of " << tasks.size() << " tasks have their data " << (data.empty() ? "(no data folder: --data-dir, or $UMBEL_DATA)" : "below " + data.string()) << "\n";
  return ok_status();
}

}  // namespace

Result<std::vector<eval::Task>> choose_tasks(const std::vector<std::string>& names, const std::string& dir) {
  ASSIGN_OR_RETURN(const Path folder, task_folder(dir));
  std::vector<eval::Task> chosen, known;
  std::vector<std::string> known_names;
  for (const std::string& name : names) {
    if (Path(name).extension() == ".yaml") {  // a user's own
      ASSIGN_OR_RETURN(eval::Task task, eval::read_task(name));
      chosen.push_back(std::move(task));
      continue;
    }
    if (known.empty()) {
      ASSIGN_OR_RETURN(known, eval::read_tasks(folder));
      for (const eval::Task& task : known) known_names.push_back(task.name);
    }
    const auto found = std::find(known_names.begin(), known_names.end(), name);
    if (found == known_names.end()) {
      const std::string near = nearest_name(name, known_names);
      return not_found("there is no task \"" + name + "\"" + (near.empty() ? "; \"umbel eval tasks\" lists them, and NAME.yaml is a file of one's own" : "; did you mean \"" + near + "\"?"));
    }
    chosen.push_back(known[static_cast<size_t>(found - known_names.begin())]);
  }
  std::vector<std::string> seen;
  for (const eval::Task& task : chosen) {
    if (std::find(seen.begin(), seen.end(), task.name) != seen.end()) return invalid_argument("--tasks names \"" + task.name + "\" twice");
    seen.push_back(task.name);
  }
  return chosen;
}

void add_eval_tasks(CLI::App& verb, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* tasks = verb.add_subcommand("tasks", "list the tasks, and whether their data is at hand");
  tasks->add_option("--task-dir", flags->dir, "folder of task files (default: those that come along)");
  tasks->add_option("--data-dir", flags->data, "folder of the data (default: $UMBEL_DATA)");
  tasks->add_flag("--json", flags->json, "JSON for machines");
  tasks->callback([flags, &run] { run = [flags] { return finish(run_tasks(*flags)); }; });
}

}  // namespace umbel::apps
