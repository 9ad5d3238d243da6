#include "base/memory_reserve.h"

#include <sys/mman.h>

#include <array>
#include <atomic>
#include <exception>
#include <new>

namespace umbel {
namespace {

std::array<std::atomic<void*>, kMemoryReservePieces> pieces{};
std::atomic<bool> kept{false};
std::atomic<bool> whole{true};  // false: some piece is out
thread_local MemoryPriority::Level priority = MemoryPriority::Level::kOrdinary;

// What operator new gives its callers, made when there was memory for it.
const std::exception_ptr& no_memory() {
  static const std::exception_ptr made = std::make_exception_ptr(std::bad_alloc());
  return made;
}

// Does not allocate: the allocator has just said no.
void on_failure() {
  const bool released = release_memory_reserve();
  if (released && priority == MemoryPriority::Level::kFirst) return;  // operator new tries again
  std::rethrow_exception(no_memory());
}

bool take(std::atomic<void*>& piece) {
  if (piece.load() != nullptr) return true;
  void* const taken = ::mmap(nullptr, kMemoryReservePieceBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (taken == MAP_FAILED) return false;
  void* none = nullptr;
  if (!piece.compare_exchange_strong(none, taken)) ::munmap(taken, kMemoryReservePieceBytes);  // another thread was faster
  return true;
}

bool take_all() {
  whole.store(true);  // first: a piece that is let go meanwhile says so again
  for (auto& piece : pieces) {
    if (take(piece)) continue;
    whole.store(false);
    return false;
  }
  return true;
}

}  // namespace

bool keep_memory_reserve() {
  (void)no_memory();
  if (!kept.exchange(true)) std::set_new_handler(on_failure);
  return take_all();
}

bool memory_is_short() { return kept.load() && !whole.load() && !take_all(); }

bool release_memory_reserve() {
  if (!kept.load()) return false;
  for (auto& piece : pieces) {
    void* const mine = piece.exchange(nullptr);
    if (mine == nullptr) continue;
    whole.store(false);
    ::munmap(mine, kMemoryReservePieceBytes);
    return true;
  }
  return false;
}

MemoryPriority::MemoryPriority(Level level) : before_(priority) { priority = level; }
MemoryPriority::~MemoryPriority() { priority = before_; }

}  // namespace umbel
