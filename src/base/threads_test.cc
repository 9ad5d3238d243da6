#include "base/threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <set>
#include <thread>
#include <vector>

namespace umbel {
namespace {

TEST(ThreadPool, RunsEveryTaskOnceForAnyCounts) {
  for (int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int64_t tasks : {0, 1, 2, 3, 17, 1000}) {
      std::vector<std::atomic<int>> counts(tasks);
      pool.parallel_for(tasks, [&](int64_t task, int worker) {
        EXPECT_GE(worker, 0);
        EXPECT_LT(worker, threads);
        ++counts[task];
      });
      for (const auto& count : counts) EXPECT_EQ(count, 1);
    }
  }
}

TEST(ThreadPool, TheCallerSeesWhatTheWorkersWrote) {
  ThreadPool pool(4);
  std::vector<int64_t> values(4096);
  for (int64_t round = 0; round < 200; ++round) {
    pool.parallel_for(64, [&](int64_t task, int) {
      for (int64_t i = task * 64; i < (task + 1) * 64; ++i) values[i] = i * round;  // plain writes, no atomics
    });
    ASSERT_EQ(std::accumulate(values.begin(), values.end(), int64_t{0}), round * 4095 * 4096 / 2);
  }
}

TEST(ThreadPool, AWorkersScratchSlotIsItsOwn) {
  ThreadPool pool(4);
  std::vector<std::atomic<int>> inside(4);
  std::atomic<int> clashes = 0;
  for (int round = 0; round < 50; ++round) {
    pool.parallel_for(200, [&](int64_t, int worker) {
      if (inside[worker].fetch_add(1) != 0) ++clashes;
      std::this_thread::yield();
      inside[worker].fetch_sub(1);
    });
  }
  EXPECT_EQ(clashes, 0);
}

// Many short loops one after another: the start and end of a loop are where a pool breaks.
TEST(ThreadPool, SurvivesManyShortLoops) {
  for (int threads : {2, 3, 5}) {
    ThreadPool pool(threads);
    std::atomic<int64_t> total = 0;
    int64_t expected = 0;
    for (int64_t round = 0; round < 3000; ++round) {
      const int64_t tasks = 1 + round % 7;
      pool.parallel_for(tasks, [&](int64_t task, int) { total += task; });
      expected += tasks * (tasks - 1) / 2;
      if (round % 500 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));  // workers fall asleep
    }
    EXPECT_EQ(total, expected);
  }
}

// Every loop has variables of its own on the caller's stack. Far more threads than CPUs, so that most workers come when the loop
// they were called for is over: they may take tasks of a later one, and never touch the old.
TEST(ThreadPool, LateWorkersNeverTouchALoopThatIsOver) {
  ThreadPool pool(24);
  for (int64_t loop = 0; loop < 20000; ++loop) {
    const int64_t tasks = 2 + loop % 5;
    std::atomic<int64_t> sum{0};
    pool.parallel_for(tasks, [&](int64_t task, int) { sum += loop * 100 + task; });
    ASSERT_EQ(sum, tasks * loop * 100 + tasks * (tasks - 1) / 2);
  }
}

TEST(ThreadPool, ComesAndGoes) {
  std::atomic<int64_t> done = 0;  // outlives every pool: a pool that goes has waited for its tasks
  for (int i = 0; i < 100; ++i) {
    ThreadPool pool(3);
    if (i % 2 == 0) pool.parallel_for(3, [&](int64_t, int) { ++done; });
  }
  EXPECT_EQ(done, 50 * 3);
}

TEST(ThreadPool, PoolsOfDifferentOwnersDoNotDisturbEachOther) {
  std::atomic<int64_t> total = 0;
  std::vector<std::thread> owners;
  for (int owner = 0; owner < 3; ++owner) {
    owners.emplace_back([&] {
      ThreadPool pool(2);
      for (int round = 0; round < 300; ++round) pool.parallel_for(10, [&](int64_t, int) { ++total; });
    });
  }
  for (std::thread& owner : owners) owner.join();
  EXPECT_EQ(total, 3 * 300 * 10);
}

TEST(ThreadPool, ThereIsAlwaysACpu) { EXPECT_GE(usable_cpus(), 1); }

}  // namespace
}  // namespace umbel
