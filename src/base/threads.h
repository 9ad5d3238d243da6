// ThreadPool: a fixed set of compute threads that run one parallel loop at a time, for the kernels below the engine.
//
// The caller takes part in its loop. Tasks are handed out one by one from an atomic counter, and a loop is over when its tasks are:
// a worker that got no CPU (a busy neighbour) took no task and is not waited for. Idle workers sleep in the kernel (futex) after a
// short spin. Which thread runs which
// task is unspecified: a kernel's result must not depend on it (batch invariance, ARCHITECTURE.md).
//
// Threads: parallel_for may be called by one thread at a time (the engine's owner, or a trainer); it is not reentrant.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace umbel {

// The most threads a pool may have; memory plans count on it.
inline constexpr int kThreadsMax = 256;

class ThreadPool {
 public:
  // threads in [1, kThreadsMax] counts the calling thread: ThreadPool(1) runs everything inline.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(task, worker) for every task in [0, tasks); worker in [0, threads()) names a private scratch slot.
  // Returns when all are done. Allocates nothing. body must not throw. At most 2^32 - 1 tasks.
  template <typename Body>
  void parallel_for(int64_t tasks, const Body& body) {
    run(tasks, [](const void* context, int64_t task, int worker) { (*static_cast<const Body*>(context))(task, worker); },
        &body);
  }

 private:
  using Call = void (*)(const void*, int64_t, int);
  void run(int64_t tasks, Call call, const void* context);
  // Takes tasks of the current loop until none is left; returns how many it ran.
  uint32_t drain(int worker);
  void worker_main(int worker);

  std::vector<std::thread> workers_;
  // The current loop: written before left_ is, read only by who holds one of its tasks.
  Call call_ = nullptr;
  const void* context_ = nullptr;
  uint32_t tasks_ = 0;
  alignas(64) std::atomic<uint32_t> left_{0};        // tasks that nobody has taken yet
  alignas(64) std::atomic<uint32_t> unfinished_{0};  // tasks that have not ended yet; the caller waits on it
  alignas(64) std::atomic<uint32_t> generation_{0};  // one step per loop; workers wait on it
  std::atomic<bool> stop_{false};
};

// The number of CPUs that this process may really use (affinity and cgroup quota), in [1, kThreadsMax].
int usable_cpus();

}  // namespace umbel
