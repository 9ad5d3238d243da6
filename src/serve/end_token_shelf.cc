#include "serve/end_token_shelf.h"

#include "text/end_tokens.h"

namespace umbel::serve {

Result<std::vector<TokenId>> EndTokenShelf::find(const AdapterInfo& adapter, const Tokenizer& tokenizer) {
  if (adapter.place.folder.empty()) return parts_.model.eos_ids;
  {
    std::lock_guard lock(mutex_);
    if (const auto found = shelf_.find(adapter.id.digest); found != shelf_.end()) return found->second;
  }
  ASSIGN_OR_RETURN(const FolderReader folder, FolderReader::open(adapter.place));
  ASSIGN_OR_RETURN(std::vector<TokenId> ids, with_end_tokens_of(folder, tokenizer, parts_.model.eos_ids));
  std::lock_guard lock(mutex_);
  if (shelf_.size() >= kAdaptersMax) shelf_.clear();
  shelf_[adapter.id.digest] = ids;
  return ids;
}

}  // namespace umbel::serve
