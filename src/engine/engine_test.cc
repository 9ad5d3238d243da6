// The engine with the real embedded base and its ten adapters, and its thread under storms of clients.
#include "engine/engine.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/random.h"
#include "base/sanitized_testing.h"
#include "engine/engine_testing.h"
#include "engine/heap_count_testing.h"

namespace umbel {
namespace {

using testing::Answer;
using testing::CoreRun;
using testing::CoreSetup;
using testing::ReadyPins;

std::string source_dir() {
  const char* dir = std::getenv("UMBEL_SOURCE_DIR");
  return dir == nullptr ? "." : dir;
}

const nlohmann::json& golden() {
  static const nlohmann::json kGolden = [] {
    std::ifstream file(source_dir() + "/tests/goldens/peft_adapters/golden_peft.json");
    return nlohmann::json::parse(file);
  }();
  return kGolden;
}

// The base and its adapters by the names in golden_peft.json ("base" is a null handle).
struct Assets {
  explicit Assets(const std::string& dtype) {
    choice = kernels::choose({.arithmetic = "f32-fma"}).value();
    model = load_model(source_dir() + "/assets/seedling", {.dtype = dtype, .choice = choice}).value();
    library = AdapterLibrary::open(model->targets(), {.dir = source_dir() + "/tests/goldens/peft_adapters",
                                                      .watch_interval = Duration{},
                                                      .factor_dtype = model->factor_dtype()})
                  .value();
  }
  AdapterRef ref(const std::string& name) const { return name == "base" ? nullptr : library->resolve(name).value(); }

  kernels::Choice choice;
  std::shared_ptr<const Model> model;
  std::unique_ptr<AdapterLibrary> library;
};

// Everything resident before the core asks, so that a run is the same every time.
class AssetPins {
 public:
  explicit AssetPins(const Assets& assets) {
    for (const auto& [name, rows] : golden().items()) {
      if (name == "base") continue;
      handles_.push_back(assets.library->pin(assets.ref(name)).value());
      refs_[name] = pins_.add(name, std::shared_ptr<const Adapter>(std::shared_ptr<void>(), handles_.back().adapter()));
    }
  }
  AdapterRef ref(const std::string& name) const { return name == "base" ? nullptr : refs_.at(name); }
  ReadyPins& pins() { return pins_; }

 private:
  ReadyPins pins_;
  std::vector<AdapterHandle> handles_;
  std::map<std::string, AdapterRef> refs_;
};

// Under a sanitizer the matrix of settings would take minutes: one setting with everything at once stands for it there,
// with two requests of every name.
struct GoldenRequest {
  std::string name;
  const nlohmann::json* row;
};

std::vector<GoldenRequest> golden_requests(size_t count) {
  std::vector<GoldenRequest> result;
  for (size_t row = 0; result.size() < count; ++row) {
    for (const auto& [name, rows] : golden().items()) {
      if (result.size() < count) result.push_back({name, &rows.at(row)});
    }
  }
  return result;
}

Limits wide_limits() {
  Limits limits;
  limits.context_max = 256;
  limits.sequences_max = 64;
  limits.kv_blocks = 64 * 16;
  limits.adapter_rank_max = 256;
  return limits;
}

TEST(SeedlingEngine, OneBatchOfElevenNamesEqualsPeft) {
  const Assets assets("f32");
  AssetPins pins(assets);
  std::vector<Request> requests;
  const auto cases = golden_requests(33);
  for (const GoldenRequest& one : cases) {
    Request request{.prompt = one.row->at("prompt_ids"), .adapter = pins.ref(one.name)};
    request.max_tokens = static_cast<int32_t>(one.row->at("greedy_ids").size());
    requests.push_back(std::move(request));
  }
  CoreRun run(assets.model, pins.pins(), {.choice = assets.choice, .threads = 2, .limits = wide_limits()});
  const std::vector<Answer> answers = run.run(requests);
  for (size_t i = 0; i < cases.size(); ++i) {
    if (cases[i].row->at("smallest_gap").get<double>() < 1e-4) continue;
    EXPECT_EQ(answers[i].tokens, cases[i].row->at("greedy_ids").get<std::vector<int32_t>>()) << cases[i].name;
  }
}

TEST(SeedlingEngine, SixtyFourTogetherEqualEachAlone) {
  const Assets assets("bf16");
  AssetPins pins(assets);
  std::vector<Request> requests;
  std::vector<Answer> alone;
  for (const GoldenRequest& one : golden_requests(testing::kSanitized ? 22 : 64)) {
    Request request{.prompt = one.row->at("prompt_ids"), .adapter = pins.ref(one.name), .max_tokens = 6, .logprobs = 2};
    if (requests.size() % 2 == 1) request.sampling = {.temperature = 0.9f, .top_k = 50, .seed = requests.size()};
    if (requests.size() % 9 == 0) request.max_tokens = 40;
    CoreRun run(assets.model, pins.pins(), {.choice = assets.choice, .limits = wide_limits()});
    alone.push_back(run.run({request}).front());
    requests.push_back(std::move(request));
  }
  for (const int threads : {2, 1}) {
    for (const int32_t chunk : {7, 1, 64, 512}) {
      for (const bool preemption : {true, false}) {
        CoreSetup setup{.choice = assets.choice, .threads = threads, .limits = wide_limits(), .eager = preemption};
        setup.limits.prefill_chunk_max = chunk;
        if (preemption) setup.limits.kv_blocks = 24;
        CoreRun run(assets.model, pins.pins(), setup);
        const std::vector<Answer> together = run.run(requests);
        EXPECT_EQ(run.stats().preemptions > 0, preemption);
        for (size_t i = 0; i < requests.size(); ++i) {
          EXPECT_TRUE(testing::same_bits(together[i], alone[i]))
              << "request " << i << ", " << threads << " threads, chunk " << chunk << ", preemption " << preemption;
        }
        if (testing::kSanitized) return;
      }
    }
  }
}

// Batches of mixed kinds and ranks in steady state: neither the model, its layers, the adapters nor the kernels take
// memory, in any thread, with any weights and arithmetic.
TEST(SeedlingEngine, StepsOverTheRealModelTakeNothingFromTheHeap) {
  for (const char* dtype : {"f32", "bf16", "int8"}) {
    const Assets assets(dtype);
    AssetPins pins(assets);
    Limits limits = wide_limits();
    limits.step_tokens_max = 48;  // prompts go on while others answer
    ManualClock clock;
    ThreadPool pool(2);
    const Policy policy;
    ModelRunner runner(assets.model, assets.choice, pool, limits);
    EngineCore core({runner, pins.pins(), clock, pool, policy}, {.vocab = assets.model->config().vocab_size}, limits);
    std::vector<std::shared_ptr<Stream>> streams;
    const auto cases = golden_requests(33);
    for (const GoldenRequest& one : cases) {
      Request request{.prompt = one.row->at("prompt_ids"), .adapter = pins.ref(one.name), .max_tokens = 60};
      request.tenant = streams.size() % 3;
      if (streams.size() % 2 == 0) request.sampling = {.temperature = 0.8f, .top_k = 10, .top_p = 0.9f, .seed = 3};
      streams.push_back(std::make_shared<Stream>(streams.size() + 1));
      core.add({std::move(request), streams.back(), clock.now()});
    }
    while (core.waiting() > 0) core.step();
    for (int step = 0; step < 3; ++step) core.step();
    int64_t rows = 0;
    for (int step = 0; step < 30; ++step) {
      const int64_t before = testing::heap_calls();
      core.step();
      ASSERT_EQ(testing::heap_calls(), before) << dtype << ", step " << step;
      rows += core.stats().batch_rows;
      for (auto& stream : streams) {
        while (stream->poll()) {
        }
      }
    }
    EXPECT_GT(rows, 30 * 10);
  }
}

// ---- the thread -----------------------------------------------------------------------------------------------------

std::unique_ptr<Engine> start(const Assets& assets, const Limits& limits) {
  return Engine::start({.model = assets.model, .library = assets.library.get(), .choice = assets.choice, .threads = 2,
                        .limits = limits})
      .value();
}

Answer wait_for(Stream& stream) {
  Answer answer;
  while (auto event = stream.next()) {
    if (event->token) answer.tokens.push_back(*event->token);
    answer.finish = event->finish;
  }
  return answer;
}

TEST(EngineThread, AnswersAndSleepsAndAnswersAgain) {
  const Assets assets("f32");
  const auto engine = start(assets, wide_limits());
  const nlohmann::json& row = golden().at("clinc150-ia3").at(0);
  for (int round = 0; round < 2; ++round) {
    Request request{.prompt = row.at("prompt_ids"), .adapter = assets.ref("clinc150-ia3"), .max_tokens = 5};
    const auto stream = engine->submit(request).value();
    const Answer answer = wait_for(*stream);
    EXPECT_EQ(answer.finish, FinishReason::kLength);
    EXPECT_EQ(answer.tokens, row.at("greedy_ids").get<std::vector<int32_t>>());
  }
  engine->drain(from_seconds(10));  // figures follow a step's events
  EXPECT_EQ(engine->stats().generated_tokens, 10);
}

TEST(EngineThread, RefusesWhenFullAndWhenLeaving) {
  const Assets assets("bf16");
  Limits limits = wide_limits();
  limits.queue_max = 3;
  limits.sequences_max = 1;
  const auto engine = start(assets, limits);
  std::vector<std::shared_ptr<Stream>> streams;
  Code refused = Code::kOk;
  for (int i = 0; i < 40 && refused == Code::kOk; ++i) {
    auto stream = engine->submit({.prompt = {1, 40, 50}, .max_tokens = 200});
    if (stream.ok()) {
      streams.push_back(*stream);
    } else {
      refused = stream.status().code();
    }
  }
  EXPECT_EQ(refused, Code::kOverloaded);
  EXPECT_GE(engine->retry_after_seconds(), 1.0);
  EXPECT_EQ(engine->submit({.prompt = {}}).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(engine->submit({.prompt = {4096}}).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(engine->submit({.prompt = {1}, .max_tokens = 256}).status().code(), Code::kTooLong);
  for (const auto& stream : streams) engine->cancel(stream->id());
  for (const auto& stream : streams) EXPECT_NE(wait_for(*stream).finish, FinishReason::kNone);
  engine->drain(from_seconds(10));
  EXPECT_EQ(engine->submit({.prompt = {1}}).status().code(), Code::kUnavailable);
}

TEST(EngineThread, DrainCancelsWhatTakesTooLong) {
  const Assets assets("bf16");
  const auto engine = start(assets, wide_limits());
  const auto slow = engine->submit({.prompt = {1, 40, 50}, .max_tokens = 250}).value();
  engine->drain(from_seconds(0.001));
  EXPECT_EQ(wait_for(*slow).finish, FinishReason::kCancelled);
}

TEST(EngineThread, LeavingEndsEveryStream) {
  const Assets assets("bf16");
  auto engine = start(assets, wide_limits());
  const auto stream = engine->submit({.prompt = {1, 40, 50}, .max_tokens = 250}).value();
  engine.reset();
  EXPECT_EQ(wait_for(*stream).finish, FinishReason::kCancelled);
}

// Clients that come, read, cancel and go away, in a small memory, with adapters that come and go beneath them: whatever
// is answered to the end is what the request gets alone.
TEST(EngineThread, StormOfClients) {
  const Assets assets("bf16");
  const auto cases = golden_requests(22);
  std::vector<Answer> alone;
  {
    AssetPins pins(assets);
    for (const GoldenRequest& one : cases) {
      CoreRun run(assets.model, pins.pins(), {.choice = assets.choice, .limits = wide_limits()});
      alone.push_back(run.run({{.prompt = one.row->at("prompt_ids"), .adapter = pins.ref(one.name), .max_tokens = 12}}).front());
    }
  }
  // Room for the largest adapter while it is built, not for all.
  const auto library = AdapterLibrary::open(assets.model->targets(), {.dir = source_dir() + "/tests/goldens/peft_adapters",
                                                                      .budget_bytes = size_t{10} << 20,
                                                                      .watch_interval = Duration{},
                                                                      .factor_dtype = assets.model->factor_dtype()})
                           .value();
  Limits limits = wide_limits();
  limits.sequences_max = 6;
  limits.kv_blocks = 30;
  limits.queue_max = 16;
  limits.step_tokens_max = 40;
  const auto engine = Engine::start({.model = assets.model, .library = library.get(), .choice = assets.choice, .threads = 2,
                                     .limits = limits})
                          .value();
  std::atomic<int> complete{0};
  std::atomic<int> wrong{0};
  const auto client = [&](uint64_t seed) {
    Random random(seed);
    for (int round = 0; round < 12; ++round) {
      const size_t which = random.next_below(cases.size());
      Request request{.prompt = cases[which].row->at("prompt_ids"), .max_tokens = 12};
      if (cases[which].name != "base") request.adapter = library->resolve(cases[which].name).value();
      auto stream = engine->submit(request);
      if (!stream.ok()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        continue;
      }
      const uint64_t mood = random.next_below(6);
      if (mood == 0) {
        (*stream)->abandon();
        continue;
      }
      if (mood == 1) engine->cancel((*stream)->id());
      const Answer answer = wait_for(**stream);
      const bool whole = answer.finish == FinishReason::kLength;
      complete += whole;
      wrong += !std::equal(answer.tokens.begin(), answer.tokens.end(), alone[which].tokens.begin());
      wrong += whole ? answer.tokens.size() != 12 : answer.finish != FinishReason::kCancelled;
      (void)engine->stats();
    }
  };
  std::vector<std::thread> clients;
  for (uint64_t seed = 1; seed <= 6; ++seed) clients.emplace_back(client, seed);
  for (std::thread& thread : clients) thread.join();
  engine->drain(from_seconds(30));
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(complete, 20);
  EXPECT_EQ(engine->stats().kv_blocks_used, 0);
}

}  // namespace
}  // namespace umbel
