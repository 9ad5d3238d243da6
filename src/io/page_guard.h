// PageGuard: lets a mapped file be read although somebody may shorten it. Reading pages that the file no longer has sends
// SIGBUS, which would end the process; a guarded range gets pages of zeros instead, and remembers it.
//
// The process's SIGBUS handler is set on first use; faults outside guarded ranges go to the handler that was there before.
#pragma once

#include <cstddef>
#include <span>

#include "base/status.h"

namespace umbel {

// Move-only. Released before the range is unmapped. Any thread may read inside the range.
class PageGuard {
 public:
  PageGuard() = default;  // guards nothing
  // kOverloaded when kGuardsMax ranges are guarded already. REQUIRES a mapping that begins at a page.
  static Result<PageGuard> over(std::span<const std::byte> range);
  PageGuard(PageGuard&& other) noexcept;
  PageGuard& operator=(PageGuard&& other) noexcept;
  ~PageGuard();

  bool touched() const;

  static constexpr size_t kGuardsMax = 256;

 private:
  explicit PageGuard(int slot) : slot_(slot) {}
  int slot_ = -1;
};

}  // namespace umbel
