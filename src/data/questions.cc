#include "data/questions.h"

#include <algorithm>
#include <charconv>

#include "data/row_source.h"

namespace umbel::data {
namespace {

Result<std::string> adapter_of(const OrderedJson& row, const std::string& fallback) {
  const auto found = row.find("adapter");
  if (found == row.end() || found->is_null()) return fallback;
  if (!found->is_string()) return invalid_argument("field \"adapter\" must be a text");
  const auto& name = found->get_ref<const std::string&>();
  return name.empty() ? fallback : name;  // a table's empty cell
}

Result<std::optional<int64_t>> seed_of(const OrderedJson& row) {
  const auto found = row.find("seed");
  if (found == row.end() || found->is_null()) return std::optional<int64_t>();
  if (found->is_string()) {  // a table's cell
    const auto& text = found->get_ref<const std::string&>();
    int64_t seed = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
    if (text.empty()) return std::optional<int64_t>();
    if (error == std::errc() && end == text.data() + text.size() && seed >= 0) return std::optional(seed);
  }
  if (!found->is_number_integer() || *found < 0) return invalid_argument("field \"seed\" must be a number without sign and point");
  return std::optional(found->get<int64_t>());
}

Result<RowFormat> format_of(const OrderedJson& row, const RowEncoder& encoder) {
  RowFormat format = encoder.format();
  if (format == RowFormat::kTemplate) {
    const std::vector<std::string> fields = encoder.template_fields();
    const bool all = std::all_of(fields.begin(), fields.end(), [&](const std::string& name) { return find_field(row, name) != nullptr; });
    if (!all && row.contains("prompt")) return RowFormat::kPromptCompletion;
    return format;
  }
  if (row.contains("prompt")) return RowFormat::kPromptCompletion;
  if (format != RowFormat::kAuto) return format;
  if (row.contains("instruction")) return RowFormat::kAlpaca;
  return detect_format(row);
}

}  // namespace

Result<std::vector<Question>> read_questions(const Path& file, const QuestionOptions& options) {
  std::vector<Question> questions;
  const auto take = [&](const OrderedJson& row, int64_t line) -> Status {
    Question question{.line = line};
    ASSIGN_OR_RETURN(question.adapter, adapter_of(row, options.adapter));
    ASSIGN_OR_RETURN(question.seed, seed_of(row));
    if (const auto id = row.find("id"); id != row.end()) question.id = *id;
    ASSIGN_OR_RETURN(const RowEncoder* encoder, options.encoder(question.adapter));
    ASSIGN_OR_RETURN(const RowFormat format, format_of(row, *encoder));
    if (format == RowFormat::kText && options.answers == Answers::kOptional) return invalid_argument("a row of \"text\" has no prompt to be asked");
    ASSIGN_OR_RETURN(question.row, encoder->ask(row, format));
    if (options.answers == Answers::kNeeded && !question.row.completion) return invalid_argument("the row has no answer to compare with");
    questions.push_back(std::move(question));
    return ok_status();
  };
  RETURN_IF_ERROR(each_object(file, {.rows_max = options.rows_max, .columns = options.columns}, take));
  return questions;
}

Result<std::vector<PlainPair>> read_plain_pairs(const Path& file, size_t rows_max, Answers answers) {
  std::vector<PlainPair> pairs;
  const auto take = [&](const OrderedJson& row, int64_t) -> Status {
    PlainPair pair;
    for (const char* name : {"prompt", "completion"}) {
      const auto found = row.find(name);
      const bool there = found != row.end() && !found->is_null();
      const bool needed = answers == Answers::kNeeded || std::string_view(name) == "prompt";
      if (!there && needed) return invalid_argument("field \"" + std::string(name) + "\" is missing");
      if (there && !found->is_string()) return invalid_argument("field \"" + std::string(name) + "\" must be a text");
      if (there && std::string_view(name) == "prompt") pair.prompt = found->get<std::string>();
      if (there && std::string_view(name) == "completion") pair.completion = found->get<std::string>();
    }
    pairs.push_back(std::move(pair));
    return ok_status();
  };
  RETURN_IF_ERROR(each_object(file, {.rows_max = rows_max}, take));
  return pairs;
}

}  // namespace umbel::data
