// Running requests through an EngineCore with a real model, for tests: adapters that are resident already, answers as plain
// data. Included by tests only.
#pragma once

#include <algorithm>
#include <bit>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine_core.h"
#include "engine/model_runner.h"

namespace umbel::testing {

// Adapters by hand; all resident, for good.
class ReadyPins final : public AdapterPins {
 public:
  AdapterRef add(std::string digest, std::shared_ptr<const Adapter> adapter) {
    auto ready = std::make_shared<Ready>(Ready{std::move(digest), std::move(adapter)});
    return AdapterRef(ready, reinterpret_cast<AdapterEntry*>(ready.get()));
  }
  const std::string& digest(const AdapterRef& ref) const override { return at(ref).digest; }
  Result<std::optional<AdapterHandle>> try_pin(const AdapterRef& ref) override {
    if (ref == nullptr) return std::optional<AdapterHandle>(AdapterHandle());
    return std::optional<AdapterHandle>(AdapterHandle(at(ref).adapter, nullptr));
  }

 private:
  struct Ready {
    std::string digest;
    std::shared_ptr<const Adapter> adapter;
  };
  static const Ready& at(const AdapterRef& ref) { return *reinterpret_cast<const Ready*>(ref.get()); }
};

struct Answer {
  std::vector<int32_t> tokens;
  std::vector<TokenLogprobs> logprobs;
  std::vector<TokenLogprobs> prompt_logprobs;
  FinishReason finish = FinishReason::kNone;
};

inline bool same_bits(const TokenLogprobs& a, const TokenLogprobs& b) {
  return a.token == b.token && std::bit_cast<uint32_t>(a.logprob) == std::bit_cast<uint32_t>(b.logprob) && a.rank == b.rank &&
         a.top == b.top;
}
// Tokens, and with logprobs every bit of the logits that they come from.
inline bool same_bits(const Answer& a, const Answer& b) {
  const auto equal = [](const std::vector<TokenLogprobs>& x, const std::vector<TokenLogprobs>& y) {
    return std::equal(x.begin(), x.end(), y.begin(), y.end(),
                      [](const TokenLogprobs& p, const TokenLogprobs& q) { return same_bits(p, q); });
  };
  return a.tokens == b.tokens && a.finish == b.finish && equal(a.logprobs, b.logprobs) &&
         equal(a.prompt_logprobs, b.prompt_logprobs);
}

inline Answer read_answer(Stream& stream) {
  Answer answer;
  while (auto event = stream.poll()) {
    if (event->token) answer.tokens.push_back(*event->token);
    if (event->logprobs) answer.logprobs.push_back(std::move(*event->logprobs));
    for (TokenLogprobs& entry : event->prompt_logprobs) answer.prompt_logprobs.push_back(std::move(entry));
    answer.finish = event->finish;
  }
  return answer;
}

// Lets everybody in while there are seats, so that memory runs out and sequences are preempted all the time.
struct EagerPolicy final : Policy {
  bool admits(const AdmissionView& view) const override { return view.running < view.sequences_max; }
};

// How a core is set up, beside the model.
struct CoreSetup {
  kernels::Choice choice;
  int threads = 1;
  Limits limits;
  bool eager = false;
};

// A core of its own for one list of requests.
class CoreRun {
 public:
  CoreRun(std::shared_ptr<const Model> model, ReadyPins& pins, const CoreSetup& setup)
      : limits_(setup.limits),
        pool_(setup.threads),
        vocab_(model->config().vocab_size),
        runner_(std::move(model), setup.choice, pool_, limits_),
        core_({runner_, pins, clock_, pool_, setup.eager ? eager_ : policy_}, {.vocab = vocab_}, limits_) {}

  // All submitted at once.
  std::vector<Answer> run(const std::vector<Request>& requests) {
    std::vector<std::shared_ptr<Stream>> streams;
    for (const Request& request : requests) {
      const Status valid = validate_request(request, {.vocab = vocab_}, limits_);
      CHECK(valid.ok(), valid.message().c_str());
      streams.push_back(std::make_shared<Stream>(++ids_));
      core_.add({request, streams.back(), clock_.now()});
    }
    while (core_.step() != EngineCore::Outcome::kIdle) clock_.advance(std::chrono::milliseconds(1));
    std::vector<Answer> answers;
    for (const auto& stream : streams) answers.push_back(read_answer(*stream));
    return answers;
  }
  EngineStats stats() const { return core_.stats(); }

 private:
  const Limits limits_;
  ManualClock clock_;
  ThreadPool pool_;
  const Policy policy_;
  const EagerPolicy eager_;
  const int64_t vocab_;
  ModelRunner runner_;
  EngineCore core_;
  uint64_t ids_ = 0;
};

}  // namespace umbel::testing
