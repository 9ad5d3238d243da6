#include "serve/tokenizer_shelf.h"

#include <utility>

#include "base/log.h"
#include "base/printable.h"
#include "text/adapter_tokenizer.h"

namespace umbel::serve {
namespace {

constexpr size_t kReasonBytesMax = 500;

std::string key_of(const AdapterInfo& adapter) {
  return adapter.id.name + "@" + std::to_string(adapter.id.version) + "@" + adapter.id.digest;
}

// Whether the same files will be refused again.
bool lasts(const Status& status) {
  const Code code = status.code();
  return code == Code::kUnsupported || code == Code::kInvalidArgument || code == Code::kTooLong;
}

}  // namespace

TokenizerShelf::TokenizerShelf(const ServeParts& parts)
    : parts_(parts), base_(std::make_shared<const TokenTexts>(parts.tokenizer)) {}

Result<std::shared_ptr<const TokenTexts>> TokenizerShelf::take_locked(Entry& entry) {
  entry.used = ++turn_;
  if (entry.words == nullptr) return entry.unusable;
  return entry.words;
}

// Tokenizers are handed out under the mutex only: one that nobody but the shelf holds stays so while it is held.
Status TokenizerShelf::make_room_locked() {
  size_t own = 0;
  auto oldest = shelf_.end();
  for (auto entry = shelf_.begin(); entry != shelf_.end(); ++entry) {
    if (entry->second.words == nullptr || entry->second.words == base_) continue;
    ++own;
    const bool free = entry->second.words.use_count() == 1;
    if (free && (oldest == shelf_.end() || entry->second.used < oldest->second.used)) oldest = entry;
  }
  if (own < kOwnMax) return ok_status();
  if (oldest == shelf_.end()) {
    return Status(Code::kUnavailable, "requests of " + std::to_string(kOwnMax) +
                                          " adapters with tokenizers of their own are running; send it again");
  }
  shelf_.erase(oldest);
  return ok_status();
}

Result<std::shared_ptr<const TokenTexts>> TokenizerShelf::find(const AdapterInfo& adapter) {
  if (adapter.chat_template_dir.empty()) return base_;
  const std::string key = key_of(adapter);
  {
    std::lock_guard lock(mutex_);
    if (const auto found = shelf_.find(key); found != shelf_.end()) return take_locked(found->second);
  }
  ASSIGN_OR_RETURN(FolderReader folder, FolderReader::open(adapter.place));
  const auto own = adapter_tokenizer(text_files_of(std::move(folder)), parts_.tokenizer, parts_.model.rows_max);
  if (!own.ok() && !lasts(own.status())) return own.status();
  Entry made{.words = base_};
  if (!own.ok()) {
    made = {.unusable = own.status()};
    LOG_WARN("adapter {}: {}", adapter.id.name, printable(own.status().message(), kReasonBytesMax));
  } else if (*own != parts_.tokenizer) {
    made.words = std::make_shared<const TokenTexts>(*own);
  }
  std::lock_guard lock(mutex_);
  if (const auto found = shelf_.find(key); found != shelf_.end()) return take_locked(found->second);  // somebody was faster
  if (made.words != nullptr && made.words != base_) RETURN_IF_ERROR(make_room_locked());
  if (shelf_.size() >= kAdaptersMax) {
    std::erase_if(shelf_, [this](const auto& entry) { return entry.second.words == nullptr || entry.second.words == base_; });
  }
  return take_locked(shelf_.emplace(key, std::move(made)).first->second);
}

Status TokenizerShelf::known(const AdapterInfo& adapter) const {
  std::lock_guard lock(mutex_);
  const auto found = shelf_.find(key_of(adapter));
  return found == shelf_.end() ? ok_status() : found->second.unusable;
}

}  // namespace umbel::serve
