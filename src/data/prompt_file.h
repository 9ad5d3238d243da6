// umbel_prompt.json: how the rows that an adapter was trained on became prompts. It stands in the adapter's folder, so that who asks the
// adapter can write the same prompts. docs/adapters.md has the schema.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "data/dataset_options.h"
#include "io/file.h"
#include "text/text_files.h"

namespace umbel::data {

inline constexpr const char* kPromptFileName = "umbel_prompt.json";

struct PromptFile {
  RowFormat format = RowFormat::kAuto;  // of the rows; never kAuto in a file
  std::string prompt;                   // kTemplate: as row_template.h reads it
  std::string completion;
  // Whether a prompt is a text as it stands, or messages that a chat template makes one of; unknown in older files of prompt-completion.
  enum class Prompts : uint8_t { kUnknown, kText, kMessages };
  Prompts prompts = Prompts::kUnknown;
};

// What a format says by itself: kUnknown for prompt-completion, whose rows may have either.
PromptFile::Prompts prompts_of(RowFormat format);
// The same, where need be by the first row of a file.
PromptFile::Prompts prompts_of(RowFormat format, const Path& rows);

// The fields that a prompt is made of: those of the template, with repetitions left out, or the format's.
std::vector<std::string> prompt_fields(const PromptFile& file);

// The file's text. Beside the fields above: "version": 1, "prompts": "text" or "messages", and "fields" that a prompt is made of.
std::string prompt_file_text(const PromptFile& file);

// nullopt when the folder has none. kInvalidArgument, naming file and field, for one that can't be read, or of a later version.
Result<std::optional<PromptFile>> read_prompt_file(const TextFiles& folder);
Result<std::optional<PromptFile>> read_prompt_file(const Path& folder);

// options with the file's format and templates.
DatasetOptions with_prompt_file(DatasetOptions options, const PromptFile& file);

}  // namespace umbel::data
