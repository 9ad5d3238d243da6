#include "apps/interrupt.h"

#include <pthread.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "apps/exit.h"

namespace umbel::apps {
namespace {

sigset_t both() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

}  // namespace

Interrupt::Interrupt(const char* message) : message_(message) {
  const sigset_t set = both();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  waiter_ = std::thread([this] { wait(); });
}

Interrupt::~Interrupt() {
  ending_ = true;
  waiter_.join();
  const sigset_t set = both();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void Interrupt::wait() {
  const sigset_t set = both();
  constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 50'000'000};
  while (!ending_) {
    if (sigtimedwait(&set, nullptr, &kPause) < 0) continue;
    if (!armed_ || requested_) std::_Exit(kExitInterrupted);
    requested_ = true;
    std::fprintf(stderr, "\numbel: %s\n", message_);
  }
}

}  // namespace umbel::apps
