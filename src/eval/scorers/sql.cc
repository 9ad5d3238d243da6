#include "eval/scorers/sql.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "eval/text/python_text.h"

namespace umbel::eval {
namespace {

constexpr int kStepsPerLook = 1000;

struct Closer {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Database = std::unique_ptr<sqlite3, Closer>;
using Statement = std::unique_ptr<sqlite3_stmt, Closer>;

// Authorizers, as SQLite calls them: action, then up to four names.
using Authorizer = int (*)(void*, int, const char*, const char*, const char*, const char*);

const Authorizer kReading = [](void* /*context*/, int action, auto... /*names*/) {
  return action == SQLITE_SELECT || action == SQLITE_READ || action == SQLITE_FUNCTION || action == SQLITE_RECURSIVE ? SQLITE_OK : SQLITE_DENY;
};

// A set-up script makes tables and fills them; it reaches no file and no code.
const Authorizer kMaking = [](void* /*context*/, int action, auto... names) {
  if (action == SQLITE_ATTACH || action == SQLITE_DETACH || action == SQLITE_PRAGMA || action == SQLITE_CREATE_VTABLE) return SQLITE_DENY;
  const std::array<const char*, sizeof...(names)> list = {names...};
  return action == SQLITE_FUNCTION && list[1] != nullptr && std::string_view(list[1]) == "load_extension" ? SQLITE_DENY : SQLITE_OK;
};

// Counts down what a query may still do.
struct Budget {
  int64_t looks = kSqlStepsMax / kStepsPerLook;
};
int look(void* budget) { return --static_cast<Budget*>(budget)->looks < 0 ? 1 : 0; }

Result<Database> open_database(const std::string& setup) {
  sqlite3_hard_heap_limit64(kSqlHeapBytesMax);
  sqlite3* opened = nullptr;
  const int failed = sqlite3_open_v2(":memory:", &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY, nullptr);
  Database database(opened);
  if (failed != SQLITE_OK) return Status(Code::kOutOfMemory, "SQLite has no room for a database");
  sqlite3_db_config(opened, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, nullptr);
  sqlite3_db_config(opened, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_limit(opened, SQLITE_LIMIT_ATTACHED, 0);
  sqlite3_set_authorizer(opened, kMaking, nullptr);
  Budget budget;
  sqlite3_progress_handler(opened, kStepsPerLook, look, &budget);
  char* message = nullptr;
  const int made = sqlite3_exec(opened, setup.c_str(), nullptr, nullptr, &message);
  std::string why = message != nullptr ? message : "";
  sqlite3_free(message);
  sqlite3_progress_handler(opened, 0, nullptr, nullptr);
  if (made != SQLITE_OK) return invalid_argument("field \"setup\" does not make a database: " + why);
  sqlite3_limit(opened, SQLITE_LIMIT_LENGTH, kSqlValueBytesMax);
  sqlite3_set_authorizer(opened, kReading, nullptr);
  return database;
}

std::string value_text(sqlite3_stmt* statement, int column) {
  const auto text = [&](const char* kind) {
    const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement, column));
    const auto size = static_cast<size_t>(sqlite3_column_bytes(statement, column));
    return kind + (bytes == nullptr ? std::string() : std::string(bytes, size));
  };
  switch (sqlite3_column_type(statement, column)) {
    case SQLITE_NULL: return "-";
    case SQLITE_INTEGER: return "n" + std::to_string(sqlite3_column_int64(statement, column));
    case SQLITE_FLOAT: {
      const double value = sqlite3_column_double(statement, column);
      if (value == std::floor(value) && std::fabs(value) < 9e15) return "n" + std::to_string(static_cast<int64_t>(value));
      return "r" + python_repr(value);
    }
    case SQLITE_BLOB: return text("b");
    default: return text("t");
  }
}

// One row as a text that tells values apart: every value with its length.
using Table = std::vector<std::string>;

// The result, or why there is none.
Result<Table> rows_of(sqlite3* database, const std::string& query) {
  Budget budget;
  sqlite3_progress_handler(database, kStepsPerLook, look, &budget);
  sqlite3_stmt* prepared = nullptr;
  const char* rest = nullptr;
  if (query.size() > static_cast<size_t>(kSqlValueBytesMax)) return Status(Code::kTooLong, "the query is too long");
  const int bad = sqlite3_prepare_v2(database, query.c_str(), static_cast<int>(query.size()), &prepared, &rest);
  const Statement statement(prepared);
  if (bad != SQLITE_OK) return invalid_argument(sqlite3_errmsg(database));
  if (prepared == nullptr || sqlite3_stmt_readonly(prepared) == 0) return invalid_argument("it is no query");
  if (!strip_any(rest, " \t\r\n;").empty()) return invalid_argument("it is more than one query");
  Table table;
  size_t bytes = 0;
  const int columns = sqlite3_column_count(prepared);
  int step = SQLITE_ROW;
  while ((step = sqlite3_step(prepared)) == SQLITE_ROW) {
    std::string row = std::to_string(columns);
    for (int column = 0; column < columns; ++column) {
      const std::string value = value_text(prepared, column);
      row += "," + std::to_string(value.size()) + ":" + value;
    }
    bytes += row.size();
    if (table.size() == kSqlRowsMax || bytes > kSqlResultBytesMax) return Status(Code::kTooLong, "its result is too long");
    table.push_back(std::move(row));
  }
  if (step == SQLITE_INTERRUPT) return Status(Code::kDeadlineExceeded, "it needs too many steps");
  if (step != SQLITE_DONE) return invalid_argument(sqlite3_errmsg(database));
  return table;
}

// ORDER BY outside of brackets and quotes.
bool is_ordered(const std::string& query) {
  std::string outside;
  int depth = 0;
  char quote = 0;
  for (const char c : query) {
    if (quote != 0) {
      if (c == quote) quote = 0;
      continue;
    }
    if (c == '\'' || c == '"' || c == '`') quote = c;
    if (c == '(') ++depth;
    if (c == ')') --depth;
    if (depth == 0) outside += c;
  }
  std::string_view before;
  const std::string lower = lower_case(outside);
  for (const std::string_view word : split_blanks(lower)) {
    if (before == "order" && word == "by") return true;
    before = word;
  }
  return false;
}

// Without a code fence ("```sql") around it.
std::string query_of(const std::string& answer) {
  std::string_view text = strip_blanks(answer);
  if (text.substr(0, 3) == "```") {
    const size_t line = text.find('\n');
    text = line == std::string_view::npos ? text.substr(3) : text.substr(line + 1);
    const size_t end = text.find("```");
    if (end != std::string_view::npos) text = text.substr(0, end);
  }
  return std::string(strip_blanks(text));
}

class SqlScorer final : public RowScorer {
 public:
  explicit SqlScorer(std::string setup) : setup_(std::move(setup)) {}

 protected:
  Result<double> score_row(const ScoredRow& row) const override {
    const auto own = row.fields.find("setup");
    const std::string setup = own == row.fields.end() || own->is_null() ? setup_ : python_str(*own);
    if (setup.empty()) return invalid_argument("field \"setup\" (the SQL that makes the database) is missing");
    ASSIGN_OR_RETURN(const Database database, open_database(setup));
    ASSIGN_OR_RETURN(const auto references, references_of(row));
    const auto answered = rows_of(database.get(), query_of(python_str(row.prediction)));
    for (const std::string& reference : references) {
      auto wanted = rows_of(database.get(), reference);
      if (!wanted.ok()) return wanted.status().with_context("the reference's query");
      if (answered.ok() && same(*answered, *std::move(wanted), is_ordered(reference))) return 1.0;
    }
    return 0.0;
  }

 private:
  static bool same(Table a, Table b, bool ordered) {
    if (a.size() != b.size()) return false;
    if (!ordered) {
      std::sort(a.begin(), a.end());
      std::sort(b.begin(), b.end());
    }
    return a == b;
  }

  std::string setup_;
};

}  // namespace

std::unique_ptr<Scorer> sql_scorer(Options& options) { return std::make_unique<SqlScorer>(options.text("setup", "")); }

}  // namespace umbel::eval
