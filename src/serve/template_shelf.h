// TemplateShelf: the chat template that a request gets: its adapter's own, wherever it stands in the folder
// (chat_template.jinja, else tokenizer_config.json), and else the base's.
//
// Any thread. Adapters' templates are strangers' and are rendered by ServeParts::template_workers; without those the
// base's is used. At most kTemplatesMax are kept; they are found by name and content digest, so a changed folder gets its
// new template.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/status.h"
#include "serve/parts.h"

namespace umbel::serve {

class TemplateShelf {
 public:
  // parts outlives it.
  explicit TemplateShelf(const ServeParts& parts) : parts_(parts) {}

  // Null = base. kUnsupported when neither has one.
  Result<std::shared_ptr<const ChatTemplate>> find(const AdapterInfo* adapter);

 private:
  static constexpr size_t kTemplatesMax = 256;
  Result<std::shared_ptr<const ChatTemplate>> own(const AdapterInfo& info);

  const ServeParts& parts_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const ChatTemplate>> shelf_;  // name + "@" + digest; null: it has none
};

}  // namespace umbel::serve
