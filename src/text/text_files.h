// TextFiles: where the files about text of one folder (tokenizer_config.json, chat_template.jinja, ...) are read from. The
// operator's folders follow links; a stranger's are read by whoever knows what may be opened there.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/status.h"
#include "io/beneath.h"
#include "io/file.h"
#include "io/json.h"

namespace umbel {

struct TextFiles {
  std::string where;  // for messages
  // The file, at most so many bytes; nothing when it isn't there.
  std::function<Result<std::optional<std::string>>(const std::string& name, size_t limit_bytes)> read;
};

// Of a folder that the operator named.
TextFiles text_files_of(const Path& dir);
// Of a stranger's folder; only plain names are ever there.
TextFiles text_files_of(FolderReader folder);

// One of its JSON files: an object, empty when the file isn't there.
Result<Json> read_text_config(const TextFiles& files, const std::string& name);

}  // namespace umbel
