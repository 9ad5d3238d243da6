#include "base/memory_reserve.h"

#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <new>

#include "base/sanitized.h"

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

[[noreturn]] void out_of_memory() { std::rethrow_exception(no_memory()); }

// Must not fail as long as there is any reserve: whoever serves everybody, and what is unwound.
bool comes_first(size_t bytes) {
  if (priority == MemoryPriority::Level::kFirst || std::uncaught_exceptions() > 0) return true;
  return priority == MemoryPriority::Level::kSmallFirst && bytes <= kSmallAllocationBytes;
}

bool release(int lowest) {
  if (!kept.load()) return false;
  for (int i = kMemoryReservePieces - 1; i >= lowest; --i) {
    void* const mine = pieces[static_cast<size_t>(i)].exchange(nullptr);
    if (mine == nullptr) continue;
    whole.store(false);
    ::munmap(mine, kMemoryReservePieceBytes);
    return true;
  }
  return false;
}

// Whether to try again. None of it allocates: the allocator has just said no.
bool release_for(size_t bytes) {
  if (comes_first(bytes)) return release(0);
  return bytes <= kSmallAllocationBytes && release(kFirstReservePieces);
}

// For what the replaced operators below don't see (over-aligned objects).
void on_failure() {
  if (!comes_first(SIZE_MAX) || !release(0)) out_of_memory();
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

bool release_memory_reserve() { return release(0); }

MemoryPriority::MemoryPriority(Level level) : before_(priority) { priority = level; }
MemoryPriority::~MemoryPriority() { priority = before_; }

}  // namespace umbel

// Weak, so that a test may count. A sanitizer has operators of its own.
#if !UMBEL_SANITIZED
__attribute__((weak)) void* operator new(size_t bytes) {
  for (;;) {
    void* const place = std::malloc(bytes == 0 ? 1 : bytes);
    if (place != nullptr) return place;
    if (!umbel::release_for(bytes)) umbel::out_of_memory();
  }
}
__attribute__((weak)) void operator delete(void* place) noexcept { std::free(place); }
__attribute__((weak)) void operator delete(void* place, size_t /*bytes*/) noexcept { std::free(place); }
#endif
