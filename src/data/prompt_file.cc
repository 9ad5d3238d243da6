#include "data/prompt_file.h"

#include <set>

#include "data/row_source.h"
#include "data/row_template.h"
#include "io/json.h"
#include "text/chat_template.h"

namespace umbel::data {
namespace {

constexpr int64_t kVersion = 1;
constexpr const char *kText = "text", *kMessages = "messages";  // of "prompts"
constexpr size_t kBytesMax = size_t{1} << 20;

Result<PromptFile> parse(const Json& json) {
  if (!json.is_object()) return invalid_argument("it is not an object");
  ASSIGN_OR_RETURN(const int64_t version, json_field<int64_t>(json, "version"));
  if (version != kVersion) return unsupported("version " + std::to_string(version) + " of this file is not known; this program reads version 1");
  PromptFile file;
  ASSIGN_OR_RETURN(const std::string format, json_field<std::string>(json, "format"));
  ASSIGN_OR_RETURN(file.format, parse_row_format(format));
  ASSIGN_OR_RETURN(file.prompt, json_field_or<std::string>(json, "prompt", ""));
  ASSIGN_OR_RETURN(file.completion, json_field_or<std::string>(json, "completion", ""));
  ASSIGN_OR_RETURN(const std::string prompts, json_field_or<std::string>(json, "prompts", ""));
  file.prompts = prompts == kText ? PromptFile::Prompts::kText : prompts == kMessages ? PromptFile::Prompts::kMessages : prompts_of(file.format);
  if (file.format != RowFormat::kTemplate) return file;
  RETURN_IF_ERROR(RowTemplate::parse(file.prompt, "prompt").status());
  RETURN_IF_ERROR(RowTemplate::parse(file.completion, "completion").status());
  return file;
}

}  // namespace

PromptFile::Prompts prompts_of(RowFormat format) {
  if (format == RowFormat::kMessages || format == RowFormat::kShareGpt) return PromptFile::Prompts::kMessages;
  const bool either = format == RowFormat::kPromptCompletion || format == RowFormat::kAuto;
  return either ? PromptFile::Prompts::kUnknown : PromptFile::Prompts::kText;
}

PromptFile::Prompts prompts_of(RowFormat format, const Path& rows) {
  if (prompts_of(format) != PromptFile::Prompts::kUnknown) return prompts_of(format);
  const auto source = RowSource::open(rows);
  RawRow raw;
  if (!source.ok()) return PromptFile::Prompts::kUnknown;
  const Result<bool> more = (*source)->next(raw);
  if (!more.ok() || !*more) return PromptFile::Prompts::kUnknown;
  const auto row = parse_row(raw, (*source)->columns());
  if (!row.ok() || !row->is_object() || !row->contains("prompt")) return PromptFile::Prompts::kUnknown;
  return (*row)["prompt"].is_string() ? PromptFile::Prompts::kText : PromptFile::Prompts::kMessages;
}

std::vector<std::string> prompt_fields(const PromptFile& file) {
  switch (file.format) {
    case RowFormat::kTemplate: {
      const auto parsed = RowTemplate::parse(file.prompt, "prompt template");
      std::vector<std::string> names;
      std::set<std::string> seen;
      for (const std::string& name : parsed.ok() ? parsed->fields() : std::vector<std::string>()) {
        if (seen.insert(name).second) names.push_back(name);
      }
      return names;
    }
    case RowFormat::kPromptCompletion: return {"prompt"};
    case RowFormat::kAlpaca: return {"instruction", "input", "system", "history"};
    case RowFormat::kMessages: return {"messages"};
    case RowFormat::kShareGpt: return {"conversations"};
    case RowFormat::kText:
    case RowFormat::kAuto: return {};
  }
  return {};
}

std::string prompt_file_text(const PromptFile& file) {
  OrderedJson json = {{"version", kVersion}, {"format", row_format_name(file.format)}};
  if (file.format == RowFormat::kTemplate) {
    json["prompt"] = file.prompt;
    json["completion"] = file.completion;
  }
  const PromptFile::Prompts prompts = file.prompts == PromptFile::Prompts::kUnknown ? prompts_of(file.format) : file.prompts;
  if (prompts != PromptFile::Prompts::kUnknown) json["prompts"] = prompts == PromptFile::Prompts::kText ? kText : kMessages;
  json["fields"] = prompt_fields(file);
  return json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

Result<std::optional<PromptFile>> read_prompt_file(const TextFiles& folder) {
  ASSIGN_OR_RETURN(const std::optional<std::string> text, folder.read(kPromptFileName, kBytesMax));
  if (!text) return std::optional<PromptFile>();
  const std::string where = (Path(folder.where) / kPromptFileName).string();
  ASSIGN_OR_RETURN(const Json json, parse_json(*text, where));
  auto file = parse(json);
  if (!file.ok()) return file.status().with_context(where);
  return std::optional(*std::move(file));
}

Result<std::optional<PromptFile>> read_prompt_file(const Path& folder) { return read_prompt_file(text_files_of(folder)); }

DatasetOptions with_prompt_file(DatasetOptions options, const PromptFile& file) {
  options.format = file.format;
  options.prompt_template = file.prompt;
  options.completion_template = file.completion;
  return options;
}

}  // namespace umbel::data
