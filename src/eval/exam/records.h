// Records: an exam's answers, row by row, in one SQLite file that others can query. docs/eval.md has the schema.
//
// Every answer is in the file once put() returns: a process killed at any moment (kill -9) loses only what was still running, and the next one goes
// on from there. A machine that loses its power may lose the last answers, never the file. One process at a time.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/file.h"

struct sqlite3;
struct sqlite3_stmt;

namespace umbel::eval {

inline constexpr int kRecordsVersion = 1;
inline constexpr const char* kResultsName = "results";  // in about(): what exam_results() found last, as JSON

struct AnswerRecord {
  int64_t row = 0;
  std::string answer, finish;
  int64_t prompt_tokens = 0, answer_tokens = 0;
  bool cut = false;  // the prompt did not fit and lost its beginning
  double first_token_s = 0, total_s = 0;
};

// What an exam's answers depend on; answers of another one are never mixed with them.
struct ExamKey {
  std::string task, adapter;                       // adapter "" = the base
  std::string task_digest, rows_digest, adapter_digest;
};

// Which rows to look at.
struct ShowQuery {
  std::string task;                    // "" = all
  std::optional<std::string> adapter;  // "" = the base; absent = all
  std::optional<std::string> other;    // with adapter: only the rows that the two answer differently, those with the largest difference of scores first
  bool worst_first = false;            // lowest scores first, else in order
  int64_t limit = 20;
};
struct ShownRow {
  std::string task, adapter, prompt, reference, answer, finish, other_answer;
  int64_t row = 0;
  std::optional<double> score, other_score;  // absent until the exam is over
};

// One thread.
class Records {
 public:
  // The file is made when it is not there; an empty path keeps all in memory. One line each: a file that is no database, or not ours, or of another
  // version, or in use by another process.
  static Result<std::unique_ptr<Records>> open(const Path& file);
  virtual ~Records() = default;

  // What holds for the whole file (base, arithmetic): kept at the first call, compared at later ones. kFailedPrecondition when it differs.
  virtual Status agree(const std::string& name, const std::string& value) = 0;
  // Replaced at every call.
  virtual Status put_about(const std::string& name, const std::string& value) = 0;
  // "" when there is none.
  virtual Result<std::string> about(const std::string& name) = 0;
  // As agree(), for one task with one adapter. Gives the rows that have an answer.
  virtual Result<std::set<int64_t>> enter(const ExamKey& key) = 0;
  virtual Status put_question(const std::string& task, int64_t row, const std::string& prompt, const std::string& reference) = 0;
  virtual Status put(const std::string& task, const std::string& adapter, const AnswerRecord& record) = 0;
  // In the order of the rows.
  virtual Result<std::vector<AnswerRecord>> answers(const std::string& task, const std::string& adapter) = 0;
  virtual Result<std::vector<ShownRow>> show(const ShowQuery& query) = 0;
  // scores: one a row, as answers() gives them.
  virtual Status put_scores(const std::string& task, const std::string& adapter, const std::vector<double>& scores) = 0;
};

}  // namespace umbel::eval
