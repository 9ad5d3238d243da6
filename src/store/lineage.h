// Lineage: the versions of one adapter: the one that its name leads to, a newer one that is not in memory yet, earlier ones that are
// kept. Values only; it belongs to the shelf and is touched under its mutex.
//
// Always: at most one of them is what the folder holds. Nothing in it is destroyed here: what is let go is handed out.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>
#include <vector>

#include "store/library.h"

namespace umbel {

// "NAME@VERSION" or "NAME@DIGEST": the part behind the '@' stands for this id: its number, or at least so many hexadecimal digits.
inline constexpr size_t kDigestTagMin = 12;
bool is_tag_of(std::string_view tag, const AdapterId& id);

struct Lineage {
  AdapterRef served;            // never null
  AdapterRef arriving;          // null: none. Takes over once it is in memory; until then served answers
  std::deque<AdapterRef> kept;  // the one that answered last first

  // The newest that was found, whether or not it answers yet.
  const AdapterRef& newest() const { return arriving ? arriving : served; }
  // The served or a kept one; null when the tag names none of them.
  AdapterRef find(std::string_view tag) const;
  // Of kept; null when it is not there.
  AdapterRef find_kept(std::optional<int64_t> version) const;
  // next answers from now on; the one before is kept, and of those the last keep_max. Returns what is let go.
  std::vector<AdapterRef> lead_to(AdapterRef next, size_t keep_max);
  // Out of kept, when it is there.
  AdapterRef let_go(const AdapterEntry* entry);
  bool keeps(const AdapterEntry* entry) const;
};

}  // namespace umbel
