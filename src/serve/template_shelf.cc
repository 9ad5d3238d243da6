#include "serve/template_shelf.h"

namespace umbel::serve {

// Null when the folder has none after all.
Result<std::shared_ptr<const ChatTemplate>> TemplateShelf::own(const AdapterInfo& info) {
  const std::string key = info.id.name + "@" + std::to_string(info.id.version) + "@" + info.id.digest;
  {
    std::lock_guard lock(mutex_);
    if (const auto found = shelf_.find(key); found != shelf_.end()) return found->second;
  }
  ASSIGN_OR_RETURN(FolderReader folder, FolderReader::open(info.place));
  ASSIGN_OR_RETURN(auto made, parts_.template_workers->find("adapter \"" + info.id.name + "\"'s",
                                                            text_files_of(std::move(folder)), *parts_.tokenizer));
  // Most folders hold a copy of the base's, which needs no helper.
  const auto& base = parts_.chat_template;
  if (made != nullptr && base != nullptr && made->digest() == base->digest()) made = base;
  std::lock_guard lock(mutex_);
  if (shelf_.size() >= kTemplatesMax) shelf_.clear();
  return shelf_.emplace(key, made).first->second;  // the one that was first, where two made it at once
}

Result<std::shared_ptr<const ChatTemplate>> TemplateShelf::find(const AdapterInfo* adapter) {
  if (adapter != nullptr && !adapter->chat_template_dir.empty() && parts_.template_workers != nullptr) {
    ASSIGN_OR_RETURN(const auto made, own(*adapter));
    if (made != nullptr) return made;
  }
  if (parts_.chat_template == nullptr) {
    return unsupported("the model " + parts_.model.name +
                       " has no chat template; use /v1/completions, or put a chat_template.jinja into its folder");
  }
  return parts_.chat_template;
}

}  // namespace umbel::serve
