// The engine under seeded storms on a virtual clock, against a naive model of the truth: an answer is a function of its
// own prompt, parameters and adapter content only. UMBEL_SEEDS sets the number of storms (default 300; the long run:
// 10000).
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <optional>
#include <set>

#include "engine/engine_core.h"
#include "engine/simulation_fakes.h"

namespace umbel {
namespace {

using simulation::FakeEntry;
using simulation::FakeLibrary;
using simulation::FakeModel;
using simulation::FakeRunner;

constexpr int32_t kContext = 96;
constexpr int32_t kDynamicContext = 40;

// One request and what is known of it from outside.
struct Case {
  Request request;
  uint64_t content = 0;
  bool adapter_fails = false;
  std::shared_ptr<Stream> stream;
  uint64_t tenant = 0;
  int64_t submitted_step = 0;
  bool cancelled = false;
  bool done = false;
  std::vector<TokenEvent> events;
};

struct Truth {
  std::vector<int32_t> tokens;
  std::vector<TokenLogprobs> logprobs;
  std::vector<TokenLogprobs> prompt_logprobs;
  FinishReason finish = FinishReason::kLength;
};

bool has(const std::vector<int32_t>& ids, int32_t id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); }

// Token by token, alone, without cache, blocks or batches.
Truth truth_of(const FakeModel& model, const Case& one) {
  const Request& request = one.request;
  Truth truth;
  std::vector<int32_t> tokens = request.prompt;
  std::vector<uint64_t> values;
  std::vector<float> logits(model.vocab);
  SamplerScratch scratch(model.vocab);
  const auto prompt_tokens = static_cast<int32_t>(request.prompt.size());
  for (int32_t position = 0; position < static_cast<int32_t>(tokens.size()); ++position) {
    const int32_t rope_length = position < prompt_tokens ? prompt_tokens : position + 1;
    values.push_back(model.row_value(tokens[position], position, rope_length, one.content,
                                          [&](int32_t j) { return values[j]; }));
    model.logits(values.back(), logits.data());
    if (position + 1 < prompt_tokens) {
      if (request.prompt_logprobs >= 0) {
        truth.prompt_logprobs.push_back(token_logprobs(logits, tokens[position + 1], request.prompt_logprobs, scratch));
      }
      continue;
    }
    const auto step = static_cast<int32_t>(tokens.size()) - prompt_tokens;
    if (step >= request.max_tokens) break;
    SampleInput input{request.sampling, logits, tokens, prompt_tokens};
    if (step < request.min_tokens) {
      input.banned = request.eos_ids;
      input.banned_more = request.stop_ids;
    }
    const int32_t token = sample_token(input, scratch);
    tokens.push_back(token);
    truth.tokens.push_back(token);
    if (request.logprobs >= 0) truth.logprobs.push_back(token_logprobs(logits, token, request.logprobs, scratch));
    if (!request.ignore_eos && has(request.eos_ids, token)) return truth.finish = FinishReason::kEos, truth;
    if (has(request.stop_ids, token)) return truth.finish = FinishReason::kStop, truth;
  }
  return truth;
}

bool same(const TokenLogprobs& a, const TokenLogprobs& b) {
  return a.token == b.token && a.logprob == b.logprob && a.rank == b.rank && a.top == b.top;
}

// What the canary may break.
struct Flaws {
  const Policy* policy = nullptr;
  bool digests_alike = false;
  bool tenants_alike = false;  // first come, first served: the engine doesn't see who asks
};

class Storm {
 public:
  Storm(uint64_t seed, const Flaws& flaws)
      : random_(seed), flaws_(flaws), tenants_(random_.next_below(3) == 0 ? 1 : 2 + random_.next_below(3)),
        limits_(random_limits()),
        model_{.dynamic_context = random_.next_below(3) == 0 ? kDynamicContext : 0}, library_(clock_, 1 + random_.next_below(4)), pool_(1),
        runner_(model_, library_.contents(), limits_),
        core_({runner_, library_, clock_, pool_, flaws.policy != nullptr ? *flaws.policy : policy_},
              {.vocab = model_.vocab, .dynamic_rope_context = model_.dynamic_context}, limits_) {
    library_.digests_alike = flaws.digests_alike;
    for (int name = 0; name < 5; ++name) publish_adapter(name);
    for (auto& prefix : prefixes_) prefix = random_tokens(16 * (1 + random_.next_below(3)) + random_.next_below(5));
  }

  // The first thing that went wrong, or nullopt.
  std::optional<std::string> run() {
    const int64_t arrivals = 10 + static_cast<int64_t>(random_.next_below(30));
    const uint64_t spacing = 1 + random_.next_below(5);
    while (static_cast<int64_t>(cases_.size()) < arrivals || core_.running() + core_.waiting() > 0) {
      if (static_cast<int64_t>(cases_.size()) < arrivals && random_.next_below(spacing) == 0) arrive();
      disturb();
      clock_.advance(std::chrono::milliseconds(1 + random_.next_below(20)));
      const EngineCore::Outcome outcome = core_.step();
      if (outcome == EngineCore::Outcome::kBlocked) clock_.advance(std::chrono::milliseconds(50));
      core_.clear_finished();
      read_streams();
      check_step();
      if (wrong_) return wrong_;
      if (core_.step_number() > 200000) return "the engine does not come to an end";
    }
    if (core_.pool().held() != 0) fail("blocks leaked: " + std::to_string(core_.pool().held()));
    for (const Case& one : cases_) check_case(one);
    return wrong_;
  }

  const EngineStats stats() const { return core_.stats(); }

 private:
  Limits random_limits() {
    Limits limits;
    limits.context_max = kContext;
    limits.sequences_max = 1 + static_cast<int32_t>(random_.next_below(8));
    limits.step_tokens_max = 1 + static_cast<int32_t>(random_.next_below(48));
    limits.queue_max = 1000;
    limits.kv_blocks = kContext / kernels::kKvBlockSize + static_cast<int32_t>(random_.next_below(8));
    if (random_.next_below(3) == 0) limits.kv_blocks = 300;  // plenty
    if (random_.next_below(4) == 0) limits.tenant_running_max = 1 + static_cast<int32_t>(random_.next_below(4));
    if (random_.next_below(4) == 0) limits.adapter_running_max = 1 + static_cast<int32_t>(random_.next_below(4));
    limits.prompt_logprob_rows_max = 1 + static_cast<int32_t>(random_.next_below(9));
    limits.prefill_chunk_max = 1 + static_cast<int32_t>(random_.next_below(24));
    limits.prefix_cache = random_.next_below(4) != 0;
    return limits;
  }

  std::vector<int32_t> random_tokens(uint64_t count) {
    std::vector<int32_t> tokens(count);
    for (int32_t& token : tokens) token = static_cast<int32_t>(random_.next_below(model_.vocab));
    return tokens;
  }

  // A new version under this name: other contents, another digest.
  void publish_adapter(int name) {
    constexpr int32_t kCosts[] = {1, 1, 2, 5, 16};
    FakeEntry entry{.content = ++contents_, .cost = kCosts[name], .fails = random_.next_below(16) == 0};
    entry.digest = "digest " + std::to_string(entry.content);
    entry.load_time = std::chrono::milliseconds(random_.next_below(400));
    fails_[name] = entry.fails;
    content_[name] = entry.content;
    names_[name] = library_.add(entry);
  }

  SamplingParams random_sampling() {
    SamplingParams params;
    params.seed = random_.next_below(1000);
    if (random_.next_below(2) == 0) return params;
    params.temperature = static_cast<float>(random_.next_double()) * 1.5f;
    if (random_.next_below(3) == 0) params.top_k = static_cast<int32_t>(random_.next_below(10));
    if (random_.next_below(3) == 0) params.top_p = 0.5f + 0.5f * static_cast<float>(random_.next_double());
    if (random_.next_below(3) == 0) params.repetition_penalty = 1.2f;
    if (random_.next_below(3) == 0) params.presence_penalty = 0.5f;
    return params;
  }

  void arrive() {
    Case one;
    Request& request = one.request;
    if (random_.next_below(2) == 0) request.prompt = prefixes_[random_.next_below(3)];
    for (int32_t token : random_tokens(1 + random_.next_below(20))) request.prompt.push_back(token);
    request.sampling = random_sampling();
    const uint64_t left = kContext - request.prompt.size();
    request.max_tokens = static_cast<int32_t>(random_.next_below(3) == 0 ? left : random_.next_below(std::min<uint64_t>(left, 40)));
    if (random_.next_below(4) == 0) request.eos_ids = {1, 2};
    if (random_.next_below(5) == 0) request.stop_ids = {3};
    if (random_.next_below(5) == 0) request.min_tokens = request.max_tokens / 2;
    request.ignore_eos = random_.next_below(6) == 0;
    if (random_.next_below(4) == 0) request.logprobs = static_cast<int32_t>(random_.next_below(4));
    if (random_.next_below(6) == 0) request.prompt_logprobs = static_cast<int32_t>(random_.next_below(3));
    if (random_.next_below(12) == 0) request.deadline = std::chrono::milliseconds(random_.next_below(600));
    if (random_.next_below(3) != 0) {
      const uint64_t name = random_.next_below(names_.size());
      request.adapter = names_[name];
      one.content = content_[name];
      one.adapter_fails = fails_[name];
    }
    const Status valid = validate_request(request, {.vocab = model_.vocab}, limits_);
    if (!valid.ok()) return fail("a valid request was refused: " + valid.to_string());
    one.stream = std::make_shared<Stream>(cases_.size());
    one.submitted_step = core_.step_number();
    one.tenant = random_.next_below(2) == 0 ? 0 : random_.next_below(tenants_);  // the first one is greedy
    request.tenant = flaws_.tenants_alike ? 0 : one.tenant;
    if (random_.next_below(8) == 0) request.cache_salt = "salt";
    work_ += work_of(one);
    core_.add({request, one.stream, clock_.now()});
    cases_.push_back(std::move(one));
  }
  static int64_t work_of(const Case& one) {
    return static_cast<int64_t>(one.request.prompt.size()) + one.request.max_tokens;
  }

  void disturb() {
    if (random_.next_below(25) == 0) publish_adapter(static_cast<int>(random_.next_below(5)));
    if (cases_.empty() || random_.next_below(20) != 0) return;
    Case& one = cases_[random_.next_below(cases_.size())];
    if (one.done) return;
    one.stream->abandon();
    one.cancelled = true;
  }

  void check_step() {
    const Plan& plan = core_.last_plan();
    int64_t cost = 0;
    std::set<const Adapter*> seen;
    for (size_t i = 0; i < plan.entries.size(); ++i) {
      const PlanEntry& entry = plan.entries[i];
      cost += static_cast<int64_t>(entry.rows()) * (entry.adapter == nullptr ? 1 : entry.adapter->cost());
      if (entry.rows() > limits_.prefill_chunk_max) fail("a chunk is longer than allowed");
      if (i > 0 && plan.entries[i - 1].adapter == entry.adapter) continue;
      if (!seen.insert(entry.adapter).second) fail("one adapter's sequences are not neighbours");
    }
    if (cost > limits_.step_tokens_max && plan.rows() != 1) {
      fail("the step costs " + std::to_string(cost) + ", the budget is " + std::to_string(limits_.step_tokens_max));
    }
    check_fairness();
    check_lanes();
    check_places();
  }

  // Memory is never what anybody waits for.
  bool memory_is_plenty() const {
    int64_t blocks = 0;
    for (const Case& one : cases_) blocks += one.done ? 0 : blocks_for(static_cast<int32_t>(work_of(one))) + 1;
    return blocks + 1 <= limits_.kv_blocks;
  }
  const Case& case_of(const SequenceView& view) const { return cases_[view.arrival - 1]; }

  // What one tenant runs on one adapter has a row at least in every second step where its rows cost no more than its
  // equal share of a step.
  void check_lanes() {
    struct Seen {
      int32_t cost = 0;
      int64_t served = 0;
      bool scores = false;
    };
    std::map<std::pair<uint64_t, uint64_t>, Seen> lanes;  // by tenant and adapter's content
    std::map<uint64_t, int32_t> lanes_of;
    for (const SequenceView& view : core_.last_views()) {
      const Case& one = case_of(view);
      Seen& seen = lanes[{one.tenant, one.content}];
      lanes_of[one.tenant] += seen.cost == 0;
      seen.cost = view.cost;
      seen.served = std::max({seen.served, view.served_step, last_event_[{one.tenant, one.content}]});
      seen.scores |= one.request.prompt_logprobs >= 0;
    }
    const bool plenty = memory_is_plenty();
    const bool scored = std::any_of(lanes.begin(), lanes.end(), [](const auto& lane) { return lane.second.scores; });
    std::map<std::pair<uint64_t, uint64_t>, int> still;
    for (const auto& [key, seen] : lanes) {
      const int64_t share = limits_.step_tokens_max / static_cast<int64_t>(lanes_of.size()) / lanes_of[key.first];
      if (!plenty || scored || seen.cost > share) continue;
      still[key] = entitled_[key] + 1;
      if (still[key] > 3 && core_.step_number() - seen.served > 2) {
        fail("tenant " + std::to_string(key.first) + " was not given its share for " +
             std::to_string(core_.step_number() - seen.served - 1) + " steps");
      }
    }
    entitled_ = std::move(still);
  }

  // A tenant of whom nothing runs has a place within two steps where another has two or more.
  void check_places() {
    std::map<uint64_t, int32_t> running;
    std::set<uint64_t> arrivals;
    for (const SequenceView& view : core_.last_views()) {
      ++running[case_of(view).tenant];
      arrivals.insert(view.arrival);
    }
    const bool another_has_two =
        std::any_of(running.begin(), running.end(), [](const auto& tenant) { return tenant.second >= 2; });
    std::map<uint64_t, int> still;
    for (size_t index = 0; index < cases_.size(); ++index) {
      const Case& one = cases_[index];
      const bool waits = !one.done && !arrivals.contains(index + 1) && one.request.adapter == nullptr;
      if (!waits || running.contains(one.tenant) || !another_has_two || !memory_is_plenty()) continue;
      const auto [place, made] = still.try_emplace(one.tenant, unseated_[one.tenant] + 1);
      if (made && place->second > 2) fail("a tenant of whom nothing runs waits for a place");
    }
    unseated_ = std::move(still);
  }

  // The oldest running sequence is never preempted and never waits longer than the policy promises.
  void check_fairness() {
    const auto& views = core_.last_views();
    if (views.empty()) return;
    const auto oldest = std::min_element(views.begin(), views.end(), [](const SequenceView& a, const SequenceView& b) {
      return a.arrival < b.arrival;
    });
    // Before it was the oldest it may have waited for memory.
    if (oldest->arrival != oldest_arrival_) oldest_since_ = core_.step_number();
    const int64_t unserved = core_.step_number() - std::max(oldest->served_step, oldest_since_);
    // Steps between two turns of its lane, at most: see FairShares.
    std::set<std::pair<uint64_t, uint64_t>> lanes;
    for (const SequenceView& view : views) lanes.insert({view.tenant, view.lane});
    const auto count = static_cast<int64_t>(lanes.size());
    const int64_t turn = count == 1 ? 1 : 2 + 2 * oldest->cost * count * count / limits_.step_tokens_max + 2 * count;
    oldest_turn_ = std::max(oldest->arrival == oldest_arrival_ ? oldest_turn_ : 0, turn);
    if (unserved > (kAgedSteps + limits_.sequences_max + 1) * oldest_turn_) {
      fail("the oldest running sequence was not served for " + std::to_string(unserved) + " steps");
    }
    // Arrivals are numbered from 1, as the cases are from 0.
    if (oldest->arrival > oldest_arrival_ && oldest_arrival_ > 0 && !cases_[oldest_arrival_ - 1].done) {
      fail("the oldest sequence was preempted");
    }
    oldest_arrival_ = oldest->arrival;
  }

  void read_streams() {
    for (Case& one : cases_) {
      while (!one.done) {
        std::optional<TokenEvent> event = one.stream->poll();
        if (!event) break;
        one.done = event->finish != FinishReason::kNone;
        // Who has ended, for whatever reason, is in no view, and may have had the lane's last row.
        if (event->token || one.done) last_event_[{one.tenant, one.content}] = core_.step_number();
        one.events.push_back(std::move(*event));
      }
      if (one.done && one.stream->poll()) fail("an event came after the last one");
      // Steps in which a request can be passed over, at worst, by everything else, one row at a time; and about 500
      // steps of patience for its adapter.
      const int64_t bound = 1000 + 2 * limits_.sequences_max * work_;
      if (!one.done && core_.step_number() - one.submitted_step > bound) {
        fail("request " + std::to_string(one.stream->id()) + " starves: " + std::to_string(one.events.size()) +
             " events in " + std::to_string(core_.step_number() - one.submitted_step) + " steps, " +
             std::to_string(core_.running()) + " run, " + std::to_string(core_.waiting()) + " wait");
      }
    }
  }

  void check_case(const Case& one) {
    const std::string name = "request " + std::to_string(one.stream->id()) + ": ";
    if (one.events.empty() || !one.done) return fail(name + "no last event");
    const Truth truth = truth_of(model_, one);
    const TokenEvent& last = one.events.back();
    size_t tokens = 0;
    for (const TokenEvent& event : one.events) {
      if (&event != &last && event.finish != FinishReason::kNone) fail(name + "two last events");
      if (!event.token) continue;
      if (tokens >= truth.tokens.size() || truth.tokens[tokens] != *event.token) return fail(name + "a wrong token");
      const bool wanted = one.request.logprobs >= 0;
      if (wanted != event.logprobs.has_value()) return fail(name + "logprobs missing or not asked for");
      if (wanted && !same(*event.logprobs, truth.logprobs[tokens])) return fail(name + "wrong logprobs");
      ++tokens;
    }
    const bool complete = last.finish != FinishReason::kCancelled && last.finish != FinishReason::kError;
    if (!complete) return check_broken_off(one, last);
    if (tokens != truth.tokens.size()) return fail(name + "tokens are missing");
    if (last.finish != truth.finish) fail(name + "a wrong finish reason");
    if (last.prompt_tokens != static_cast<int32_t>(one.request.prompt.size())) fail(name + "wrong prompt_tokens");
    const auto& prompt = one.events.front().prompt_logprobs;
    if (!std::equal(prompt.begin(), prompt.end(), truth.prompt_logprobs.begin(), truth.prompt_logprobs.end(), same)) {
      fail(name + "wrong prompt logprobs");
    }
  }

  void check_broken_off(const Case& one, const TokenEvent& last) {
    const bool late = last.status.code() == Code::kDeadlineExceeded && one.request.deadline.has_value();
    const bool broken = last.status.code() == Code::kFailedPrecondition && one.adapter_fails;
    if (last.finish == FinishReason::kCancelled ? !one.cancelled : !late && !broken) {
      fail("request " + std::to_string(one.stream->id()) + ": broken off without a reason: " + last.status.to_string());
    }
  }

  void fail(std::string what) {
    if (!wrong_) wrong_ = std::move(what);
  }

  Random random_;
  const Flaws flaws_;
  const uint64_t tenants_;
  const Limits limits_;
  ManualClock clock_;
  const FakeModel model_;
  FakeLibrary library_;
  ThreadPool pool_;
  Policy policy_;
  FakeRunner runner_;
  EngineCore core_;
  std::array<AdapterRef, 5> names_;
  std::array<uint64_t, 5> content_{};
  std::array<bool, 5> fails_{};
  std::array<std::vector<int32_t>, 3> prefixes_;
  uint64_t contents_ = 0;
  std::vector<Case> cases_;
  uint64_t oldest_arrival_ = 0;
  int64_t oldest_since_ = 0;
  int64_t oldest_turn_ = 0;
  int64_t work_ = 0;  // rows of all requests
  std::map<std::pair<uint64_t, uint64_t>, int> entitled_;  // for how many steps a lane has had a claim to a row
  std::map<std::pair<uint64_t, uint64_t>, int64_t> last_event_;  // of a lane: its step
  std::map<uint64_t, int> unseated_;                       // and a tenant to a place
  std::optional<std::string> wrong_;
};

uint64_t seeds() {
  const char* text = std::getenv("UMBEL_SEEDS");
  return text == nullptr ? 300 : std::strtoull(text, nullptr, 10);
}

TEST(EngineSimulation, StormsEndWithTheTruth) {
  EngineStats sum;
  for (uint64_t seed = 1; seed <= seeds(); ++seed) {
    Storm storm(seed, {});
    const auto wrong = storm.run();
    ASSERT_FALSE(wrong) << "seed " << seed << ": " << *wrong;
    sum.preemptions += storm.stats().preemptions;
    sum.prefix_hit_tokens += storm.stats().prefix_hit_tokens;
    sum.finished += storm.stats().finished;
  }
  // The storms must reach the hard parts, or they prove nothing.
  EXPECT_GT(sum.preemptions, static_cast<int64_t>(seeds() / 2));
  EXPECT_GT(sum.prefix_hit_tokens, static_cast<int64_t>(seeds() * 16));
  EXPECT_GT(sum.finished, static_cast<int64_t>(seeds() * 10));
}

// ---- canaries: each of these broken engines must be caught ----------------------------------------------------------

bool caught(const Flaws& flaws, const std::string& word) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    if (const auto wrong = Storm(seed, flaws).run(); wrong && wrong->find(word) != std::string::npos) return true;
  }
  return false;
}

struct NewestFirst final : Policy {
  bool before(const SequenceView& a, const SequenceView& b, int64_t) const override { return a.arrival > b.arrival; }
};
struct BlindToCost final : Policy {
  int32_t rows(const SequenceView& view, int32_t budget_left, bool) const override {
    return std::min(view.remaining, budget_left);
  }
};
struct OldestYields final : Policy {
  bool yields(const SequenceView&, const SequenceView&) const override { return true; }
};
struct NobodyYields final : Policy {
  bool yields(const SequenceView&, const SequenceView&) const override { return false; }
  bool admits(const AdmissionView& view) const override { return view.running < view.sequences_max; }
};

TEST(EngineSimulationCanary, NewestFirstStarvesTheOldest) {
  const NewestFirst policy;
  EXPECT_TRUE(caught({.policy = &policy}, "not served"));
}
TEST(EngineSimulationCanary, BlindToCostBreaksTheBudget) {
  const BlindToCost policy;
  EXPECT_TRUE(caught({.policy = &policy}, "budget"));
}
TEST(EngineSimulationCanary, OldestYields) {
  const OldestYields policy;
  EXPECT_TRUE(caught({.policy = &policy}, "oldest sequence was preempted"));
}
TEST(EngineSimulationCanary, NobodyYieldsStandsStill) {
  const NobodyYields policy;
  EXPECT_TRUE(caught({.policy = &policy}, "not served"));
}
TEST(EngineSimulationCanary, FirstComeFirstServedGivesNoShare) {
  EXPECT_TRUE(caught({.tenants_alike = true}, "was not given its share"));
}
TEST(EngineSimulationCanary, FirstComeFirstServedGivesNoPlace) {
  EXPECT_TRUE(caught({.tenants_alike = true}, "waits for a place"));
}
TEST(EngineSimulationCanary, PrefixSharedBetweenAdapters) { EXPECT_TRUE(caught({.digests_alike = true}, "wrong token")); }

}  // namespace
}  // namespace umbel
