#include "serve/keys/key_ring.h"

#include <gtest/gtest.h>

#include <fstream>

#include "io/test_folder.h"
#include "serve/keys/key_file.h"

namespace umbel::serve {
namespace {

class KeyRingTest : public testing::Test {
 protected:
  void write(const std::vector<KeySpec>& keys) { ASSERT_TRUE(write_file_atomic(path_, key_file_text(keys)).ok()); }
  static KeySpec key(const std::string& name, const std::string& text) {
    return {.name = name, .sha256 = key_digest(text), .scopes = {Scope::kGenerate}};
  }
  Result<std::unique_ptr<KeyRing>> open() {
    return KeyRing::open({.file = path_, .watch_interval = Duration{}, .clock = &clock_});
  }

  const TestFolder folder_;
  const Path path_ = folder_ / "keys.json";
  ManualClock clock_;
};

TEST_F(KeyRingTest, FindsKeysByWhatTheyAre) {
  write({key("alice", "secret-a"), key("bob", "secret-b")});
  const auto ring = open().value();
  EXPECT_FALSE(ring->is_open());
  ASSERT_NE(ring->find("secret-a"), nullptr);
  EXPECT_EQ(ring->find("secret-a")->spec.name, "alice");
  EXPECT_EQ(ring->find("secret-b")->tenant->name(), "bob");
  EXPECT_EQ(ring->find("secret-c"), nullptr);
  EXPECT_EQ(ring->find(""), nullptr);
  EXPECT_EQ(ring->find(key_digest("secret-a")), nullptr);  // a stolen file opens nothing
}

TEST_F(KeyRingTest, TheCommandLinesKeyHasEveryScope) {
  const auto ring = KeyRing::open({.api_key = "pass"}).value();
  ASSERT_NE(ring->find("pass"), nullptr);
  for (const Scope scope : kScopes) EXPECT_TRUE(ring->find("pass")->spec.has(scope));
  EXPECT_TRUE(ring->find("pass")->spec.may_use("any") && ring->find("pass")->spec.base);
  EXPECT_FALSE(KeyRing::open({.api_key = ""}).ok());
  const auto open = KeyRing::open({}).value();
  EXPECT_TRUE(open->is_open());
  EXPECT_TRUE(open->everybody()->spec.has(Scope::kAdmin));
  EXPECT_TRUE(open->everybody()->spec.may_use("any") && open->everybody()->spec.base);
  write({key("alice", "secret-a")});
  const auto both = KeyRing::open({.file = path_, .api_key = "pass", .watch_interval = Duration{}}).value();
  EXPECT_EQ(both->keys().size(), 2u);
  EXPECT_NE(both->find("pass")->tenant->number(), both->find("secret-a")->tenant->number());
  EXPECT_FALSE(check_key_name("api-key").ok());
}

TEST_F(KeyRingTest, AMissingOrBrokenFileRefusesToStart) {
  EXPECT_FALSE(open().ok());
  std::ofstream(path_) << "keys:\n- name: a\n  sha256: x\n";
  EXPECT_NE(open().status().message().find("keys.json:3"), std::string::npos) << open().status().message();
}

TEST_F(KeyRingTest, AChangedFileCountsOnceItRestsAndRatesGoOn) {
  KeySpec alice = key("alice", "secret-a");
  alice.limits.requests_per_minute = 2;
  write({alice, key("bob", "secret-b")});
  const auto ring = open().value();
  EXPECT_FALSE(ring->poll());
  const KeyRef before = ring->find("secret-a");
  EXPECT_FALSE(before->tenant->admit_request(clock_.now()));
  EXPECT_FALSE(before->tenant->admit_request(clock_.now()));

  alice.adapters = {"poet"};
  write({alice, key("carol", "secret-c")});
  EXPECT_FALSE(ring->poll());  // may still be changing
  EXPECT_EQ(ring->find("secret-c"), nullptr);
  EXPECT_TRUE(ring->poll());
  EXPECT_FALSE(ring->poll());
  const KeyRef after = ring->find("secret-a");
  EXPECT_EQ(after->tenant, before->tenant);
  EXPECT_TRUE(after->tenant->admit_request(clock_.now()));  // still spent
  EXPECT_FALSE(after->spec.may_use("banking"));
  EXPECT_TRUE(before->spec.may_use("banking"));  // a request that runs keeps what it began with
  EXPECT_EQ(ring->find("secret-b"), nullptr);
  EXPECT_NE(ring->find("secret-c"), nullptr);
}

TEST_F(KeyRingTest, ABrokenOrVanishedFileKeepsTheOldKeys) {
  write({key("alice", "secret-a")});
  const auto ring = open().value();
  std::ofstream(path_) << "keys: [";
  EXPECT_FALSE(ring->poll());
  EXPECT_FALSE(ring->poll());
  EXPECT_NE(ring->find("secret-a"), nullptr);
  std::filesystem::remove(path_);
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(ring->poll());
  EXPECT_NE(ring->find("secret-a"), nullptr);
  write({key("alice", "secret-new")});
  EXPECT_FALSE(ring->poll());
  EXPECT_TRUE(ring->poll());
  EXPECT_EQ(ring->find("secret-a"), nullptr);
  EXPECT_NE(ring->find("secret-new"), nullptr);
}

TEST_F(KeyRingTest, ManyKeysAreReadAndFound) {
  std::vector<KeySpec> keys;
  for (int i = 0; i < 2000; ++i) keys.push_back(key("k" + std::to_string(i), std::to_string(i)));
  write(keys);
  const auto ring = open().value();
  EXPECT_EQ(ring->find("1999")->spec.name, "k1999");
}

// Many ask while the file changes under them: each sees one file or the other.
TEST_F(KeyRingTest, IsAskedWhileTheFileChanges) {
  write({key("alice", "secret-a"), key("one", "secret-1")});
  const auto ring = open().value();
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (!stop.load()) {
        const KeyRef found = ring->find("secret-a");
        if (found == nullptr || found->spec.name != "alice") ADD_FAILURE();
        if (found != nullptr) (void)found->tenant->admit_request(ring->now());
        EXPECT_EQ(ring->keys().size(), 2u);
      }
    });
  }
  for (int i = 0; i < 30; ++i) {
    write({key("alice", "secret-a"), key("n" + std::to_string(i), std::to_string(i))});
    ring->poll();
    ring->poll();
  }
  stop.store(true);
  for (std::thread& thread : threads) thread.join();
}

TEST(Tenant, CountsAndRefusesByTheMinute) {
  const auto tenant = std::make_shared<Tenant>("alice", 1);
  ManualClock clock;
  EXPECT_TRUE(tenant->rate_headers(clock.now()).empty());
  tenant->set_limits({.requests_per_minute = 2, .tokens_per_minute = 100}, clock.now());
  EXPECT_FALSE(tenant->admit_request(clock.now()));
  EXPECT_FALSE(tenant->admit_request(clock.now()));
  const auto refused = tenant->admit_request(clock.now());
  ASSERT_TRUE(refused);
  EXPECT_STREQ(refused->unit, "requests");
  EXPECT_EQ(refused->wait, from_seconds(30));
  RateRefusal refusal;
  auto hold = tenant->hold_tokens(70, clock.now(), refusal);
  ASSERT_NE(hold, nullptr);
  EXPECT_EQ(tenant->hold_tokens(70, clock.now(), refusal), nullptr);
  EXPECT_EQ(refusal.per_minute, 100);
  EXPECT_EQ(refusal.wait, from_seconds(24));  // 40 of 100 a minute
  hold->settle(10, clock.now());
  hold.reset();
  auto second = tenant->hold_tokens(90, clock.now(), refusal);
  EXPECT_NE(second, nullptr);
  tenant->count_tokens(3, 4);
  const KeyUsage usage = tenant->usage();
  EXPECT_EQ(usage.requests, 2);
  EXPECT_EQ(usage.rate_limited, 2);
  EXPECT_EQ(usage.prompt_tokens, 3);
  EXPECT_EQ(usage.answer_tokens, 4);
  const auto headers = tenant->rate_headers(clock.now());
  ASSERT_EQ(headers.size(), 6u);
  EXPECT_EQ(headers[1], (std::pair<std::string, std::string>("x-ratelimit-remaining-requests", "0")));
  EXPECT_EQ(headers[2], (std::pair<std::string, std::string>("x-ratelimit-reset-requests", "1m0s")));
  EXPECT_EQ(headers[4], (std::pair<std::string, std::string>("x-ratelimit-remaining-tokens", "0")));
}

}  // namespace
}  // namespace umbel::serve
