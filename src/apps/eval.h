// The parts of "umbel eval", one file each.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apps/verb.h"
#include "apps/workshop.h"
#include "base/status.h"
#include "eval/exam/records.h"
#include "eval/tasks/task.h"
#include "io/json.h"

namespace umbel::apps {

void add_eval_score(CLI::App& verb, Run& run);
void add_eval_tasks(CLI::App& verb, Run& run);
void add_eval_show(CLI::App& verb, Run& run);
void add_eval_report(CLI::App& verb, Run& run);

// --option NAME=VALUE ... as a map.
Result<OrderedJson> scorer_options(const std::vector<std::string>& flags);

// Tasks by name, or by a file's (NAME.yaml). dir: folder of task files, "" = those that come along.
Result<std::vector<eval::Task>> choose_tasks(const std::vector<std::string>& names, const std::string& dir);

// What an exam's folder holds its answers in.
inline constexpr const char* kExamFile = "exam.sqlite";

// Of a folder that --out named; kNotFound when there is no exam.
Result<std::unique_ptr<eval::Records>> open_exam_records(const std::string& dir);

struct ExamFlags {
  ModelFlags model;
  EngineFlags engine;
  std::vector<std::string> adapters;  // empty = all of --adapters
  std::vector<std::string> tasks;
  std::string task_dir, data_dir;
  std::string data, scorer, format = "auto", prompt_template, completion_template;
  std::vector<std::string> options, stop;
  int max_tokens = 64;
  int64_t limit = 0;
  std::string out;
  bool json = false;
};
Status run_exam(const ExamFlags& flags);

}  // namespace umbel::apps
