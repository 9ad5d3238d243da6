// TemplateShelf: the chat template that a request gets: its adapter's own chat_template.jinja, else the base's.
//
// Any thread. At most kTemplatesMax adapters' templates are kept; they are found by name and content digest, so a
// changed folder gets its new template.
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

  // adapter: "" = base. kUnsupported when neither has one.
  Result<std::shared_ptr<const ChatTemplate>> find(const std::string& adapter);

 private:
  static constexpr size_t kTemplatesMax = 256;
  const ServeParts& parts_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const ChatTemplate>> shelf_;  // name + "@" + digest
};

}  // namespace umbel::serve
