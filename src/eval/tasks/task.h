// Task: one exam as a data file (YAML): where its rows come from, how a row becomes a prompt and a reference, how an answer is scored, and what the
// paper reports. docs/eval.md has the keys.
//
// Templates are kept byte for byte, trailing blanks and all; the digest says which ones they were. In a template {field} is a column, {{ and }} are
// braces, \n is a line break (data/row_template.h).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "data/row_template.h"
#include "eval/scorers/scorer.h"
#include "io/file.h"

namespace umbel::eval {

struct TaskSource {
  std::string hub, configuration, split;  // of the Hugging Face hub, or another address in `hub`
  std::vector<std::string> files;         // below the data folder; read one after another
  std::vector<std::string> header;        // names of the columns, where the file has none
  bool plain_tsv = false;                 // parted by tabs, quotes mean nothing
};

struct TaskPaper {
  std::string metric;
  std::map<std::string, double> scores;  // by model's name
};

// How a row is asked.
enum class AskKind : uint8_t {
  kGenerate,    // the answer is what the model writes
  kLikelihood,  // the answer is how likely the model finds each of the row's choices
  kChoose,      // the answer is what the model writes, greedily, where only the row's choices can be written
};

// Where a row's choices come from: templates of the task, or a list in the row. Between prompt and choice stands `before`.
struct TaskChoices {
  AskKind ask = AskKind::kGenerate;
  std::vector<std::string> templates;
  std::string from;         // path of a list of texts
  std::string labels_from;  // path of a list of as many labels, which the reference may name
  std::string before = " ";
};

struct ScorerChoice {
  std::string name;
  OrderedJson options;
};

struct Task {
  std::string name, what, type, licence;
  TaskSource source;
  std::vector<std::pair<std::string, std::string>> columns;            // field -> path in the row ("answers.text.0")
  std::map<std::string, std::map<std::string, std::string>> values;    // field -> a value as it stands there -> the word that it becomes
  std::string prompt, completion;                                      // templates
  std::vector<std::pair<std::string, std::string>> few_shot;           // as they are, in front of every prompt
  std::string reference_from;                                          // path of the reference; "" = the completion, "." = the whole row
  TaskChoices choices;
  ScorerChoice scorer;
  std::optional<ScorerChoice> honest;                                  // a second one, beside a paper's
  int max_tokens = 64;
  std::vector<std::string> stop;
  int64_t limit = 0;                                                   // rows; 0 = all
  TaskPaper paper;
  std::string digest;                                                  // SHA-256 of templates and few-shot rows
  Path file;
};

// All that is wrong with the file at once, by line: unknown keys (with the one that was probably meant), missing ones, templates with stray braces,
// scorers that are not there or have no such option.
Result<Task> read_task(const Path& file);
// Every *.yaml of a folder, by name. Two tasks of one name are an error.
Result<std::vector<Task>> read_tasks(const Path& dir);

// Folder of the data: $UMBEL_DATA, or "". A task is at hand when all of its files are there.
Path data_folder();
bool is_at_hand(const Task& task, const Path& data);

struct TaskRow {
  std::string prompt, completion;
  OrderedJson reference;              // kLikelihood: the place of the right choice, kChoose: its text
  std::vector<std::string> choices;   // without what stands before them
  OrderedJson fields;  // the row, with the fields of `columns` beside its own
  std::string place;
};

// The first `limit` rows (0 = the task's own limit). kNotFound, saying where the data comes from, when it is not at hand; errors name file and line.
Result<std::vector<TaskRow>> read_task_rows(const Task& task, const Path& data, int64_t limit);

// Fills row.choices, and makes of row.reference what the kind wants. REQUIRES a task that has choices. kInvalidArgument names the key.
Status add_choices(const Task& task, TaskRow& row);

// A value of a row by its path: names and indices parted by dots; null when there is none.
const OrderedJson* value_at(const OrderedJson& row, const std::string& path);

}  // namespace umbel::eval
