// PromptShelf: how an adapter's prompts are made: its folder's umbel_prompt.json (data/prompt_file.h), read once a version.
//
// Any thread; may read one small file, so not on an HTTP thread. Found by content digest, which that file is part of.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "data/prompt_file.h"
#include "serve/ask.h"
#include "serve/refusal.h"
#include "serve/template_shelf.h"

namespace umbel::serve {

class PromptShelf {
 public:
  // Null: its folder does not say. A file that can't be read is its Status.
  Result<std::shared_ptr<const data::PromptFile>> find(const AdapterInfo& adapter);

 private:
  static constexpr size_t kAdaptersMax = 4096;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const data::PromptFile>> shelf_;  // by name and digest
};

// The texts that an Ask's prompt_rows, or its prompts with fill_template, stand for.
struct FilledPrompts {
  std::vector<Prompt> prompts;
  bool specials_written = false;  // by a chat template: the tokenizer adds none
};
// adapter: null = the base, which has no template. bytes_max: of one prompt.
struct PromptSources {
  const Tokenizer& tokenizer;
  TemplateShelf& templates;
  PromptShelf& shelf;
  size_t bytes_max;
};
Outcome<FilledPrompts> fill_prompts(const PromptSources& sources, const AdapterInfo* adapter, const Ask& ask);

// Why a chat is not what this adapter was trained on, with the remedy; nullopt when it is, or its folder does not say.
std::optional<Refusal> chat_fault(PromptShelf& shelf, const AdapterInfo& adapter, const Ask& ask);

}  // namespace umbel::serve
