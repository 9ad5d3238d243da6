#include "eval/exam/records.h"

#include <sqlite3.h>

#include <variant>

namespace umbel::eval {
namespace {

constexpr int kApplicationId = 0x756d6265;  // "umbe"

constexpr const char* kSchema = R"(
CREATE TABLE about(name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE exam(task TEXT NOT NULL, adapter TEXT NOT NULL, task_digest TEXT NOT NULL, rows_digest TEXT NOT NULL, adapter_digest TEXT NOT NULL,
                  PRIMARY KEY(task, adapter));
CREATE TABLE question(task TEXT NOT NULL, row INTEGER NOT NULL, prompt TEXT NOT NULL, reference TEXT NOT NULL, PRIMARY KEY(task, row)) WITHOUT ROWID;
CREATE TABLE answer(task TEXT NOT NULL, adapter TEXT NOT NULL, row INTEGER NOT NULL, answer TEXT NOT NULL, finish TEXT NOT NULL,
                    prompt_tokens INTEGER NOT NULL, answer_tokens INTEGER NOT NULL, cut INTEGER NOT NULL, first_token_s REAL NOT NULL,
                    total_s REAL NOT NULL, score REAL, PRIMARY KEY(task, adapter, row)) WITHOUT ROWID;
)";

struct Closer {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, Closer>;
using Value = std::variant<int64_t, double, std::string>;

class SqliteRecords final : public Records {
 public:
  SqliteRecords(std::unique_ptr<sqlite3, Closer> database, Path file) : database_(std::move(database)), file_(std::move(file)) {}

  Status prepare() {
    RETURN_IF_ERROR(run("PRAGMA locking_mode = EXCLUSIVE"));
    RETURN_IF_ERROR(run("PRAGMA journal_mode = WAL"));
    RETURN_IF_ERROR(run("PRAGMA synchronous = NORMAL"));
    RETURN_IF_ERROR(run("BEGIN IMMEDIATE"));
    ASSIGN_OR_RETURN(const int64_t tables, number("SELECT count(*) FROM sqlite_schema"));
    ASSIGN_OR_RETURN(const int64_t id, number("PRAGMA application_id"));
    ASSIGN_OR_RETURN(const int64_t version, number("PRAGMA user_version"));
    if (tables == 0 && id == 0) {
      RETURN_IF_ERROR(run("PRAGMA application_id = " + std::to_string(kApplicationId)));
      RETURN_IF_ERROR(run("PRAGMA user_version = " + std::to_string(kRecordsVersion)));
      RETURN_IF_ERROR(run(kSchema));
    } else if (id != kApplicationId) {
      return failed_precondition(name() + " is a database of something else; name another folder");
    } else if (version != kRecordsVersion) {
      return failed_precondition(name() + " is an exam of version " + std::to_string(version) + ", this program reads version " +
                                 std::to_string(kRecordsVersion) + "; name another folder");
    }
    return run("COMMIT");
  }

  Status agree(const std::string& key, const std::string& value) override {
    RETURN_IF_ERROR(change("INSERT OR IGNORE INTO about(name, value) VALUES (?, ?)", {key, value}));
    ASSIGN_OR_RETURN(const std::string there, text("SELECT value FROM about WHERE name = ?", {key}));
    if (there == value) return ok_status();
    return failed_precondition(name() + " was begun with " + key + " " + there + ", not " + value + "; name another folder");
  }

  Status put_about(const std::string& key, const std::string& value) override { return change("INSERT OR REPLACE INTO about(name, value) VALUES (?, ?)", {key, value}); }

  Result<std::string> about(const std::string& key) override { return text("SELECT coalesce((SELECT value FROM about WHERE name = ?), '')", {key}); }

  Result<std::set<int64_t>> enter(const ExamKey& key) override {
    RETURN_IF_ERROR(change("INSERT OR IGNORE INTO exam VALUES (?, ?, ?, ?, ?)", {key.task, key.adapter, key.task_digest, key.rows_digest, key.adapter_digest}));
    const struct {
      const char* column;
      const std::string& value;
      const char* what;
    } kParts[] = {{"task_digest", key.task_digest, "templates"}, {"rows_digest", key.rows_digest, "rows (or --limit)"}, {"adapter_digest", key.adapter_digest, "files"}};
    for (const auto& part : kParts) {
      ASSIGN_OR_RETURN(const std::string there, text(std::string("SELECT ") + part.column + " FROM exam WHERE task = ? AND adapter = ?", {key.task, key.adapter}));
      if (there == part.value) continue;
      const bool of_adapter = std::string_view(part.column) == "adapter_digest";
      return failed_precondition(name() + ": " + (of_adapter ? "adapter \"" + key.adapter : "task \"" + key.task) + "\" has other " + part.what +
                                 " than when this exam was begun; name another folder");
    }
    std::set<int64_t> rows;
    ASSIGN_OR_RETURN(const Statement statement, bound("SELECT row FROM answer WHERE task = ? AND adapter = ?", {key.task, key.adapter}));
    int step = 0;
    while ((step = sqlite3_step(statement.get())) == SQLITE_ROW) rows.insert(sqlite3_column_int64(statement.get(), 0));
    if (step != SQLITE_DONE) return failure();
    return rows;
  }

  Status put_question(const std::string& task, int64_t row, const std::string& prompt, const std::string& reference) override {
    return change("INSERT OR IGNORE INTO question VALUES (?, ?, ?, ?)", {task, row, prompt, reference});
  }

  Status put(const std::string& task, const std::string& adapter, const AnswerRecord& record) override {
    return change("INSERT INTO answer VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
                  {task, adapter, record.row, record.answer, record.finish, record.prompt_tokens, record.answer_tokens, int64_t{record.cut ? 1 : 0},
                   record.first_token_s, record.total_s});
  }

  Result<std::vector<AnswerRecord>> answers(const std::string& task, const std::string& adapter) override {
    ASSIGN_OR_RETURN(const Statement statement,
                     bound("SELECT row, answer, finish, prompt_tokens, answer_tokens, cut, first_token_s, total_s FROM answer WHERE task = ? AND adapter = ? ORDER BY row",
                           {task, adapter}));
    std::vector<AnswerRecord> records;
    int step = 0;
    while ((step = sqlite3_step(statement.get())) == SQLITE_ROW) {
      sqlite3_stmt* at = statement.get();
      records.push_back({.row = sqlite3_column_int64(at, 0), .answer = text_at(at, 1), .finish = text_at(at, 2), .prompt_tokens = sqlite3_column_int64(at, 3),
                         .answer_tokens = sqlite3_column_int64(at, 4), .cut = sqlite3_column_int64(at, 5) != 0, .first_token_s = sqlite3_column_double(at, 6),
                         .total_s = sqlite3_column_double(at, 7)});
    }
    if (step != SQLITE_DONE) return failure();
    return records;
  }

  Result<std::vector<ShownRow>> show(const ShowQuery& query) override {
    std::string sql = "SELECT a.task, a.adapter, a.row, q.prompt, q.reference, a.answer, a.finish, a.score";
    std::vector<Value> values = {query.task};
    sql += query.other ? ", b.answer, b.score" : ", '', NULL";
    sql += " FROM answer a JOIN question q USING (task, row)";
    if (query.other) sql += " JOIN answer b ON b.task = a.task AND b.row = a.row";
    sql += " WHERE (?1 = '' OR a.task = ?1)";
    if (query.adapter) {
      values.emplace_back(*query.adapter);
      sql += " AND a.adapter = ?" + std::to_string(values.size());
    }
    if (query.other) {
      values.emplace_back(*query.other);
      sql += " AND b.adapter = ?" + std::to_string(values.size()) + " AND a.answer <> b.answer";
    }
    sql += query.other ? " ORDER BY abs(a.score - b.score) DESC," : query.worst_first ? " ORDER BY a.score," : " ORDER BY";
    values.emplace_back(query.limit);
    sql += " a.task, a.row, a.adapter LIMIT ?" + std::to_string(values.size());
    ASSIGN_OR_RETURN(const Statement statement, bound(sql, values));
    std::vector<ShownRow> rows;
    int step = 0;
    while ((step = sqlite3_step(statement.get())) == SQLITE_ROW) {
      sqlite3_stmt* at = statement.get();
      rows.push_back({.task = text_at(at, 0), .adapter = text_at(at, 1), .prompt = text_at(at, 3), .reference = text_at(at, 4), .answer = text_at(at, 5),
                      .finish = text_at(at, 6), .other_answer = text_at(at, 8), .row = sqlite3_column_int64(at, 2), .score = score_at(at, 7), .other_score = score_at(at, 9)});
    }
    if (step != SQLITE_DONE) return failure();
    return rows;
  }

  Status put_scores(const std::string& task, const std::string& adapter, const std::vector<double>& scores) override {
    ASSIGN_OR_RETURN(const auto records, answers(task, adapter));
    RETURN_IF_ERROR(run("BEGIN"));
    for (size_t i = 0; i < std::min(records.size(), scores.size()); ++i) {
      RETURN_IF_ERROR(change("UPDATE answer SET score = ? WHERE task = ? AND adapter = ? AND row = ?", {scores[i], task, adapter, records[i].row}));
    }
    return run("COMMIT");
  }

 private:
  std::string name() const { return file_.empty() ? "the exam" : "\"" + file_.string() + "\""; }

  Status failure() const {
    const int error = sqlite3_errcode(database_.get());
    if (error == SQLITE_BUSY || error == SQLITE_LOCKED) return failed_precondition(name() + " is in use by another process");
    if (error == SQLITE_NOTADB || error == SQLITE_CORRUPT) return data_loss(name() + " is no exam's database, or it is damaged (" + sqlite3_errmsg(database_.get()) + ")");
    return Status(error == SQLITE_FULL || error == SQLITE_IOERR ? Code::kUnavailable : Code::kInternal, name() + ": " + sqlite3_errmsg(database_.get()));
  }

  Status run(const std::string& sql) { return sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK ? ok_status() : failure(); }

  Result<Statement> bound(const std::string& sql, const std::vector<Value>& values) {
    sqlite3_stmt* prepared = nullptr;
    if (sqlite3_prepare_v2(database_.get(), sql.c_str(), -1, &prepared, nullptr) != SQLITE_OK) return failure();
    Statement statement(prepared);
    for (size_t i = 0; i < values.size(); ++i) {
      const int place = static_cast<int>(i) + 1;
      int failed = SQLITE_OK;
      if (const auto* whole = std::get_if<int64_t>(&values[i])) failed = sqlite3_bind_int64(prepared, place, *whole);
      if (const auto* real = std::get_if<double>(&values[i])) failed = sqlite3_bind_double(prepared, place, *real);
      if (const auto* words = std::get_if<std::string>(&values[i])) {
        failed = sqlite3_bind_text64(prepared, place, words->data(), words->size(), SQLITE_TRANSIENT, SQLITE_UTF8);
      }
      if (failed != SQLITE_OK) return failure();
    }
    return statement;
  }

  Status change(const std::string& sql, const std::vector<Value>& values) {
    ASSIGN_OR_RETURN(const Statement statement, bound(sql, values));
    return sqlite3_step(statement.get()) == SQLITE_DONE ? ok_status() : failure();
  }

  static std::string text_at(sqlite3_stmt* statement, int column) {
    const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
    return bytes == nullptr ? "" : std::string(bytes, static_cast<size_t>(sqlite3_column_bytes(statement, column)));
  }

  static std::optional<double> score_at(sqlite3_stmt* statement, int column) {
    if (sqlite3_column_type(statement, column) == SQLITE_NULL) return std::nullopt;
    return sqlite3_column_double(statement, column);
  }

  Result<std::string> text(const std::string& sql, const std::vector<Value>& values) {
    ASSIGN_OR_RETURN(const Statement statement, bound(sql, values));
    if (sqlite3_step(statement.get()) != SQLITE_ROW) return failure();
    return text_at(statement.get(), 0);
  }

  Result<int64_t> number(const std::string& sql) {
    ASSIGN_OR_RETURN(const Statement statement, bound(sql, {}));
    if (sqlite3_step(statement.get()) != SQLITE_ROW) return failure();
    return sqlite3_column_int64(statement.get(), 0);
  }

  std::unique_ptr<sqlite3, Closer> database_;
  Path file_;
};

}  // namespace

Result<std::unique_ptr<Records>> Records::open(const Path& file) {
  sqlite3* opened = nullptr;
  const int failed = sqlite3_open_v2(file.empty() ? ":memory:" : file.c_str(), &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  auto records = std::make_unique<SqliteRecords>(std::unique_ptr<sqlite3, Closer>(opened), file);
  if (failed != SQLITE_OK) return Status(Code::kUnavailable, "\"" + file.string() + "\" can't be opened: " + sqlite3_errstr(failed));
  RETURN_IF_ERROR(records->prepare());
  return std::unique_ptr<Records>(std::move(records));
}

}  // namespace umbel::eval
