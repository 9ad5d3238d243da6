// TemplateSources: a chat template before it is compiled: what a folder's files say.
#pragma once

#include <map>
#include <string>

#include "base/status.h"
#include "io/json.h"
#include "text/text_files.h"

namespace umbel {

struct TemplateSources {
  std::map<std::string, std::string> by_name;  // "default", "tool_use", ...; not empty
  Json special_tokens = Json::object();        // {"bos_token": ..., "eos_token": ...} as strings

  // The one that conversations without tools get.
  const std::string& main() const;
  // What conversations with tools get, where it is another one; else null.
  const std::string* with_tools() const;
  // SHA-256 over all of it: equal digests render alike (but for the clock of strftime_now).
  std::string digest() const;
};

inline constexpr size_t kTemplateBytesMax = size_t{1} << 20;         // of one template

// chat_template.jinja (with additional_chat_templates/tool_use.jinja) wins over tokenizer_config.json's chat_template
// (string, or list of {name, template}). kNotFound when there is none.
Result<TemplateSources> read_template_sources(const TextFiles& files);
// The names that end in "_token" of special_tokens_map.json and tokenizer_config.json; empty without files.
Result<Json> read_special_tokens(const TextFiles& files);

}  // namespace umbel
