#include "store/lineage.h"

#include <algorithm>
#include <utility>

namespace umbel {

bool is_tag_of(std::string_view tag, const AdapterId& id) {
  if (tag.size() >= kDigestTagMin && std::string_view(id.digest).starts_with(tag)) return true;
  return tag == std::to_string(id.version);
}

AdapterRef Lineage::find(std::string_view tag) const {
  if (is_tag_of(tag, adapter_id(served))) return served;
  const auto found = std::find_if(kept.begin(), kept.end(), [&](const AdapterRef& ref) { return is_tag_of(tag, adapter_id(ref)); });
  return found == kept.end() ? nullptr : *found;
}

AdapterRef Lineage::find_kept(std::optional<int64_t> version) const {
  const auto found = std::find_if(kept.begin(), kept.end(), [&](const AdapterRef& ref) { return !version || adapter_id(ref).version == *version; });
  return found == kept.end() ? nullptr : *found;
}

bool Lineage::keeps(const AdapterEntry* entry) const {
  return std::any_of(kept.begin(), kept.end(), [&](const AdapterRef& ref) { return ref.get() == entry; });
}

AdapterRef Lineage::let_go(const AdapterEntry* entry) {
  const auto found = std::find_if(kept.begin(), kept.end(), [&](const AdapterRef& ref) { return ref.get() == entry; });
  if (found == kept.end()) return nullptr;
  AdapterRef gone = std::move(*found);
  kept.erase(found);
  return gone;
}

std::vector<AdapterRef> Lineage::lead_to(AdapterRef next, size_t keep_max) {
  std::vector<AdapterRef> gone;
  if (const AdapterRef was_kept = let_go(next.get())) gone.push_back(was_kept);  // another reference to next: it does no harm outside
  if (arriving != nullptr && arriving != next) gone.push_back(arriving);
  arriving = nullptr;
  kept.push_front(std::exchange(served, std::move(next)));
  for (; kept.size() > keep_max; kept.pop_back()) gone.push_back(std::move(kept.back()));
  return gone;
}

}  // namespace umbel
