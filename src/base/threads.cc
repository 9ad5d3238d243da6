#include "base/threads.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "base/check.h"
#include "base/memory_reserve.h"

namespace umbel {
namespace {

// About 10 microseconds: long enough to bridge two kernels of one layer, short enough not to burn an idle core.
constexpr int kSpins = 2000;

inline void pause() { __builtin_ia32_pause(); }

}  // namespace

ThreadPool::ThreadPool(int threads) {
  CHECK(threads >= 1 && threads <= kThreadsMax, "a thread pool has the calling thread and at most kThreadsMax - 1 more");
  workers_.reserve(threads - 1);
  for (int worker = 1; worker < threads; ++worker) workers_.emplace_back([this, worker] { worker_main(worker); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  generation_.fetch_add(1);
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(int64_t tasks, Call call, const void* context) {
  if (tasks <= 0) return;
  if (workers_.empty() || tasks == 1) {
    for (int64_t task = 0; task < tasks; ++task) call(context, task, 0);
    return;
  }
  CHECK(tasks <= UINT32_MAX, "a parallel loop has at most 2^32 - 1 tasks");
  call_ = call;
  context_ = context;
  tasks_ = static_cast<uint32_t>(tasks);
  unfinished_.store(tasks_, std::memory_order_relaxed);
  left_.store(tasks_, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  unfinished_.fetch_sub(drain(0), std::memory_order_acq_rel);
  for (int spin = 0; spin < kSpins; ++spin) {
    if (unfinished_.load(std::memory_order_acquire) == 0) return;
    pause();
  }
  for (uint32_t n = unfinished_.load(std::memory_order_acquire); n != 0; n = unfinished_.load(std::memory_order_acquire)) {
    unfinished_.wait(n, std::memory_order_acquire);
  }
}

// Whoever takes a task keeps the loop it belongs to from ending, so what is read after that is that loop's; also when the thread
// slept since it looked at left_ and the count it saw is by now one of a later loop.
uint32_t ThreadPool::drain(int worker) {
  uint32_t done = 0;
  uint32_t left = left_.load(std::memory_order_acquire);
  while (left != 0) {
    if (!left_.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
    call_(context_, tasks_ - left, worker);
    ++done;
    left = left_.load(std::memory_order_acquire);
  }
  return done;
}

void ThreadPool::worker_main(int worker) {
  const MemoryPriority first;  // what a loop of the engine allocates is small and has to be there
  uint32_t seen = 0;
  while (true) {
    for (int spin = 0; spin < kSpins && generation_.load(std::memory_order_acquire) == seen; ++spin) pause();
    generation_.wait(seen, std::memory_order_acquire);
    seen = generation_.load(std::memory_order_acquire);
    if (stop_.load()) return;
    const uint32_t done = drain(worker);
    if (done != 0 && unfinished_.fetch_sub(done, std::memory_order_acq_rel) == done) unfinished_.notify_one();
  }
}

int usable_cpus() {
  cpu_set_t set;
  int cpus = 1;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) cpus = std::max(1, CPU_COUNT(&set));
  std::ifstream quota_file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (quota_file >> quota >> period && quota != "max" && period > 0) {
    cpus = std::min(cpus, std::max(1, static_cast<int>(std::stod(quota) / period + 0.5)));
  }
  return std::min(cpus, kThreadsMax);
}

}  // namespace umbel
