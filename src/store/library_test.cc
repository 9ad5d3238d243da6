#include "store/library.h"

#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "adapters/test_support.h"
#include "base/sanitized_testing.h"
#include "store/store_test_support.h"

namespace umbel {
namespace {

using testing::load_marked;
using testing::mark_of;
using testing::write_folder;

constexpr size_t kBytes = 1000;

class LibraryTest : public ::testing::Test {
 protected:
  LibraryTest() {
    options_.dir = dir_.path();
    options_.watch_interval = Duration{};
    options_.loader = [](const Path& folder) { return load_marked(folder, kBytes); };
  }
  void open() {
    auto opened = AdapterLibrary::open(targets_, options_);
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    library_ = *std::move(opened);
  }
  AdapterRef ref(const std::string& name) { return library_->resolve(name).value(); }
  AdapterHandle pin(const std::string& name) { return library_->pin(ref(name)).value(); }
  AdapterInfo info(const std::string& name) {
    for (const AdapterInfo& info : library_->list()) {
      if (info.id.name == name) return info;
    }
    return {};
  }
  // Waits until the condition holds; false after the time is over.
  template <typename Condition>
  static bool eventually(const Condition& condition, double seconds = 10) {
    for (int i = 0; i < seconds * 200; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }

  TestFolder dir_;
  TargetTable targets_;
  LibraryOptions options_;
  std::unique_ptr<AdapterLibrary> library_;
};

TEST_F(LibraryTest, AllAreKnownAtStartAndLoadedOnFirstUse) {
  std::atomic<int> loads = 0;
  options_.loader = [&](const Path& folder) {
    ++loads;
    return load_marked(folder, kBytes);
  };
  write_folder(dir_.path(), "a", 1, 3);
  write_folder(dir_.path(), "b", 2);
  open();
  EXPECT_EQ(loads, 0);
  EXPECT_EQ(library_->list().size(), 2u);
  EXPECT_EQ(info("a").state, AdapterState::kKnown);
  EXPECT_EQ(info("a").kind, "lora");
  EXPECT_EQ(info("a").rank_max, 3);
  EXPECT_EQ(info("a").id.version, 1);
  EXPECT_EQ(info("a").id.digest.size(), 64u);
  EXPECT_NE(info("a").id.digest, info("b").id.digest);
  const AdapterHandle one = pin("a");
  const AdapterHandle again = pin("a");
  EXPECT_EQ(mark_of(one), 1);
  EXPECT_EQ(loads, 1);
  EXPECT_EQ(info("a").state, AdapterState::kResident);
  EXPECT_EQ(info("a").pins, 2);
  EXPECT_EQ(info("a").bytes, kBytes);
  EXPECT_EQ(library_->resident_bytes(), kBytes);
}

TEST_F(LibraryTest, TryPinNeverWaitsAndTheBaseIsEmpty) {
  std::atomic<bool> go = false;
  options_.loader = [&](const Path& folder) {
    while (!go) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return load_marked(folder, kBytes);
  };
  write_folder(dir_.path(), "a", 1);
  open();
  const AdapterRef a = ref("a");
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(library_->try_pin(a)->has_value());
  EXPECT_EQ(info("a").state, AdapterState::kLoading);
  const auto base = library_->try_pin(nullptr);
  ASSERT_TRUE(base->has_value());
  EXPECT_EQ((*base)->adapter(), nullptr);
  go = true;
  EXPECT_TRUE(eventually([&] { return library_->try_pin(a)->has_value(); }));
}

TEST_F(LibraryTest, AnUnknownNameNamesTheKnown) {
  write_folder(dir_.path(), "a", 1);
  write_folder(dir_.path(), "b", 1);
  open();
  const auto missing = library_->resolve("c");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.status().code(), Code::kNotFound);
  EXPECT_NE(missing.status().message().find("known: a, b"), std::string::npos);
}

TEST_F(LibraryTest, OfAFolderOfManyOnlyTheNamedOneIsRead) {
  for (const char* name : {"a", "b", "c"}) write_folder(dir_.path(), name, 1);
  options_.only = {"b"};
  open();
  ASSERT_EQ(library_->list().size(), 1u);
  EXPECT_EQ(mark_of(pin("b")), 1);
  EXPECT_EQ(library_->resolve("a").status().code(), Code::kNotFound);
  library_->rescan();
  EXPECT_EQ(library_->list().size(), 1u);
}

TEST_F(LibraryTest, AMissingFolderIsAnErrorAndNoneIsFine) {
  options_.dir = dir_ / "missing";
  EXPECT_EQ(AdapterLibrary::open(targets_, options_).status().code(), Code::kNotFound);
  options_.dir = Path();
  open();
  EXPECT_TRUE(library_->list().empty());
  EXPECT_EQ(library_->load("a", "a").code(), Code::kFailedPrecondition);
}

TEST_F(LibraryTest, ABrokenFolderIsListedWithItsReasonAndStopsNobody) {
  write_folder(dir_.path(), "good", 1);
  std::filesystem::create_directories(dir_ / "broken");
  std::ofstream(dir_ / "broken" / "adapter_config.json") << "{";
  std::filesystem::create_directories(dir_ / "half");
  std::ofstream(dir_ / "half" / "adapter_config.json") << R"({"peft_type":"LORA","r":1,"target_modules":["q_proj"]})";
  std::filesystem::create_directories(dir_ / "alien");
  std::ofstream(dir_ / "alien" / "adapter_config.json") << R"({"peft_type":"NO_SUCH_KIND"})";
  open();
  EXPECT_EQ(mark_of(pin("good")), 1);
  for (const char* name : {"broken", "half", "alien"}) {
    EXPECT_EQ(info(name).state, AdapterState::kFailed) << name;
    EXPECT_NE(info(name).error, "") << name;
    EXPECT_FALSE(library_->try_pin(ref(name)).ok()) << name;
  }
  write_folder(dir_.path(), "half", 7);
  library_->rescan();
  EXPECT_EQ(mark_of(pin("half")), 7);
  EXPECT_EQ(info("half").id.version, 2);
}

TEST_F(LibraryTest, AFailedLoadKeepsItsReasonUntilTheFolderChanges) {
  options_.loader = [](const Path& folder) -> Result<std::shared_ptr<const Adapter>> {
    auto adapter = load_marked(folder, kBytes);
    if (adapter.ok() && (*adapter)->norm_gain(0)[0] < 0) return unsupported("a negative mark");
    if (adapter.ok() && (*adapter)->norm_gain(0)[0] == 0) throw std::bad_alloc();
    return adapter;
  };
  write_folder(dir_.path(), "a", -1);
  write_folder(dir_.path(), "thrower", 0);
  open();
  const auto failed = library_->pin(ref("a"));
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.status().code(), Code::kUnsupported);
  EXPECT_NE(failed.status().message().find("negative"), std::string::npos);
  EXPECT_EQ(info("a").state, AdapterState::kFailed);
  EXPECT_NE(info("a").error.find("negative"), std::string::npos);
  EXPECT_EQ(library_->pin(ref("thrower")).status().code(), Code::kUnavailable) << "it passes: the next request may find memory";
  EXPECT_FALSE(library_->load("a", "a").ok());  // tried again, fails again
  write_folder(dir_.path(), "a", 5);
  library_->rescan();
  EXPECT_EQ(mark_of(pin("a")), 5);
}

TEST_F(LibraryTest, TheBudgetIsExactAndTheLeastRecentlyUsedGoes) {
  options_.budget_bytes = 3 * kBytes;
  ManualClock clock;
  options_.clock = &clock;
  for (const char* name : {"a", "b", "c", "d"}) write_folder(dir_.path(), name, 1);
  open();
  for (const char* name : {"a", "b", "c", "a"}) (void)pin(name);
  EXPECT_EQ(library_->resident_bytes(), 3 * kBytes);
  (void)pin("d");
  EXPECT_EQ(library_->resident_bytes(), 3 * kBytes);
  EXPECT_EQ(info("b").state, AdapterState::kKnown);
  EXPECT_EQ(info("b").bytes, 0u);
  for (const char* name : {"a", "c", "d"}) EXPECT_EQ(info(name).state, AdapterState::kResident) << name;
}

TEST_F(LibraryTest, PinnedAdaptersStayAndTheRefusalHasTheNumbers) {
  options_.budget_bytes = 2 * kBytes;
  for (const char* name : {"a", "b", "c"}) write_folder(dir_.path(), name, 1);
  open();
  std::optional<AdapterHandle> a = pin("a");
  const AdapterHandle b = pin("b");
  // The first guess is the file's size; after a load that found no room the exact size is known.
  EXPECT_TRUE(eventually([&] { return !library_->pin(ref("c")).ok(); }));
  const Status refused = library_->pin(ref("c")).status();
  EXPECT_EQ(refused.code(), Code::kOutOfMemory);
  EXPECT_NE(refused.message().find("needs "), std::string::npos);
  EXPECT_NE(refused.message().find("2000"), std::string::npos) << refused.message();
  EXPECT_FALSE(library_->try_pin(ref("c"))->has_value());  // waits for its turn instead
  a.reset();
  EXPECT_EQ(mark_of(pin("c")), 1);
  EXPECT_LE(library_->resident_bytes(), 2 * kBytes);
}

TEST_F(LibraryTest, OneThatCanNeverFitIsRefusedWithBothNumbers) {
  options_.budget_bytes = kBytes - 4;
  write_folder(dir_.path(), "a", 1);
  open();
  const Status refused = library_->pin(ref("a")).status();
  EXPECT_EQ(refused.code(), Code::kOutOfMemory);
  EXPECT_NE(refused.message().find("needs 1000 bytes; the budget for adapters is 996"), std::string::npos)
      << refused.message();
  EXPECT_EQ(library_->try_pin(ref("a")).status().code(), Code::kOutOfMemory);
  EXPECT_EQ(library_->resident_bytes(), 0u);
}

TEST_F(LibraryTest, AReplacedAdapterFinishesOnTheOldVersion) {
  write_folder(dir_.path(), "a", 1);
  open();
  const AdapterRef old = ref("a");
  std::optional<AdapterHandle> running = library_->pin(old).value();
  write_folder(dir_.path(), "a", 2);
  library_->rescan();
  const AdapterRef now = ref("a");
  EXPECT_NE(old, now);
  EXPECT_EQ(adapter_id(now).version, 2);
  EXPECT_NE(adapter_id(now).digest, adapter_id(old).digest);
  const AdapterHandle fresh = library_->pin(now).value();
  EXPECT_EQ(mark_of(*running), 1);
  EXPECT_EQ(mark_of(fresh), 2);
  EXPECT_EQ(mark_of(library_->pin(old).value()), 1);  // one that waited for the old version gets it
  EXPECT_EQ(library_->resident_bytes(), 2 * kBytes);
  running.reset();
}

TEST_F(LibraryTest, AnOldVersionGoesWithItsLastHolder) {
  write_folder(dir_.path(), "a", 1);
  open();
  std::optional<AdapterHandle> running = pin("a");
  write_folder(dir_.path(), "a", 2);
  library_->rescan();
  EXPECT_EQ(library_->resident_bytes(), 2 * kBytes);  // the newer one was loaded before it took over
  running.reset();
  // A loading thread frees it, not the one that let go.
  for (int i = 0; i < 10000 && library_->resident_bytes() > kBytes; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(library_->resident_bytes(), kBytes);
}

TEST_F(LibraryTest, AVersionThatIsGoneIsRefusedNotMixedUp) {
  write_folder(dir_.path(), "a", 1);
  open();
  const AdapterRef waiting = ref("a");
  write_folder(dir_.path(), "a", 2);
  library_->rescan();
  const Status refused = library_->pin(waiting).status();
  EXPECT_EQ(refused.code(), Code::kUnavailable);
  EXPECT_NE(refused.message().find("send it again"), std::string::npos);
}

TEST_F(LibraryTest, AFolderThatChangesWhileItIsReadIsANewVersion) {
  std::atomic<int> loads = 0;
  options_.loader = [&](const Path& folder) {
    if (++loads == 1) write_folder(dir_.path(), "a", 2);
    return load_marked(folder, kBytes);
  };
  write_folder(dir_.path(), "a", 1);
  open();
  EXPECT_EQ(library_->pin(ref("a")).status().code(), Code::kUnavailable);
  library_->rescan();
  EXPECT_EQ(mark_of(pin("a")), 2);
  EXPECT_EQ(info("a").id.version, 2);
}

TEST_F(LibraryTest, TheSameContentIsTheSameVersion) {
  write_folder(dir_.path(), "a", 1);
  open();
  const AdapterRef before = ref("a");
  (void)pin("a");
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  write_folder(dir_.path(), "a", 1);
  library_->rescan();
  EXPECT_EQ(ref("a"), before);
  EXPECT_EQ(info("a").state, AdapterState::kResident);
}

TEST_F(LibraryTest, ARemovedFolderIsForgottenButRunningRequestsFinish) {
  write_folder(dir_.path(), "a", 1);
  open();
  const AdapterHandle running = pin("a");
  std::filesystem::remove_all(dir_ / "a");
  library_->rescan();
  EXPECT_EQ(library_->resolve("a").status().code(), Code::kNotFound);
  EXPECT_EQ(mark_of(running), 1);
  write_folder(dir_.path(), "a", 3);
  library_->rescan();
  EXPECT_EQ(mark_of(pin("a")), 3);
  EXPECT_EQ(info("a").id.version, 2);
}

TEST_F(LibraryTest, UnloadDrains) {
  write_folder(dir_.path(), "a", 1);
  open();
  const AdapterRef a = ref("a");
  std::optional<AdapterHandle> running = pin("a");
  EXPECT_TRUE(library_->unload("a").ok());
  EXPECT_EQ(info("a").state, AdapterState::kDraining);
  EXPECT_EQ(library_->resolve("a").status().code(), Code::kFailedPrecondition);
  EXPECT_FALSE(library_->try_pin(a).ok());
  EXPECT_FALSE(library_->unload("a").ok());
  EXPECT_EQ(mark_of(*running), 1);
  EXPECT_EQ(library_->resident_bytes(), kBytes);
  running.reset();
  EXPECT_EQ(library_->resident_bytes(), 0u);
  EXPECT_TRUE(library_->list().empty());
  library_->rescan();
  EXPECT_EQ(library_->resolve("a").status().code(), Code::kNotFound);  // the folder is there, but it was unloaded
  EXPECT_TRUE(library_->load("a", "a").ok());
  EXPECT_EQ(mark_of(pin("a")), 1);
  EXPECT_EQ(info("a").id.version, 2);
}

TEST_F(LibraryTest, LoadByHandGivesAFolderAnotherName) {
  write_folder(dir_.path(), "a", 1);
  write_folder(dir_ / "group", "deep", 4);
  options_.reserved_names = {"seedling"};
  open();
  EXPECT_TRUE(library_->load("other", "group/deep").ok());
  EXPECT_EQ(info("other").state, AdapterState::kResident);
  EXPECT_EQ(mark_of(pin("other")), 4);
  EXPECT_TRUE(library_->load("other", "group/deep").ok());
  EXPECT_EQ(library_->load("other", "a").code(), Code::kAlreadyExists);
  library_->rescan();
  EXPECT_EQ(mark_of(pin("other")), 4);
  write_folder(dir_ / "group", "deep", 5);
  library_->rescan();
  EXPECT_EQ(mark_of(pin("other")), 5);
  std::filesystem::remove_all(dir_ / "group");
  library_->rescan();
  EXPECT_EQ(library_->resolve("other").status().code(), Code::kNotFound);
  EXPECT_EQ(library_->load("seedling", "a").code(), Code::kInvalidArgument);
  EXPECT_EQ(library_->load("bad name", "a").code(), Code::kInvalidArgument);
  EXPECT_EQ(library_->load("x", "../x").code(), Code::kInvalidArgument);
  EXPECT_EQ(library_->load("x", (dir_ / "a").string()).code(), Code::kInvalidArgument);
  EXPECT_EQ(library_->load("x", "missing").code(), Code::kNotFound);
}

TEST_F(LibraryTest, HandlesOutliveTheLibrary) {
  write_folder(dir_.path(), "a", 1);
  open();
  const AdapterRef a = ref("a");
  const AdapterHandle handle = pin("a");
  library_.reset();
  EXPECT_EQ(mark_of(handle), 1);
  EXPECT_EQ(adapter_id(a).name, "a");
}

TEST_F(LibraryTest, AStopDoesNotWaitForFoldersThatNobodyHasLookedAt) {
  options_.watch_interval = std::chrono::milliseconds(1);
  for (int i = 0; i < 600; ++i) write_folder(dir_.path(), "f" + std::to_string(i), i);
  open();
  for (int i = 0; i < 600; ++i) write_folder(dir_.path(), "f" + std::to_string(i), i + 1);
  ASSERT_TRUE(eventually([&] {
    for (const AdapterInfo& info : library_->list()) {
      if (info.id.version > 1) return true;  // the first of the changed ones: the rest waits
    }
    return false;
  }, /*seconds=*/60));
  const auto begin = std::chrono::steady_clock::now();
  library_.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

TEST_F(LibraryTest, TheWatcherPicksUpNewChangedAndRemovedFoldersWithinTwoSeconds) {
  options_.watch_interval = from_seconds(1.0);
  open();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  write_folder(dir_.path(), "a", 1);
  EXPECT_TRUE(eventually([&] { return library_->resolve("a").ok(); }, 2));
  EXPECT_EQ(mark_of(pin("a")), 1);
  write_folder(dir_.path(), "a", 2);
  EXPECT_TRUE(eventually([&] { return info("a").id.version == 2; }, 2));
  EXPECT_EQ(mark_of(pin("a")), 2);
  std::filesystem::remove_all(dir_ / "a");
  EXPECT_TRUE(eventually([&] { return !library_->resolve("a").ok(); }, 2));
}

TEST_F(LibraryTest, AFolderThatIsBeingWrittenIsLeftAloneUntilItRests) {
  options_.watch_interval = from_seconds(0.05);
  write_folder(dir_.path(), "source", 9);
  const std::string tensors = read_file(dir_ / "source" / kAdapterTensorsName).value();
  open();
  std::filesystem::create_directories(dir_ / "slow");
  std::filesystem::copy_file(dir_ / "source" / kAdapterConfigName, dir_ / "slow" / kAdapterConfigName);
  {
    std::ofstream file(dir_ / "slow" / kAdapterTensorsName, std::ios::binary);
    for (size_t i = 0; i < tensors.size(); i += 16) {  // about half a second of copying
      file << tensors.substr(i, 16) << std::flush;
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
    }
  }
  EXPECT_TRUE(eventually([&] { return library_->resolve("slow").ok(); }, 2));
  EXPECT_EQ(mark_of(pin("slow")), 9);
  EXPECT_EQ(info("slow").id.version, 1);
}

// The whole way, with the real loader: files as PEFT has them, terms that compute.
TEST_F(LibraryTest, LoadsARealAdapterThroughTheRealLoader) {
  const testing::SmallBase base;
  options_.loader = nullptr;
  Random random(4);
  const Target& q = base.at("model.layers.0.self_attn.q_proj");
  const Tensor a = testing::random_tensor(random, {2, q.in});
  const Tensor b = testing::random_tensor(random, {q.out, 2});
  const std::string path = "base_model.model.model.layers.0.self_attn.q_proj.";
  const Json config = {{"peft_type", "LORA"}, {"r", 2}, {"lora_alpha", 4}, {"target_modules", {"layers.0.self_attn.q_proj"}}};
  ASSERT_TRUE(write_peft_dir(dir_ / "a", config, {{path + "lora_A.weight", a.view()}, {path + "lora_B.weight", b.view()}}).ok());
  auto opened = AdapterLibrary::open(base.targets(), options_);
  ASSERT_TRUE(opened.ok());
  const AdapterHandle handle = (*opened)->pin((*opened)->resolve("a").value()).value();
  const LinearTerms* terms = handle.adapter()->linear(base.targets().find("model.layers.0.self_attn.q_proj"));
  ASSERT_NE(terms, nullptr);
  ASSERT_EQ(terms->low_rank.size(), 1u);
  EXPECT_EQ(terms->low_rank[0].rank, 2);
  EXPECT_EQ(terms->low_rank[0].scale, 2.0f);
  EXPECT_EQ((*opened)->resident_bytes(), handle.adapter()->bytes());
}

// Folders whose files are too large to be read within a test.
class GiantTest : public LibraryTest {
 protected:
  GiantTest() {
    options_.budget_bytes = size_t{1} << 42;
    options_.watch_interval = from_seconds(0.05);
    options_.start_wait = from_seconds(0.02);
    write_folder(dir_.path(), "giant", 1);
    constexpr uint64_t kBytesOfGiant = uint64_t{500} << 30;  // of holes; hashing them would take minutes
    const std::string header = R"({"x":{"dtype":"U8","shape":[)" + std::to_string(kBytesOfGiant) + R"(],"data_offsets":[0,)" +
                               std::to_string(kBytesOfGiant) + "]}}";
    const Path tensors = dir_ / "giant" / kAdapterTensorsName;
    std::ofstream out(tensors, std::ios::binary);
    for (int i = 0; i < 8; ++i) out << static_cast<char>(header.size() >> (8 * i));
    out << header << std::flush;
    std::filesystem::resize_file(tensors, 8 + header.size() + kBytesOfGiant);
  }
};

TEST_F(GiantTest, HoldsNobodyUpAndEndsWithTheLibrary) {
  write_folder(dir_.path(), "good", 1);
  open();  // does not wait for it
  EXPECT_TRUE(eventually([&] { return library_->resolve("good").ok(); }));
  EXPECT_EQ(mark_of(pin("good")), 1);
  write_folder(dir_.path(), "newcomer", 2);
  EXPECT_TRUE(eventually([&] { return library_->resolve("newcomer").ok(); }));
  EXPECT_EQ(mark_of(pin("newcomer")), 2);
  EXPECT_TRUE(library_->load("by-hand", "good").ok());
  EXPECT_EQ(library_->resolve("giant").status().code(), Code::kUnavailable);
  library_.reset();  // and here the test would hang
}

TEST_F(GiantTest, StopReadingEndsALoadByHand) {
  open();
  Status loaded;
  std::thread loading([&] { loaded = library_->load("by-hand", "giant"); });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  library_->stop_reading();
  loading.join();  // and here
  EXPECT_EQ(loaded.code(), Code::kUnavailable);
}

// What the process has for itself: mapped files are the page cache's.
size_t own_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) return std::stoul(line.substr(line.find_first_of("0123456789"))) * 1024;
  }
  return 0;
}

TEST_F(LibraryTest, LoadingStaysWithinTheBudget) {
  if (testing::kSanitized) GTEST_SKIP() << "a sanitizer keeps memory of its own";
  constexpr int64_t kWidth = 2048, kRank = 512;
  constexpr int kModules = 8;
  TargetTable targets;
  std::map<std::string, Tensor> tensors;
  for (int i = 0; i < kModules; ++i) {
    const std::string path = "layers." + std::to_string(i) + ".q_proj";
    targets.add({.path = path, .kind = TargetKind::kLinear, .in = kWidth, .out = kWidth});
    tensors.emplace("base_model.model." + path + ".lora_A.weight", Tensor(DType::kF32, {kRank, kWidth}));
    tensors.emplace("base_model.model." + path + ".lora_B.weight", Tensor(DType::kF32, {kWidth, kRank}));
  }
  std::map<std::string, TensorView> views;
  for (const auto& [name, tensor] : tensors) views.emplace(name, tensor.view());
  const Json config = {{"peft_type", "LORA"}, {"r", kRank}, {"lora_alpha", 1}, {"target_modules", {"q_proj"}}};
  ASSERT_TRUE(write_peft_dir(dir_ / "a", config, views).ok());
  tensors.clear();
  // 64 MB as they are, and three times the largest tensor of 4 MB while they are built; a copy of the file would be 64 more.
  options_.loader = nullptr;
  options_.budget_bytes = size_t{96} << 20;
  auto library = AdapterLibrary::open(targets, options_).value();
  const size_t before = own_bytes();
  std::atomic<bool> done = false;
  size_t most = 0;
  std::thread watcher([&] {
    while (!done) most = std::max(most, own_bytes());
  });
  const auto handle = library->pin(library->resolve("a").value());
  done = true;
  watcher.join();
  ASSERT_TRUE(handle.ok()) << handle.status().message();
  EXPECT_GE(most, before + (size_t{60} << 20));  // it was seen
  EXPECT_LE(most, before + options_.budget_bytes);
}

}  // namespace
}  // namespace umbel
