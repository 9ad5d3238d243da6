// How a newer version takes a name over: loaded and checked before the older one goes, whatever happens on the way; kept versions and
// the way back; who goes when room is needed.
#include <gtest/gtest.h>

#include "base/random.h"
#include "store/shelf.h"
#include "store/store_test_support.h"

namespace umbel {
namespace {

using testing::mark_of;
using testing::marked_adapter;

constexpr size_t kBytes = 300;

class UpdateTest : public ::testing::Test {
 protected:
  ~UpdateTest() override { shelf_->close(); }
  void make_shelf(size_t budget, int keep) { shelf_ = std::make_shared<Shelf>(budget, clock_, keep); }

  AdapterRef put(const std::string& name, const std::string& digest, Status broken = ok_status()) {
    EntryFacts facts;
    facts.id = {.name = name, .digest = digest};
    facts.kind = "lora";
    facts.file_bytes = kBytes;
    facts.broken = std::move(broken);
    return shelf_->put(std::move(facts), Shelf::Origin::kFound);
  }
  // Every adapter's mark is its version.
  void load_all() {
    while (const AdapterRef ref = shelf_->poll_load()) {
      shelf_->finish_load(ref, marked_adapter(kBytes, static_cast<float>(adapter_id(ref).version)));
    }
  }
  // What the name answers with now, without waiting; 0 when it can't.
  float answer(const std::string& name) {
    const Result<AdapterRef> ref = shelf_->resolve(name);
    if (!ref.ok()) return 0;
    const PinAnswer pinned = shelf_->try_pin(*ref);
    return pinned.handle ? mark_of(*pinned.handle) : 0;
  }
  float loaded_answer(const std::string& name) {
    (void)answer(name);
    load_all();
    return answer(name);
  }
  AdapterHandle hold(const std::string& name) {
    loaded_answer(name);
    return *shelf_->try_pin(shelf_->resolve(name).value()).handle;
  }
  AdapterInfo info(const std::string& name) { return shelf_->info(shelf_->find(name)); }

  ManualClock clock_;
  std::shared_ptr<Shelf> shelf_ = std::make_shared<Shelf>(1000, clock_, 1);
};

TEST_F(UpdateTest, TheOlderVersionAnswersUntilTheNewerOneIsInMemory) {
  put("a", "one");
  EXPECT_EQ(loaded_answer("a"), 1);
  put("a", "two");
  EXPECT_EQ(answer("a"), 1);
  const AdapterRef loading = shelf_->poll_load();  // by itself: nobody asked for it
  ASSERT_NE(loading, nullptr);
  EXPECT_EQ(answer("a"), 1);
  EXPECT_EQ(shelf_->stats().updates_waiting, 1);
  EXPECT_EQ(info("a").update->id.version, 2);
  shelf_->finish_load(loading, marked_adapter(kBytes, 2));
  EXPECT_EQ(answer("a"), 2);
  EXPECT_EQ(shelf_->stats().updates, 1);
  EXPECT_EQ(shelf_->stats().updates_waiting, 0);
  EXPECT_FALSE(info("a").update);
}

TEST_F(UpdateTest, BrokenFilesAndFailedLoadsNeverTakeOver) {
  put("a", "one");
  EXPECT_EQ(loaded_answer("a"), 1);
  put("a", "half", data_loss("cut short"));
  EXPECT_EQ(loaded_answer("a"), 1);
  EXPECT_EQ(info("a").update->trouble, "cut short");
  put("a", "bad");
  shelf_->finish_load(shelf_->poll_load(), data_loss("no tensor fits"));
  EXPECT_EQ(loaded_answer("a"), 1);
  EXPECT_EQ(info("a").update->trouble, "no tensor fits");
  EXPECT_EQ(shelf_->stats().update_failures, 2);
  EXPECT_EQ(shelf_->who_goes_on(shelf_->newest("a")), "; version 1 goes on answering");
  put("a", "good");
  EXPECT_EQ(loaded_answer("a"), 4);
}

TEST_F(UpdateTest, WhereNothingAnswersYetTheNewestIsTaken) {
  put("a", "one", data_loss("cut short"));
  put("a", "two");
  EXPECT_EQ(loaded_answer("a"), 2);
  put("b", "one");
  put("b", "two");  // the first is in no memory and in no folder any more
  EXPECT_EQ(loaded_answer("b"), 2);
}

TEST_F(UpdateTest, AFullBudgetLetsTheNewerVersionWaitAndSaysSoOnce) {
  make_shelf(2 * kBytes, 1);
  put("a", "one");
  put("b", "one");
  EXPECT_EQ(loaded_answer("a"), 1);
  {
    const AdapterHandle busy = hold("b");
    put("a", "two");
    load_all();
    const std::vector<Status> waiting = shelf_->start_arrivals();
    ASSERT_EQ(waiting.size(), 1u);
    EXPECT_NE(waiting[0].message().find("needs 300 bytes, but of the budget of 600 bytes 600 are in use by running requests and versions that answer"),
              std::string::npos) << waiting[0].message();
    EXPECT_TRUE(shelf_->start_arrivals().empty());
    EXPECT_EQ(answer("a"), 1);
    EXPECT_EQ(info("a").update->trouble, waiting[0].message());
  }
  EXPECT_TRUE(shelf_->start_arrivals().empty());  // b may go now, since it can come back
  load_all();
  EXPECT_EQ(answer("a"), 2);
  EXPECT_EQ(info("a").update.has_value(), false);
}

TEST_F(UpdateTest, TwoVersionsThatNeverFitTogetherAreRefusedByHandAndTheOldOneGoesOn) {
  make_shelf(kBytes + 100, 0);
  put("a", "one");
  EXPECT_EQ(loaded_answer("a"), 1);
  const AdapterRef newer = put("a", "two");
  const PinAnswer pinned = shelf_->try_pin(newer);
  EXPECT_EQ(pinned.wait, PinAnswer::Wait::kRoom);
  EXPECT_TRUE(pinned.held_by_pins);  // so nobody waits for it
  EXPECT_EQ(loaded_answer("a"), 1);
}

TEST_F(UpdateTest, KeptVersionsAnswerByNumberAndDigest) {
  const std::string digests[] = {"0123456789abcdef", "1123456789abcdef", "2123456789abcdef"};
  for (const std::string& digest : digests) {
    put("a", digest);
    loaded_answer("a");
  }
  EXPECT_EQ(answer("a"), 3);
  EXPECT_EQ(answer("a@3"), 3);
  EXPECT_EQ(answer("a@2"), 2);
  EXPECT_EQ(answer("a@1123456789ab"), 2);
  EXPECT_EQ(answer("a@11234567"), 0);  // too few digits to be sure
  EXPECT_EQ(answer("a@1"), 0);         // one is kept, not two
  EXPECT_EQ(shelf_->resolve("a@1").status().code(), Code::kNotFound);
  EXPECT_EQ(shelf_->resolve("b@2").status().code(), Code::kNotFound);
  ASSERT_EQ(info("a").kept.size(), 1u);
  EXPECT_EQ(info("a").kept[0].version, 2);
  put("a@2", "else");  // an adapter that is called so comes first
  EXPECT_EQ(loaded_answer("a@2"), 1);
}

TEST_F(UpdateTest, RollbackAndForwardAgain) {
  put("a", "one");
  EXPECT_EQ(loaded_answer("a"), 1);
  EXPECT_EQ(shelf_->rollback("a", {}).status().code(), Code::kFailedPrecondition);
  put("a", "two");
  load_all();
  EXPECT_EQ(answer("a"), 2);
  EXPECT_EQ(shelf_->rollback("a", 7).status().message(), "adapter \"a\" has no kept version 7; it answers with version 2, kept: 1");
  EXPECT_EQ(shelf_->rollback("a", {}).value().version, 1);
  EXPECT_EQ(answer("a"), 1);
  EXPECT_EQ(answer("a@2"), 2);
  EXPECT_EQ(shelf_->rollback("a", 2).value().version, 2);
  EXPECT_EQ(answer("a"), 2);
  EXPECT_EQ(shelf_->rollback("a", 1).value().version, 1);
  put("a", "three");  // a later version takes over from one that was rolled back to
  load_all();
  EXPECT_EQ(answer("a"), 3);
  EXPECT_EQ(answer("a@1"), 1);
  EXPECT_EQ(shelf_->rollback("x", {}).status().code(), Code::kNotFound);
}

TEST_F(UpdateTest, WhatCanComeBackGoesFirstThenKeptVersionsThenOnesThatAnswer) {
  make_shelf(3 * kBytes, 1);
  put("a", "one");
  loaded_answer("a");
  put("a", "two");
  load_all();
  EXPECT_EQ(shelf_->rollback("a", {}).value().version, 1);  // answers, not in its folder; version 2 can come back
  put("b", "one");
  EXPECT_EQ(loaded_answer("b"), 1);
  put("c", "one");
  EXPECT_EQ(loaded_answer("a@2"), 2);  // used last, but it can come back
  EXPECT_EQ(loaded_answer("c"), 1);
  EXPECT_EQ(answer("a"), 1);
  // b and a@2 make room for each other from here on; a's first version stays until nothing else is left.
  const AdapterHandle b = hold("b"), c = hold("c");
  EXPECT_EQ(loaded_answer("a"), 1);
  put("d", "one");
  EXPECT_EQ(loaded_answer("d"), 1);  // somebody must go for it: a's first version, and the name leads to the second
  EXPECT_EQ(adapter_id(shelf_->find("a")).version, 2);
  EXPECT_EQ(answer("a@1"), 0);
}

TEST_F(UpdateTest, UnderPressureTheNameGoesToTheVersionThatWaited) {
  make_shelf(2 * kBytes, 0);
  put("a", "one");
  put("b", "one");
  put("c", "one");
  loaded_answer("a");
  const AdapterHandle busy = hold("b");
  put("a", "two");
  EXPECT_EQ(answer("a"), 1);
  EXPECT_EQ(loaded_answer("c"), 1);  // a's first version had to go
  EXPECT_EQ(loaded_answer("a"), 2);
}

TEST_F(UpdateTest, AFolderThatWasChangedBackIsTheVersionThatAnswers) {
  put("a", "one");
  const AdapterRef first = shelf_->find("a");
  EXPECT_EQ(loaded_answer("a"), 1);
  put("a", "half", data_loss("cut short"));
  EXPECT_EQ(put("a", "one"), first);
  EXPECT_FALSE(info("a").update);
  EXPECT_EQ(loaded_answer("a"), 1);
}

TEST_F(UpdateTest, UnloadAndRemoveTakeAllVersions) {
  for (const char* name : {"a", "b"}) {
    put(name, "one");
    loaded_answer(name);
  }
  put("a", "two");
  load_all();
  EXPECT_EQ(shelf_->resident_bytes(), 3 * kBytes);
  EXPECT_TRUE(shelf_->unload("a").ok());
  EXPECT_EQ(answer("a@1"), 0);
  shelf_->remove("b");
  EXPECT_EQ(shelf_->resident_bytes(), 0u);
}

// Any order of changes, loads, failures, requests: while nothing had to make room, a name that answered goes on answering, and the
// budget holds.
TEST(UpdateStorm, NamesGoOnAnsweringAndTheBudgetHolds) {
  const size_t kBudget = 6 * kBytes;
  int64_t updates = 0, failures = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Random random(mix_key({31, seed}));
    ManualClock clock;
    const auto shelf = std::make_shared<Shelf>(kBudget, clock, static_cast<int>(seed % 3));
    std::vector<AdapterHandle> held;
    std::map<std::string, bool> answered;
    int64_t evictions = 0;
    for (int step = 0; step < 600; ++step) {
      const std::string name(1, static_cast<char>('a' + random.next_below(3)));
      const uint64_t dice = random.next_below(10);
      if (dice < 2) {
        EntryFacts facts;
        facts.id = {.name = name, .digest = std::to_string(random.next_below(4))};
        facts.file_bytes = kBytes;
        if (random.next_below(4) == 0) facts.broken = data_loss("broken");
        (void)shelf->put(std::move(facts), Shelf::Origin::kFound);
      } else if (dice < 6) {
        if (const AdapterRef ref = shelf->poll_load()) {
          if (random.next_below(4) == 0) shelf->finish_load(ref, data_loss("fails"));
          else shelf->finish_load(ref, marked_adapter(kBytes, 1));
        }
      } else if (dice < 8) {
        if (const AdapterRef ref = shelf->find(name)) {
          PinAnswer pinned = shelf->try_pin(ref);
          if (pinned.handle && held.size() < 3) held.push_back(*std::move(pinned.handle));
        }
      } else if (dice < 9) {
        held.clear();
        clock.advance(kFreshAdapterGrace);
      } else {
        (void)shelf->rollback(name, {});
        (void)shelf->start_arrivals();
      }
      ASSERT_LE(shelf->resident_bytes(), kBudget);
      const bool moved = std::exchange(evictions, shelf->stats().evictions) != evictions;
      for (auto& [other, before] : answered) {
        const AdapterRef ref = shelf->find(other);
        const bool now = ref && shelf->info(ref).state == AdapterState::kResident;
        ASSERT_TRUE(now || !before || moved) << "seed " << seed << " step " << step << ": " << other << " stopped answering";
        before = now;
      }
      answered.try_emplace(name, false);
    }
    updates += shelf->stats().updates;
    failures += shelf->stats().update_failures;
    held.clear();
    shelf->close();
    while (shelf->poll_load() != nullptr) {
    }
    EXPECT_EQ(shelf->resident_bytes(), 0u);
  }
  EXPECT_GT(updates, 100);
  EXPECT_GT(failures, 100);
}

}  // namespace
}  // namespace umbel
