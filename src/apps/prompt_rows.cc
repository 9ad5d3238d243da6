#include "apps/prompt_rows.h"

#include <fstream>

#include "io/json.h"

namespace umbel::apps {
namespace {

constexpr const char* kSpace = " \t\r\n";

Result<PromptRow> parse_row(const std::string& line, const std::string& where, const PromptRowsOptions& options) {
  ASSIGN_OR_RETURN(const Json json, parse_json(line, where));
  if (!json.is_object()) {
    return invalid_argument(where + ": a row is an object with \"prompt\"" + (options.completion_needed ? " and \"completion\"" : ""));
  }
  PromptRow row;
  auto prompt = json_field<std::string>(json, "prompt");
  if (!prompt.ok()) return prompt.status().with_context(where);
  row.prompt = *std::move(prompt);
  auto adapter = json_field_or<std::string>(json, "adapter", options.adapter);
  if (!adapter.ok()) return adapter.status().with_context(where);
  row.adapter = *std::move(adapter);
  if (options.completion_needed || json.contains("completion")) {
    auto completion = json_field<std::string>(json, "completion");
    if (!completion.ok()) return completion.status().with_context(where);
    row.completion = *std::move(completion);
  }
  return row;
}

}  // namespace

Result<std::vector<PromptRow>> read_prompt_rows(const Path& file, const PromptRowsOptions& options) {
  std::ifstream stream(file);
  if (!stream) return not_found("cannot open \"" + file.string() + "\"");
  std::vector<PromptRow> rows;
  std::string line;
  for (int number = 1; rows.size() < options.rows_max && std::getline(stream, line); ++number) {
    if (line.find_first_not_of(kSpace) == std::string::npos) continue;
    ASSIGN_OR_RETURN(PromptRow row, parse_row(line, file.string() + ":" + std::to_string(number), options));
    rows.push_back(std::move(row));
  }
  if (rows.empty()) return invalid_argument("\"" + file.string() + "\" holds no rows");
  return rows;
}

std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(kSpace);
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

}  // namespace umbel::apps
