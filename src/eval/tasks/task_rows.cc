// A task's rows: its data file to prompts and references.
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <functional>

#include "data/dataset_folder.h"
#include "data/row_source.h"
#include "eval/tasks/task.h"
#include "eval/text/python_text.h"
#include "io/byte_stream.h"
#include "io/csv.h"

namespace umbel::eval {
namespace {

using TakeRow = std::function<Status(const OrderedJson& row, int64_t line)>;

// Lines parted by tabs, under the names of the header.
Status each_plain_row(const Path& file, const TaskSource& source, size_t rows_max, const TakeRow& take) {
  ASSIGN_OR_RETURN(LineReader lines, LineReader::open(file));
  std::string line;
  size_t rows = 0;
  while (rows < rows_max) {
    ASSIGN_OR_RETURN(const bool more, lines.next(line));
    if (!more) break;
    if (line.empty() || line == "\r") continue;
    const std::string where = file.string() + ":" + std::to_string(lines.line());
    if (!is_utf8(line)) return invalid_argument(where + ": it is not UTF-8");
    OrderedJson row = OrderedJson::object();
    std::string_view rest = line;
    if (rest.back() == '\r') rest.remove_suffix(1);
    for (const std::string& name : source.header) {
      const size_t end = std::min(rest.find('\t'), rest.size());
      row[name] = std::string(rest.substr(0, end));
      if (end == rest.size() && &name != &source.header.back()) {
        return invalid_argument(where + ": it has fewer columns than the header's " + std::to_string(source.header.size()));
      }
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    RETURN_IF_ERROR(take(row, lines.line()).with_context(where));
    ++rows;
  }
  return ok_status();
}

// A CSV or TSV whose file has no header of its own.
Status each_headed_row(const Path& file, const TaskSource& source, size_t rows_max, const TakeRow& take) {
  ASSIGN_OR_RETURN(LineReader lines, LineReader::open(file));
  CsvReader reader(std::move(lines), file.string().find(".tsv") != std::string::npos ? '\t' : ',');
  CsvRecord record;
  for (size_t rows = 0; rows < rows_max; ++rows) {
    ASSIGN_OR_RETURN(const bool more, reader.next(record));
    if (!more) break;
    const std::string where = file.string() + ":" + std::to_string(record.line);
    if (!record.problem.empty()) return invalid_argument(where + ": " + record.problem);
    if (record.fields.size() != source.header.size()) {
      return invalid_argument(where + ": it has " + std::to_string(record.fields.size()) + " columns, the task's header has " + std::to_string(source.header.size()));
    }
    OrderedJson row = OrderedJson::object();
    for (size_t i = 0; i < source.header.size(); ++i) {
      if (!is_utf8(record.fields[i])) return invalid_argument(where + ": it is not UTF-8");
      row[source.header[i]] = record.fields[i];
    }
    RETURN_IF_ERROR(take(row, record.line).with_context(where));
  }
  return ok_status();
}

// By what the source says of its files.
Status each_row(const Path& file, const TaskSource& source, size_t rows_max, const TakeRow& take) {
  if (source.plain_tsv) return each_plain_row(file, source, rows_max, take);
  if (!source.header.empty()) return each_headed_row(file, source, rows_max, take);
  std::error_code ignored;
  const bool folder = std::filesystem::is_directory(file, ignored);
  const Path name = folder ? data::folder_split_name({.folder = file, .configuration = source.configuration, .split = source.split}) : file;
  return data::each_object(name, {.rows_max = rows_max}, take);
}

// The fields of `columns` beside the row's own, values as words.
Result<OrderedJson> fields_of(const Task& task, const OrderedJson& row) {
  OrderedJson fields = row;
  for (const auto& [field, path] : task.columns) {
    const OrderedJson* value = value_at(row, path);
    if (value == nullptr) return invalid_argument("there is no column \"" + path + "\" (field \"" + field + "\")");
    fields[field] = *value;
  }
  for (const auto& [field, words] : task.values) {
    const auto found = fields.find(field);
    if (found == fields.end()) return invalid_argument("there is no field \"" + field + "\"");
    const std::string value = found->is_string() ? found->get<std::string>() : found->dump();
    const auto word = words.find(value);
    if (word == words.end()) return invalid_argument("field \"" + field + "\" is \"" + value + "\", which \"values\" does not have");
    fields[field] = word->second;
  }
  return fields;
}

struct Templates {
  data::RowTemplate prompt, completion;
  std::string before;  // the few-shot rows
};

Result<TaskRow> row_of(const Task& task, const Templates& templates, const OrderedJson& raw) {
  TaskRow row;
  ASSIGN_OR_RETURN(row.fields, fields_of(task, raw));
  ASSIGN_OR_RETURN(row.prompt, templates.prompt.fill(row.fields));
  row.prompt.insert(0, templates.before);
  ASSIGN_OR_RETURN(row.completion, templates.completion.fill(row.fields));
  if (task.reference_from == ".") {
    row.reference = row.fields;
  } else if (!task.reference_from.empty()) {
    const OrderedJson* reference = value_at(row.fields, task.reference_from);
    if (reference == nullptr || reference->is_null()) return invalid_argument("there is no reference at \"" + task.reference_from + "\"");
    row.reference = *reference;
  } else {
    row.reference = std::string(strip_blanks(row.completion));
  }
  if (task.choices.ask != AskKind::kGenerate) RETURN_IF_ERROR(add_choices(task, row));
  return row;
}

}  // namespace

const OrderedJson* value_at(const OrderedJson& row, const std::string& path) {
  if (row.is_object() && row.contains(path)) return &row[path];  // a name may hold dots
  const OrderedJson* at = &row;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    const std::string name = path.substr(begin, end - begin);
    if (at->is_object()) {
      const auto found = at->find(name);
      if (found == at->end()) return nullptr;
      at = &*found;
    } else if (at->is_array()) {
      size_t index = 0;
      const auto read = std::from_chars(name.data(), name.data() + name.size(), index);
      if (read.ec != std::errc() || read.ptr != name.data() + name.size() || index >= at->size()) return nullptr;
      at = &(*at)[index];
    } else {
      return nullptr;
    }
    begin = end + 1;
  }
  return at;
}

Path data_folder() {
  const char* folder = std::getenv("UMBEL_DATA");
  return folder != nullptr ? Path(folder) : Path();
}

bool is_at_hand(const Task& task, const Path& data) {
  std::error_code ignored;
  for (const std::string& file : task.source.files) {
    if (!std::filesystem::exists(data / file, ignored)) return false;
  }
  return !task.source.files.empty() && !data.empty();
}

Result<std::vector<TaskRow>> read_task_rows(const Task& task, const Path& data, int64_t limit) {
  if (!is_at_hand(task, data)) {
    std::string files;
    for (const std::string& file : task.source.files) files += " " + file;
    return not_found("the data of task \"" + task.name + "\" is not at hand: it comes from " + (task.source.hub.empty() ? "nowhere that is known" : task.source.hub) +
                     " and belongs, as" + (files.empty() ? " a file that its \"source\" names" : files) + ", into the data folder (--data-dir, or $UMBEL_DATA)");
  }
  ASSIGN_OR_RETURN(data::RowTemplate prompt, data::RowTemplate::parse(task.prompt, "prompt"));
  ASSIGN_OR_RETURN(data::RowTemplate completion, data::RowTemplate::parse(task.completion, "completion"));
  Templates templates{.prompt = std::move(prompt), .completion = std::move(completion), .before = ""};
  for (const auto& [asked, answered] : task.few_shot) templates.before += asked + answered;
  const int64_t most = limit > 0 ? limit : task.limit;
  const size_t rows_max = most > 0 ? static_cast<size_t>(most) : SIZE_MAX;
  std::vector<TaskRow> rows;
  for (const std::string& name : task.source.files) {
    const Path file = data / name;
    const TakeRow take = [&](const OrderedJson& raw, int64_t line) -> Status {
      ASSIGN_OR_RETURN(TaskRow row, row_of(task, templates, raw));
      row.place = name + ":" + std::to_string(line);
      rows.push_back(std::move(row));
      return ok_status();
    };
    const size_t left = rows_max - rows.size();
    if (left == 0) break;
    RETURN_IF_ERROR(each_row(file, task.source, left, take));
  }
  if (rows.empty()) return invalid_argument("the data of task \"" + task.name + "\" holds no rows");
  return rows;
}

}  // namespace umbel::eval
