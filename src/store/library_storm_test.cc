// Threads that pin, write, remove, load and unload all at once, with a small budget and a watcher: nobody ever computes
// with another adapter than the one its id names, nothing pinned is freed, the budget holds, and all ends well. Meant for
// the thread and address sanitizers as much as for its own checks.
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "base/random.h"
#include "store/adapter_files.h"
#include "store/folder.h"
#include "store/store_test_support.h"

namespace umbel {
namespace {

using testing::load_marked;
using testing::mark_of;
using testing::write_folder;

constexpr size_t kBytes = 4000;
constexpr int kNames = 6;

class LibraryStorm : public ::testing::Test {
 protected:
  LibraryStorm() {
    set_log_level("off");
    for (int name = 0; name < kNames; ++name) write(name, 0);
    const LibraryOptions options{.dir = dir_.path(),
                                 .budget_bytes = 3 * kBytes,
                                 .load_threads = 2,
                                 .watch_interval = from_seconds(0.01),
                                 .loader = [](const Path& folder) { return load_marked(folder, kBytes); }};
    library_ = AdapterLibrary::open(targets_, options).value();
  }
  ~LibraryStorm() override { set_log_level("info"); }

  static std::string name_of(int name) { return "adapter" + std::to_string(name); }

  // Writes a version and notes which mark belongs to its digest. Two writers never write the same folder.
  void write(int name, int round) {
    const auto mark = static_cast<float>(1000 * name + round);
    write_folder(dir_.path(), name_of(name), mark);
    const std::string digest = AdapterFiles::open({.folder = dir_ / name_of(name)}).value().digest({}).value();
    const std::lock_guard lock(marks_mutex_);
    marks_[digest] = mark;
  }

  void use(uint64_t seed) {
    Random random(mix_key({31, seed}));
    std::vector<std::pair<AdapterRef, AdapterHandle>> held;
    while (!stop_) {
      const Result<AdapterRef> ref = library_->resolve(name_of(static_cast<int>(random.next_below(kNames))));
      if (ref.ok()) {
        auto handle = library_->try_pin(*ref);
        if (handle.ok() && handle->has_value()) {
          held.emplace_back(*ref, *std::move(*handle));
          ++pins_;
        } else if (!handle.ok()) {
          ++refusals_;
        }
      }
      for (const auto& [held_ref, handle] : held) check_mark(adapter_id(held_ref), mark_of(handle));
      if (held.size() > 2 || (!held.empty() && random.next_below(3) == 0)) held.erase(held.begin());
      if (library_->resident_bytes() > 3 * kBytes) ++overruns_;
      std::this_thread::sleep_for(std::chrono::microseconds(random.next_below(300)));
    }
  }
  void check_mark(const AdapterId& id, float mark) {
    const std::lock_guard lock(marks_mutex_);
    const auto expected = marks_.find(id.digest);
    if (expected != marks_.end() && expected->second != mark) ++mixed_up_;
  }

  void disturb(uint64_t seed) {
    Random random(mix_key({37, seed}));
    for (int round = 1; !stop_; ++round) {
      const int name = static_cast<int>(random.next_below(kNames / 2) * 2 + seed % 2);
      const uint64_t dice = random.next_below(10);
      if (dice < 5) {
        write(name, round);
      } else if (dice < 6) {
        std::filesystem::remove_all(dir_ / name_of(name));
        write(name, round);
      } else if (dice < 8) {
        (void)library_->unload(name_of(name));
        (void)library_->load(name_of(name), name_of(name));
      } else {
        for (const AdapterInfo& info : library_->list()) listed_ += info.pins;
        library_->rescan();
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(random.next_below(10)));
    }
  }

  TestFolder dir_;
  TargetTable targets_;
  std::unique_ptr<AdapterLibrary> library_;
  std::mutex marks_mutex_;
  std::map<std::string, float> marks_;
  std::atomic<bool> stop_ = false;
  std::atomic<int> pins_ = 0;
  std::atomic<int> refusals_ = 0;
  std::atomic<int> overruns_ = 0;
  std::atomic<int> mixed_up_ = 0;
  std::atomic<int64_t> listed_ = 0;
};

TEST_F(LibraryStorm, NothingIsMixedUpFreedOrExceeded) {
  std::vector<std::thread> threads;
  for (uint64_t seed = 0; seed < 3; ++seed) threads.emplace_back([this, seed] { use(seed); });
  for (uint64_t seed = 0; seed < 2; ++seed) threads.emplace_back([this, seed] { disturb(seed); });
  std::this_thread::sleep_for(std::chrono::seconds(3));
  stop_ = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(mixed_up_, 0);
  EXPECT_EQ(overruns_, 0);
  EXPECT_GT(pins_, 50);
  EXPECT_GT(marks_.size(), static_cast<size_t>(kNames));
  // Afterwards everything works as on the first day.
  for (int name = 0; name < kNames; ++name) write(name, 999);
  library_->rescan();
  for (int name = 0; name < kNames; ++name) {
    const Status loaded = library_->load(name_of(name), name_of(name));
    ASSERT_TRUE(loaded.ok()) << loaded.message();
    EXPECT_EQ(mark_of(library_->pin(library_->resolve(name_of(name)).value()).value()), 1000 * name + 999);
  }
}

TEST_F(LibraryStorm, ItCanBeDestroyedWhileItLoads) {
  for (int i = 0; i < 20; ++i) {
    TargetTable targets;
    const LibraryOptions options{.dir = dir_.path(),
                                 .load_threads = 2,
                                 .watch_interval = from_seconds(0.001),
                                 .loader = [](const Path& folder) { return load_marked(folder, kBytes); }};
    auto library = AdapterLibrary::open(targets, options).value();
    std::vector<AdapterRef> refs;
    for (int name = 0; name < kNames; ++name) {
      refs.push_back(library->resolve(name_of(name)).value());
      (void)library->try_pin(refs.back());
    }
    library.reset();
  }
}

}  // namespace
}  // namespace umbel
