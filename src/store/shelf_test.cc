// The shelf against a naive model of it, driven by seeded storms on a clock that a test turns: same residents after every
// step, nothing pinned ever freed, everything freed in the end.
#include "store/shelf.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "base/random.h"
#include "store/store_test_support.h"

namespace umbel {
namespace {

using testing::mark_of;
using testing::marked_adapter;

EntryFacts facts_of(const std::string& name, size_t file_bytes) {
  EntryFacts facts;
  facts.id.name = name;
  facts.id.digest = name;
  facts.kind = "lora";
  facts.file_bytes = file_bytes;
  return facts;
}

class ShelfTest : public ::testing::Test {
 protected:
  ~ShelfTest() override { shelf_->close(); }
  AdapterRef put(const std::string& name, size_t bytes) {
    return shelf_->put(facts_of(name, bytes), Shelf::Origin::kFound);
  }
  // Loads what is queued; every adapter gets the size that its facts guess.
  void load_all() {
    while (const AdapterRef ref = shelf_->poll_load()) {
      shelf_->finish_load(ref, marked_adapter(ref->facts().file_bytes, 1));
    }
  }
  AdapterHandle pin(const AdapterRef& ref) {
    PinAnswer answer = shelf_->try_pin(ref);
    if (!answer.handle) {
      load_all();
      answer = shelf_->try_pin(ref);
    }
    CHECK(answer.handle.has_value(), "the test's adapter is pinned");
    return *std::move(answer.handle);
  }

  ManualClock clock_;
  std::shared_ptr<Shelf> shelf_ = std::make_shared<Shelf>(1000, clock_);
};

TEST_F(ShelfTest, AFreshAdapterWaitsForItsRequesterUntilItsGraceIsOver) {
  const AdapterRef a = put("a", 600);
  const AdapterRef b = put("b", 600);
  EXPECT_EQ(shelf_->try_pin(a).wait, PinAnswer::Wait::kLoading);
  load_all();
  // b may not push a out before a was used once, or its time is over.
  const PinAnswer waiting = shelf_->try_pin(b);
  EXPECT_EQ(waiting.wait, PinAnswer::Wait::kRoom);
  EXPECT_FALSE(waiting.held_by_pins);
  { const AdapterHandle used = pin(a); }
  EXPECT_EQ(shelf_->try_pin(b).wait, PinAnswer::Wait::kLoading);
  load_all();
  EXPECT_EQ(shelf_->resident_bytes(), 600u);
  EXPECT_EQ(shelf_->try_pin(a).wait, PinAnswer::Wait::kRoom);
  clock_.advance(kFreshAdapterGrace);
  EXPECT_EQ(shelf_->try_pin(a).wait, PinAnswer::Wait::kLoading);
}

TEST_F(ShelfTest, ReservationsCountAgainstTheBudget) {
  const AdapterRef a = put("a", 600);
  const AdapterRef b = put("b", 600);
  EXPECT_EQ(shelf_->try_pin(a).wait, PinAnswer::Wait::kLoading);
  EXPECT_EQ(shelf_->try_pin(b).wait, PinAnswer::Wait::kRoom);
  const AdapterRef loading = shelf_->poll_load();
  ASSERT_EQ(loading, a);
  shelf_->finish_load(a, data_loss("broken"));  // gives its reservation back
  EXPECT_EQ(shelf_->try_pin(b).wait, PinAnswer::Wait::kLoading);
  EXPECT_EQ(shelf_->try_pin(a).failure.code(), Code::kDataLoss);
  shelf_->forget_failure(a);
  EXPECT_TRUE(shelf_->try_pin(a).failure.ok());
}

TEST_F(ShelfTest, AGuessThatWasTooSmallIsCorrectedBeforeAnythingIsExceeded) {
  const AdapterRef a = put("a", 400);
  const AdapterRef b = put("b", 100);
  const AdapterHandle held = pin(a);
  EXPECT_EQ(shelf_->try_pin(b).wait, PinAnswer::Wait::kLoading);
  const AdapterRef loading = shelf_->poll_load();
  shelf_->finish_load(loading, marked_adapter(700, 1));  // 700 in memory, only 600 are left
  EXPECT_EQ(shelf_->resident_bytes(), 400u);
  const PinAnswer answer = shelf_->try_pin(b);
  EXPECT_EQ(answer.wait, PinAnswer::Wait::kRoom);
  EXPECT_TRUE(answer.held_by_pins);
  EXPECT_EQ(answer.no_room.code(), Code::kOutOfMemory);
  EXPECT_NE(answer.no_room.message().find("needs 700 bytes, but of the budget of 1000 bytes 400"), std::string::npos)
      << answer.no_room.message();
}

TEST_F(ShelfTest, AGuessThatIsTooLargeRulesNothingOut) {
  const AdapterRef a = put("a", 5000);
  EXPECT_EQ(shelf_->try_pin(a).wait, PinAnswer::Wait::kLoading);
  shelf_->finish_load(shelf_->poll_load(), marked_adapter(1000, 1));
  EXPECT_TRUE(shelf_->try_pin(a).handle.has_value());
}

TEST_F(ShelfTest, WhatBuildingTakesCountsAgainstTheBudgetUntilItIsDone) {
  EntryFacts facts = facts_of("a", 400);
  facts.build_bytes = 500;
  const AdapterRef a = shelf_->put(std::move(facts), Shelf::Origin::kFound);
  const AdapterRef b = put("b", 300);
  EXPECT_EQ(shelf_->try_pin(a).wait, PinAnswer::Wait::kLoading);
  EXPECT_EQ(shelf_->try_pin(b).wait, PinAnswer::Wait::kRoom);  // 900 of 1000 are promised
  shelf_->finish_load(shelf_->poll_load(), marked_adapter(400, 1));
  EXPECT_EQ(shelf_->try_pin(b).wait, PinAnswer::Wait::kLoading);
  EXPECT_EQ(shelf_->resident_bytes(), 400u);
}

TEST_F(ShelfTest, OneThatCanNeverBeBuiltWithinTheBudgetIsRefusedWithTheNumbers) {
  EntryFacts facts = facts_of("a", 400);
  facts.build_bytes = 1200;
  const AdapterRef a = shelf_->put(std::move(facts), Shelf::Origin::kFound);
  const Status refused = shelf_->try_pin(a).failure;
  EXPECT_EQ(refused.code(), Code::kOutOfMemory);
  for (const char* part : {"1200", "while it is loaded", "1000"}) EXPECT_NE(refused.message().find(part), std::string::npos) << refused.message();
}

TEST_F(ShelfTest, TheSmallLaneLeavesLargeFilesToOthers) {
  const auto shelf = std::make_shared<Shelf>(4 * kLargeFileBytes, clock_);
  const AdapterRef large = shelf->put(facts_of("large", kLargeFileBytes + 1), Shelf::Origin::kFound);
  const AdapterRef small = shelf->put(facts_of("small", 100), Shelf::Origin::kFound);
  (void)shelf->try_pin(large);
  (void)shelf->try_pin(small);
  EXPECT_EQ(shelf->next_load(Lane::kSmall), small);
  EXPECT_EQ(shelf->next_load(Lane::kAny), large);
  for (const AdapterRef& ref : {large, small}) shelf->finish_load(ref, data_loss("the end"));
  shelf->close();
  EXPECT_EQ(shelf->next_load(Lane::kSmall), nullptr);
}

TEST_F(ShelfTest, ANameThatIsBeingReadIsAskedForAgainAndNotUnknown) {
  shelf_->expect("a", Shelf::Expect::kSoon);
  EXPECT_EQ(shelf_->resolve("a").status().code(), Code::kUnavailable);
  EXPECT_NE(shelf_->resolve("a").status().message().find("send the request again"), std::string::npos);
  shelf_->expect("a", Shelf::Expect::kNoMore);
  EXPECT_EQ(shelf_->resolve("a").status().code(), Code::kNotFound);
}

TEST_F(ShelfTest, UnloadingWhileLoadingLeavesNothing) {
  const AdapterRef a = put("a", 600);
  EXPECT_EQ(shelf_->try_pin(a).wait, PinAnswer::Wait::kLoading);
  EXPECT_TRUE(shelf_->unload("a").ok());
  load_all();
  EXPECT_EQ(shelf_->resident_bytes(), 0u);
  EXPECT_EQ(shelf_->try_pin(a).failure.code(), Code::kFailedPrecondition);
  EXPECT_EQ(put("a", 600), nullptr);
  EXPECT_NE(shelf_->put(facts_of("a", 600), Shelf::Origin::kByHand), nullptr);
}

// ---- the storm ------------------------------------------------------------------------------------------------------

// One version as the model sees it.
struct ModelEntry {
  AdapterRef ref;  // what a request would hold; null once let go
  size_t bytes = 0;
  bool load_fails = false;
  bool served = true;
  bool unloaded = false;
  bool resident = false;
  bool loading = false;
  bool failed = false;
  bool exact = false;
  size_t need = 0;
  size_t reserved = 0;
  uint64_t last_used = 0;
  TimePoint kept_until{};
  float mark = 0;
  std::vector<AdapterHandle> handles;
  std::weak_ptr<const Adapter> alive;
};

// How often the storms came through the places that matter: a storm that is too calm proves nothing.
struct Weather {
  int steps = 0;
  int pins = 0;
  int evictions = 0;
  int full = 0;
  int drained = 0;
  int replaced_pinned = 0;
  int too_large = 0;
};

// Plays the same operations on the shelf and on plain lists, and compares.
class Storm {
 public:
  Storm(uint64_t seed, Weather& weather) : weather_(weather), random_(mix_key({23, seed})),
        budget_(300 + random_.next_below(1000)) {
    shelf_ = std::make_shared<Shelf>(budget_, clock_);
  }

  void run(int steps) {
    for (int step = 0; step < steps && !::testing::Test::HasFatalFailure(); ++step) {
      one_step();
      compare();
      ++weather_.steps;
    }
    finish();
  }

 private:
  static constexpr int kNames = 6;
  std::string name(uint64_t index) { return std::string(1, static_cast<char>('a' + index)); }
  ModelEntry* pick() { return entries_.empty() ? nullptr : entries_[random_.next_below(entries_.size())].get(); }
  ModelEntry* served(const std::string& name) {
    for (auto& entry : entries_) {
      if (entry->served && entry->ref && adapter_id(entry->ref).name == name) return entry.get();
    }
    return nullptr;
  }

  void one_step() {
    const uint64_t dice = random_.next_below(100);
    if (dice < 4) put();
    else if (dice < 5) remove();
    else if (dice < 6) unload();
    else if (dice < 46) try_pin();
    else if (dice < 70) release();
    else if (dice < 90) load_one();
    else if (dice < 97) clock_.advance(kFreshAdapterGrace / 2);
    else let_go();
  }

  void put() {
    const std::string name = this->name(random_.next_below(kNames));
    if (ModelEntry* old = served(name)) {
      if (old->resident) shelf_->remove(name);  // else it would go on answering until the new one is loaded
      replace(*old);
    }
    auto entry = std::make_unique<ModelEntry>();
    entry->bytes = 64 + 4 * random_.next_below(150);
    entry->need = 64 + 4 * random_.next_below(200);
    entry->load_fails = random_.next_below(8) == 0;
    entry->mark = static_cast<float>(++marks_);
    entry->ref = shelf_->put(facts_of(name, entry->need), Shelf::Origin::kByHand);
    ASSERT_NE(entry->ref, nullptr);
    ASSERT_EQ(adapter_id(entry->ref).version, ++versions_[name]);
    entries_.push_back(std::move(entry));
  }
  void replace(ModelEntry& entry) {
    entry.served = false;
    weather_.replaced_pinned += !entry.handles.empty();
  }
  void remove() {
    const std::string name = this->name(random_.next_below(kNames));
    shelf_->remove(name);
    if (ModelEntry* old = served(name)) replace(*old);
  }
  void unload() {
    const std::string name = this->name(random_.next_below(kNames));
    ModelEntry* old = served(name);
    ASSERT_EQ(shelf_->unload(name).ok(), old != nullptr);
    if (!old) return;
    old->served = false;
    old->unloaded = true;
    weather_.drained += !old->handles.empty();
    if (old->handles.empty()) old->resident = false;
  }

  // The room that a need of this many bytes finds: evicts in the model, slowly.
  bool make_room(size_t need) {
    std::vector<ModelEntry*> victims;
    while (true) {
      size_t total = need;
      for (auto& entry : entries_) {
        total += entry->reserved;
        const bool gone = std::find(victims.begin(), victims.end(), entry.get()) != victims.end();
        if (entry->resident && !gone) total += entry->bytes;
      }
      if (total <= budget_) break;
      ModelEntry* oldest = nullptr;
      for (auto& entry : entries_) {
        const bool movable = entry->resident && entry->handles.empty() && clock_.now() >= entry->kept_until &&
                             std::find(victims.begin(), victims.end(), entry.get()) == victims.end();
        if (movable && (!oldest || entry->last_used < oldest->last_used)) oldest = entry.get();
      }
      if (!oldest) return false;
      victims.push_back(oldest);
    }
    for (ModelEntry* victim : victims) victim->resident = false;
    weather_.evictions += static_cast<int>(victims.size());
    return true;
  }

  void try_pin() {
    ModelEntry* entry = pick();
    if (!entry || !entry->ref) return;
    PinAnswer answer = shelf_->try_pin(entry->ref);
    if (entry->unloaded) {
      ASSERT_EQ(answer.failure.code(), Code::kFailedPrecondition);
    } else if (entry->resident) {
      ASSERT_TRUE(answer.handle.has_value());
      ASSERT_EQ(mark_of(*answer.handle), entry->mark);
      entry->handles.push_back(*std::move(answer.handle));
      entry->last_used = ++uses_;
      entry->kept_until = TimePoint{};
      ++weather_.pins;
    } else if (entry->loading) {
      ASSERT_EQ(answer.wait, PinAnswer::Wait::kLoading);
    } else if (entry->failed) {
      ASSERT_EQ(answer.failure.code(), Code::kDataLoss);
    } else if (!entry->served) {
      ASSERT_EQ(answer.failure.code(), Code::kUnavailable);
    } else if (entry->exact && entry->need > budget_) {
      ASSERT_EQ(answer.failure.code(), Code::kOutOfMemory);
      ++weather_.too_large;
    } else if (make_room(std::min(entry->need, budget_))) {
      ASSERT_EQ(answer.wait, PinAnswer::Wait::kLoading);
      entry->loading = true;
      entry->reserved = std::min(entry->need, budget_);
      queue_.push_back(entry);
    } else {
      ASSERT_EQ(answer.wait, PinAnswer::Wait::kRoom);
      ++weather_.full;
    }
  }

  void release() {
    ModelEntry* entry = pick();
    if (!entry || entry->handles.empty()) return;
    const size_t kept = random_.next_below(entry->handles.size());
    while (entry->handles.size() > kept) {
      std::swap(entry->handles[random_.next_below(entry->handles.size())], entry->handles.back());
      entry->handles.pop_back();
      entry->last_used = ++uses_;
    }
    settle(*entry);
  }

  void load_one() {
    const AdapterRef ref = shelf_->poll_load();
    ASSERT_EQ(ref != nullptr, !queue_.empty());
    if (!ref) return;
    ModelEntry& entry = *queue_.front();
    queue_.erase(queue_.begin());
    entry.loading = false;
    entry.reserved = 0;
    if (entry.load_fails) {
      shelf_->finish_load(ref, data_loss("a broken file"));
      entry.failed = true;
    } else {
      std::shared_ptr<const Adapter> adapter = marked_adapter(entry.bytes, entry.mark);
      entry.alive = adapter;
      made_.push_back(adapter);
      shelf_->finish_load(ref, std::move(adapter));
      entry.need = entry.bytes;
      entry.exact = true;
      if (!entry.unloaded && make_room(entry.bytes)) {
        entry.resident = true;
        entry.last_used = ++uses_;
        entry.kept_until = clock_.now() + kFreshAdapterGrace;
      }
    }
    settle(entry);
  }

  // A request forgets its adapter (its handles stay).
  void let_go() {
    ModelEntry* entry = pick();
    if (!entry) return;
    if (entry->served) return;  // the model finds the served ones through their ref
    entry->ref.reset();
    settle(*entry);
  }

  // What nobody holds and no name leads to is gone.
  void settle(ModelEntry& entry) {
    if (entry.unloaded && entry.handles.empty()) entry.resident = false;
    if (!entry.served && !entry.ref && entry.handles.empty() && !entry.loading) entry.resident = false;
  }

  void compare() {
    size_t resident = 0;
    size_t names = 0;
    std::erase_if(entries_, [&](const auto& entry) {
      settle(*entry);
      return !entry->served && !entry->ref && entry->handles.empty() && !entry->loading;
    });
    for (auto& entry : entries_) {
      resident += entry->resident ? entry->bytes : 0;
      names += entry->served || (entry->unloaded && !entry->handles.empty());
      if (!entry->handles.empty()) {
        ASSERT_TRUE(entry->resident);
        ASSERT_FALSE(entry->alive.expired());
        ASSERT_EQ(mark_of(entry->handles.front()), entry->mark);
      }
    }
    ASSERT_EQ(shelf_->resident_bytes(), resident);
    ASSERT_LE(resident, budget_);
    const std::vector<AdapterInfo> infos = shelf_->list();
    ASSERT_EQ(infos.size(), names);
    for (const AdapterInfo& info : infos) {
      ModelEntry* entry = served(info.id.name);
      if (!entry || info.state == AdapterState::kDraining) continue;
      const AdapterState expected = entry->resident  ? AdapterState::kResident
                                    : entry->loading ? AdapterState::kLoading
                                    : entry->failed  ? AdapterState::kFailed
                                                     : AdapterState::kKnown;
      ASSERT_EQ(info.state, expected);
      ASSERT_EQ(info.pins, static_cast<int32_t>(entry->handles.size()));
      ASSERT_EQ(info.bytes, entry->resident ? entry->bytes : 0);
    }
  }

  // Everybody lets go: no adapter may stay alive.
  void finish() {
    while (const AdapterRef ref = shelf_->poll_load()) shelf_->finish_load(ref, data_loss("the end"));
    entries_.clear();
    shelf_->close();
    (void)shelf_->poll_load();
    EXPECT_EQ(shelf_->resident_bytes(), 0u);
    for (const auto& adapter : made_) EXPECT_TRUE(adapter.expired());
    const std::weak_ptr<Shelf> shelf = shelf_;
    shelf_.reset();
    EXPECT_TRUE(shelf.expired());
  }

  Weather& weather_;
  Random random_;
  const size_t budget_;
  ManualClock clock_;
  std::shared_ptr<Shelf> shelf_;
  std::vector<std::unique_ptr<ModelEntry>> entries_;
  std::vector<ModelEntry*> queue_;
  std::vector<std::weak_ptr<const Adapter>> made_;
  std::map<std::string, int64_t> versions_;
  uint64_t uses_ = 0;
  int marks_ = 0;
};

TEST(ShelfStorm, EqualsTheNaiveModel) {
  constexpr int kSeeds = 2000;
  constexpr int kSteps = 300;
  Weather weather;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    Storm(seed, weather).run(kSteps);
    if (::testing::Test::HasFailure()) return;
  }
  EXPECT_EQ(weather.steps, kSeeds * kSteps);
  EXPECT_GT(weather.pins, kSeeds * 10);
  EXPECT_GT(weather.evictions, kSeeds);
  EXPECT_GT(weather.full, kSeeds / 2);
  EXPECT_GT(weather.drained, kSeeds / 10);
  EXPECT_GT(weather.replaced_pinned, kSeeds / 2);
  EXPECT_GT(weather.too_large, kSeeds / 100);
}

}  // namespace
}  // namespace umbel
