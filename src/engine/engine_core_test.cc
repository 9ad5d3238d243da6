#include "engine/engine_core.h"

#include <gtest/gtest.h>

#include <map>

#include "engine/heap_count_testing.h"
#include "engine/simulation_fakes.h"

namespace umbel {
namespace {

using simulation::FakeEntry;
using simulation::FakeLibrary;
using simulation::FakeModel;
using simulation::FakeRunner;

class EngineCoreTest : public ::testing::Test {
 protected:
  EngineCoreTest() {
    limits_.context_max = 256;
    limits_.sequences_max = 8;
    limits_.step_tokens_max = 64;
    limits_.kv_blocks = 64;
    limits_.queue_max = 100;
    open();
  }
  void open() {
    core_.reset();
    library_ = std::make_unique<FakeLibrary>(clock_, 4);
    runner_ = std::make_unique<FakeRunner>(model_, library_->contents(), limits_);
    core_ = std::make_unique<EngineCore>(CoreParts{*runner_, *library_, clock_, pool_, policy_},
                                         ModelFacts{.vocab = model_.vocab}, limits_);
  }
  std::shared_ptr<Stream> add(Request request) {
    EXPECT_TRUE(validate_request(request, {.vocab = model_.vocab}, limits_).ok());
    auto stream = std::make_shared<Stream>(++ids_);
    core_->add({std::move(request), stream, clock_.now()});
    return stream;
  }
  void run() {
    for (int step = 0; step < 10000 && core_->step() != EngineCore::Outcome::kIdle; ++step) {
      clock_.advance(std::chrono::milliseconds(10));
    }
  }
  static std::vector<TokenEvent> drain(Stream& stream) {
    std::vector<TokenEvent> events;
    while (auto event = stream.poll()) events.push_back(std::move(*event));
    return events;
  }
  static std::vector<int32_t> prompt(int32_t count, int32_t first = 0) {
    std::vector<int32_t> tokens(count);
    for (int32_t i = 0; i < count; ++i) tokens[i] = (first + i * 7) % 24;
    return tokens;
  }

  Limits limits_;
  ManualClock clock_;
  const FakeModel model_;
  ThreadPool pool_{2};
  const Policy policy_;
  uint64_t ids_ = 0;
  std::unique_ptr<FakeLibrary> library_;
  std::unique_ptr<FakeRunner> runner_;
  std::unique_ptr<EngineCore> core_;
};

TEST_F(EngineCoreTest, StepsTakeNothingFromTheHeap) {
  FakeEntry entry{.digest = "d", .content = 5, .cost = 2};
  const AdapterRef adapter = library_->add(entry);
  std::vector<std::shared_ptr<Stream>> streams;
  for (int32_t i = 0; i < 6; ++i) {
    Request request{.prompt = prompt(20 + i, i), .max_tokens = 120};
    request.adapter = i % 2 == 0 ? adapter : nullptr;
    request.sampling = {.temperature = 0.8f, .top_k = 10, .top_p = 0.9f, .repetition_penalty = 1.1f, .seed = 3};
    streams.push_back(add(request));
  }
  for (int step = 0; step < 6; ++step) core_->step();  // prompts are read, everybody answers
  ASSERT_EQ(core_->running(), 6);
  for (int step = 0; step < 100; ++step) {
    const int64_t before = testing::heap_calls();
    core_->step();
    ASSERT_EQ(testing::heap_calls(), before) << "step " << step;
    for (auto& stream : streams) (void)stream->poll();
  }
}

// R20-R28: one client's 192 requests made another wait for 93 s.
TEST_F(EngineCoreTest, ALoneRequestBesideTwoHundredStartsWithinTwoSteps) {
  limits_.queue_max = 300;
  open();
  Request lone{.prompt = prompt(30, 3), .max_tokens = 20, .tenant = 2};
  auto alone = add(lone);
  run();
  const auto expected = drain(*alone);
  for (const bool same_adapter : {true, false}) {
    std::vector<std::shared_ptr<Stream>> crowd;
    FakeEntry entry{.digest = "d", .content = 5, .cost = 9};
    const AdapterRef adapter = library_->add(entry);
    for (int32_t i = 0; i < 200; ++i) {
      crowd.push_back(add({.prompt = prompt(20 + i % 9, i), .adapter = same_adapter ? nullptr : adapter,
                           .max_tokens = 40, .tenant = 1}));
    }
    for (int step = 0; step < 5; ++step) core_->step();
    ASSERT_EQ(core_->running(), limits_.sequences_max);
    const int64_t preemptions = core_->stats().preemptions;
    auto stream = add(lone);
    int steps = 0;
    for (size_t tokens = 0; tokens < 20; ++steps) {
      core_->step();
      for (auto event = stream->poll(); event; event = stream->poll()) {
        ASSERT_EQ(event->token, expected[tokens].token);
        ++tokens;
      }
      ASSERT_TRUE(steps < 1 || tokens >= 1) << "its first token within two steps";
    }
    EXPECT_LE(steps, 2 + 20);
    EXPECT_EQ(core_->stats().preemptions, preemptions + 1);
    run();
    for (const auto& one : crowd) EXPECT_EQ(drain(*one).back().finish, FinishReason::kLength);
  }
}

// All the memory is one tenant's: the other's request has what it needs all the same.
TEST_F(EngineCoreTest, ALoneRequestGetsMemoryOfAnothersMany) {
  limits_.kv_blocks = 24;
  open();
  for (int32_t i = 0; i < 20; ++i) add({.prompt = prompt(40, i), .max_tokens = 60, .tenant = 1});
  for (int step = 0; step < 20; ++step) core_->step();
  ASSERT_LT(core_->running(), limits_.sequences_max) << "memory is what is short";
  auto lone = add({.prompt = prompt(60, 5), .max_tokens = 4, .tenant = 2});
  for (int step = 0; step < 4; ++step) core_->step();  // to be let in, and its prompt beside the others' rows
  EXPECT_FALSE(drain(*lone).empty());
  run();
  EXPECT_EQ(core_->pool().held(), 0);
}

TEST_F(EngineCoreTest, CapsOfTenantsAndAdaptersHold) {
  limits_.adapter_running_max = 2;
  open();
  FakeEntry entry{.digest = "d", .content = 5};
  const AdapterRef adapter = library_->add(entry);
  for (uint64_t tenant = 1; tenant <= 2; ++tenant) {
    for (int32_t i = 0; i < 5; ++i) {
      for (const AdapterRef& of : {adapter, AdapterRef()}) {
        Request request{.prompt = prompt(9, i), .adapter = of, .max_tokens = 9, .tenant = tenant};
        request.tenant_caps.running_max = 3;
        add(request);
      }
    }
  }
  for (int step = 0; step < 500 && core_->step() != EngineCore::Outcome::kIdle; ++step) {
    std::map<uint64_t, int> of_tenant;
    for (const SequenceView& view : core_->last_views()) ++of_tenant[view.tenant];
    for (const auto& [tenant, count] : of_tenant) ASSERT_LE(count, 3);
    int of_adapter = 0;
    for (const PlanEntry& entry : core_->last_plan().entries) of_adapter += entry.adapter != nullptr;
    ASSERT_LE(of_adapter, 2);
    clock_.advance(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(core_->stats().finished, 20);
}

TEST_F(EngineCoreTest, ASharedPromptIsReadOnce) {
  std::vector<std::shared_ptr<Stream>> streams;
  for (uint64_t seed = 0; seed < 4; ++seed) {  // n = 4: submitted together
    Request request{.prompt = prompt(100), .max_tokens = 5};
    request.sampling = {.temperature = 1.0f, .seed = seed};
    streams.push_back(add(request));
  }
  run();
  // 96 tokens in full blocks are shared, the last 4 are read by everybody.
  EXPECT_EQ(core_->stats().prompt_tokens, 100 + 3 * 4);
  EXPECT_EQ(core_->stats().prefix_hit_tokens, 3 * 96);
  EXPECT_EQ(drain(*streams[3]).back().cached_tokens, 96);
}

TEST_F(EngineCoreTest, TheNextTurnFindsTheAnswerToo) {
  auto first = add({.prompt = prompt(20), .max_tokens = 30});
  run();
  Request second{.prompt = prompt(20), .max_tokens = 2};
  for (const TokenEvent& event : drain(*first)) second.prompt.push_back(*event.token);
  second.prompt.push_back(1);
  auto stream = add(second);
  run();
  EXPECT_EQ(drain(*stream).back().cached_tokens, 48);
}

TEST_F(EngineCoreTest, AnotherSaltHasNothingOfTheCache) {
  add({.prompt = prompt(32), .max_tokens = 3, .cache_salt = "mine"});
  run();
  auto other = add({.prompt = prompt(32), .max_tokens = 3, .cache_salt = "another's"});
  auto nobody = add({.prompt = prompt(32), .max_tokens = 3});
  run();
  EXPECT_EQ(drain(*other).back().cached_tokens, 0);
  EXPECT_EQ(drain(*nobody).back().cached_tokens, 0);
  auto mine = add({.prompt = prompt(32), .max_tokens = 3, .cache_salt = "mine"});
  run();
  EXPECT_EQ(drain(*mine).back().cached_tokens, 16);
}

TEST_F(EngineCoreTest, AWholePromptInTheCacheStillComputesItsLastToken) {
  add({.prompt = prompt(32), .max_tokens = 3});
  run();
  auto again = add({.prompt = prompt(32), .max_tokens = 3});
  run();
  const auto events = drain(*again);
  EXPECT_EQ(events.size(), 3u);
  EXPECT_EQ(events.back().cached_tokens, 16);
}

TEST_F(EngineCoreTest, ScoreOnly) {
  auto stream = add({.prompt = prompt(40), .max_tokens = 0, .prompt_logprobs = 2});
  auto single = add({.prompt = {3}, .max_tokens = 0, .prompt_logprobs = 0});
  run();
  const auto events = drain(*stream);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_FALSE(events[0].token);
  EXPECT_EQ(events[0].finish, FinishReason::kLength);
  ASSERT_EQ(events[0].prompt_logprobs.size(), 39u);
  for (size_t i = 0; i < 39; ++i) {
    EXPECT_EQ(events[0].prompt_logprobs[i].token, prompt(40)[i + 1]);
    EXPECT_EQ(events[0].prompt_logprobs[i].top.size(), 2u);
  }
  const auto one = drain(*single);
  ASSERT_EQ(one.size(), 1u);
  EXPECT_TRUE(one[0].prompt_logprobs.empty());
}

TEST_F(EngineCoreTest, ALoadingAdapterStallsNobody) {
  FakeEntry slow{.digest = "slow", .content = 1, .load_time = std::chrono::seconds(1)};
  Request request{.prompt = prompt(5), .max_tokens = 5};
  request.adapter = library_->add(slow);
  auto waiting = add(request);
  auto base = add({.prompt = prompt(5), .max_tokens = 5});
  for (int step = 0; step < 8; ++step) core_->step();
  EXPECT_EQ(drain(*base).size(), 5u);
  EXPECT_TRUE(drain(*waiting).empty());
  EXPECT_EQ(core_->step(), EngineCore::Outcome::kBlocked);
  clock_.advance(std::chrono::seconds(2));
  run();
  const auto events = drain(*waiting);
  ASSERT_EQ(events.size(), 5u);
  EXPECT_EQ(events.back().times.queued, Duration(std::chrono::seconds(2)));
}

TEST_F(EngineCoreTest, ABrokenAdapterEndsItsOwnRequestOnly) {
  FakeEntry broken{.digest = "b", .content = 1, .fails = true};
  Request request{.prompt = prompt(5), .max_tokens = 5};
  request.adapter = library_->add(broken);
  auto failed = add(request);
  auto base = add({.prompt = prompt(5), .max_tokens = 5});
  run();
  const auto events = drain(*failed);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].finish, FinishReason::kError);
  EXPECT_EQ(events[0].status.code(), Code::kFailedPrecondition);
  EXPECT_EQ(drain(*base).size(), 5u);
}

TEST_F(EngineCoreTest, DeadlineAndAbandonedReader) {
  Request late{.prompt = prompt(5), .max_tokens = 200};
  late.deadline = std::chrono::milliseconds(50);
  auto one = add(late);
  auto two = add({.prompt = prompt(5), .max_tokens = 200});
  core_->step();
  two->abandon();
  run();
  const auto events = drain(*one);
  EXPECT_EQ(events.back().status.code(), Code::kDeadlineExceeded);
  EXPECT_GT(events.size(), 3u);
  EXPECT_LT(events.size(), 8u);
  EXPECT_EQ(drain(*two).back().finish, FinishReason::kCancelled);
  EXPECT_EQ(core_->pool().held(), 0);
}

TEST_F(EngineCoreTest, MinTokensMasksEveryEnd) {
  std::vector<int32_t> all(24);
  for (int32_t id = 0; id < 24; ++id) all[id] = id;
  all.pop_back();  // everything ends the answer but id 23
  Request request{.prompt = prompt(5), .max_tokens = 20, .min_tokens = 6, .eos_ids = all};
  auto stream = add(request);
  run();
  const auto events = drain(*stream);
  ASSERT_GE(events.size(), 7u);
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(events[i].token, 23);
  EXPECT_EQ(events.back().finish, events.back().token == 23 ? FinishReason::kLength : FinishReason::kEos);
}

TEST_F(EngineCoreTest, LeavingEndsEveryStream) {
  auto stream = add({.prompt = prompt(5), .max_tokens = 200});
  core_->step();
  core_.reset();
  EXPECT_EQ(drain(*stream).back().finish, FinishReason::kCancelled);
}

TEST_F(EngineCoreTest, RefusalsSayWhy) {
  const auto refused = [&](Request request, Code code, const std::string& words) {
    const Status status = validate_request(request, {.vocab = 24}, limits_);
    EXPECT_EQ(status.code(), code) << words;
    EXPECT_NE(status.message().find(words), std::string::npos) << status.message();
  };
  refused({}, Code::kInvalidArgument, "empty");
  refused({.prompt = {24}}, Code::kInvalidArgument, "24");
  refused({.prompt = {-1}}, Code::kInvalidArgument, "-1");
  refused({.prompt = {1}, .max_tokens = -1}, Code::kInvalidArgument, "max_tokens");
  refused({.prompt = {1}, .max_tokens = 4, .min_tokens = 5}, Code::kInvalidArgument, "min_tokens");
  const std::string long_salt(kCacheSaltBytesMax + 1, 's');
  refused({.prompt = {1}, .cache_salt = long_salt}, Code::kInvalidArgument, "cache_salt");
  refused({.prompt = prompt(250), .max_tokens = 7}, Code::kTooLong, "256");
  refused({.prompt = prompt(250), .max_tokens = INT32_MAX}, Code::kTooLong, "250");
  limits_.kv_blocks = 8;
  refused({.prompt = prompt(120), .max_tokens = 9}, Code::kTooLong, "128");
}

}  // namespace
}  // namespace umbel
