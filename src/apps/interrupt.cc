#include "apps/interrupt.h"

#include <pthread.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "apps/exit.h"

namespace umbel::apps {
namespace {

bool is_ignored(int signal) {
  struct sigaction action {};
  return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

sigset_t awaited() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  if (!is_ignored(SIGHUP)) sigaddset(&set, SIGHUP);  // a blocked signal would be delivered though it is ignored
  return set;
}

int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

void Interrupt::end_within(Duration limit) { end_ns_ = now_ns() + std::chrono::nanoseconds(limit).count(); }

Interrupt::Interrupt(const char* message) : signals_(awaited()), message_(message) {
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  waiter_ = std::thread([this] { wait(); });
}

Interrupt::~Interrupt() {
  ending_ = true;
  waiter_.join();
  pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
}

void Interrupt::wait() {
  constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 50'000'000};
  while (!ending_) {
    if (now_ns() >= end_ns_) {
      std::fputs("umbel: what was under way did not end in time; ended without it\n", stderr);
      std::_Exit(kExitFailed);
    }
    const int signal = sigtimedwait(&signals_, nullptr, &kPause);
    if (signal < 0 || (signal == SIGHUP && requested_)) continue;
    if (!armed_ || requested_) {
      if (requested_) std::fputs("umbel: a second signal: ended at once\n", stderr);
      std::_Exit(kExitInterrupted);
    }
    if (*message_ != '\0') std::fprintf(stderr, "\numbel: %s\n", message_);
    requested_ = true;
    requested_.notify_all();
  }
}

}  // namespace umbel::apps
