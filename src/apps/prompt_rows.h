// Files of prompts: a JSON object a line, {"prompt", "completion", "adapter"}.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/file.h"

namespace umbel::apps {

struct PromptRow {
  std::string prompt;
  std::string adapter;
  std::optional<std::string> completion;
};

struct PromptRowsOptions {
  std::string adapter;              // of rows that name none
  bool completion_needed = false;
  size_t rows_max = SIZE_MAX;       // the first of them
};

// Empty lines are passed over. Failures name file, line and field; a file without rows is one.
Result<std::vector<PromptRow>> read_prompt_rows(const Path& file, const PromptRowsOptions& options);

// Without the white space around it.
std::string trimmed(const std::string& text);

}  // namespace umbel::apps
