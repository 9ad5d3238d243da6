#include "io/page_guard.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <utility>

namespace umbel {
namespace {

// A signal handler has no object to stand in: the ranges are the one thing here that belongs to the process.
struct Range {
  std::atomic<bool> taken = false;
  std::atomic<uintptr_t> begin = 0;  // 0 = not guarded
  std::atomic<uintptr_t> end = 0;
  std::atomic<bool> touched = false;
};
std::array<Range, PageGuard::kGuardsMax> ranges;
struct sigaction previous;
std::once_flag installed;

// The range that holds the address gets zeros from there to its end: one fault a file, however much of it is gone.
bool fill(uintptr_t address) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  for (Range& range : ranges) {
    const uintptr_t begin = range.begin;
    const uintptr_t end = range.end;
    if (begin == 0 || address < begin || address >= end) continue;
    const uintptr_t from = address & ~(page - 1);
    range.touched = true;
    return ::mmap(reinterpret_cast<void*>(from), end - from, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
  }
  return false;
}

void on_bus_error(int signal, siginfo_t* info, void* context) {
  if (fill(reinterpret_cast<uintptr_t>(info->si_addr))) return;
  if ((previous.sa_flags & SA_SIGINFO) != 0) {
    previous.sa_sigaction(signal, info, context);
  } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    previous.sa_handler(signal);
  } else {
    ::sigaction(SIGBUS, &previous, nullptr);  // the same access faults again, and ends the process
  }
}

void install() {
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  CHECK(::sigaction(SIGBUS, &action, &previous) == 0, "a handler for SIGBUS can be set");
}

}  // namespace

Result<PageGuard> PageGuard::over(std::span<const std::byte> range) {
  std::call_once(installed, install);
  for (size_t i = 0; i < ranges.size(); ++i) {
    if (ranges[i].taken.exchange(true)) continue;
    const auto begin = reinterpret_cast<uintptr_t>(range.data());
    ranges[i].touched = false;
    ranges[i].end = begin + range.size();
    ranges[i].begin = begin;
    return PageGuard(static_cast<int>(i));
  }
  return Status(Code::kOverloaded, "too many files are being read at once");
}

PageGuard::PageGuard(PageGuard&& other) noexcept : slot_(std::exchange(other.slot_, -1)) {}

PageGuard& PageGuard::operator=(PageGuard&& other) noexcept {
  std::swap(slot_, other.slot_);
  return *this;
}

PageGuard::~PageGuard() {
  if (slot_ < 0) return;
  ranges[slot_].begin = 0;
  ranges[slot_].taken = false;
}

bool PageGuard::touched() const { return slot_ >= 0 && ranges[slot_].touched; }

}  // namespace umbel
