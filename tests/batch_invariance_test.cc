// One batch of 64 requests of the base and every kind of adapter with ranks 1 to 100: each answer has the same bits as the
// same request alone, for every weight type and arithmetic of this machine, 1 and 2 threads, prefill chunks of 1, 7, 64 and
// 512 tokens, with and without preemption. Answers carry the logprobs of the best tokens, so that more than ids is compared.
#include <gtest/gtest.h>

#include <set>

#include "adapters/test_support.h"
#include "engine/engine_testing.h"
#include "models/random_model.h"

namespace umbel {
namespace {

using testing::Answer;
using testing::CoreRun;
using testing::list;
using testing::ReadyPins;
using testing::SmallFile;
using testing::value;

constexpr int kRanks[] = {1, 2, 3, 4, 7, 8, 16, 33, 64, 100};
constexpr size_t kRequests = 70;

ModelConfig small_config() {
  const std::string text = R"({"model_type": "qwen2", "vocab_size": 96, "hidden_size": 64, "intermediate_size": 128,
      "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
      "tie_word_embeddings": false})";
  return parse_model_config(parse_json(text, "test").value()).value();
}

// Which modules a kind touches here: one of attention and one of the feed-forward part.
const std::vector<std::string>& touched() {
  static const std::vector<std::string> kTouched = {"self_attn.q_proj", "mlp.down_proj"};
  return kTouched;
}

class AdapterMaker {
 public:
  explicit AdapterMaker(const Model& model) : model_(model) {}

  enum class Kind { kLora, kRsLora, kDora, kVera, kFlora, kFloraResidual, kLoha, kMiss, kIa3 };

  std::shared_ptr<const Adapter> make(Kind kind, int rank) {
    SmallFile file(config(kind, rank), static_cast<uint64_t>(kind) * 1000 + static_cast<uint64_t>(rank));
    if (kind == Kind::kVera) {
      Random shared(7);
      file.add_raw("base_model.vera_A", testing::random_tensor(shared, {rank, 128}, 0.2f));
      file.add_raw("base_model.vera_B", testing::random_tensor(shared, {64, rank}, 0.2f));
    }
    for (int layer = 0; layer < 2; ++layer) {
      for (const std::string& module : touched()) add_tensors(kind, rank, layer_path(layer) + module, file);
    }
    auto source = file.source();
    CHECK(source.ok(), source.status().message().c_str());
    auto adapter = build_adapter(*source, model_.targets(), {.factor_dtype = model_.factor_dtype()});
    CHECK(adapter.ok(), adapter.status().message().c_str());
    return *adapter;
  }

 private:
  static std::string layer_path(int layer) { return "model.layers." + std::to_string(layer) + "."; }

  static testing::ConfigObject config(Kind kind, int rank) {
    const auto modules = list({value("q_proj"), value("down_proj")});
    switch (kind) {
      case Kind::kLora: return {{"peft_type", value("LORA")}, {"r", value(rank)}, {"target_modules", modules}};
      case Kind::kRsLora:
        return {{"peft_type", value("LORA")}, {"r", value(rank)}, {"use_rslora", value(true)}, {"target_modules", modules}};
      case Kind::kDora:
        return {{"peft_type", value("LORA")}, {"r", value(rank)}, {"use_dora", value(true)}, {"target_modules", modules}};
      case Kind::kVera:
        return {{"peft_type", value("VERA")}, {"r", value(rank)}, {"save_projection", value(true)}, {"target_modules", modules}};
      case Kind::kFlora:
      case Kind::kFloraResidual:
        return {{"peft_type", value("FLORA")}, {"flora_format", value(1)}, {"r", value(rank)},
                {"form", value(kind == Kind::kFlora ? "multiplicative" : "residual")}, {"target_modules", modules}};
      case Kind::kLoha: return {{"peft_type", value("LOHA")}, {"r", value(rank)}, {"target_modules", modules}};
      case Kind::kMiss: return {{"peft_type", value("MISS")}, {"r", value(rank)}, {"target_modules", modules}};
      case Kind::kIa3:
        return {{"peft_type", value("IA3")}, {"target_modules", modules}, {"feedforward_modules", list({value("down_proj")})}};
    }
    return {};
  }

  void add_tensors(Kind kind, int rank, const std::string& path, SmallFile& file) {
    const Target& target = model_.targets()[model_.targets().find(path)];
    switch (kind) {
      case Kind::kDora: file.add(path + ".lora_magnitude_vector", {target.out}, 0.05f, 0.2f); [[fallthrough]];
      case Kind::kLora:
      case Kind::kRsLora:
        file.add(path + ".lora_A.weight", {rank, target.in}, 0.2f);
        file.add(path + ".lora_B.weight", {target.out, rank}, 0.2f);
        return;
      case Kind::kVera:
        file.add(path + ".vera_lambda_b", {target.out});
        file.add(path + ".vera_lambda_d", {rank});
        return;
      case Kind::kFlora:
      case Kind::kFloraResidual:
        file.add(path + ".flora_A", {rank, target.in}, 0.4f, 1.0f);
        file.add(path + ".flora_B", {target.out, rank}, 0.4f, 1.0f);
        return;
      case Kind::kLoha:
        for (const char* name : {".hada_w1_a", ".hada_w2_a"}) file.add(path + name, {target.out, rank}, 0.3f);
        for (const char* name : {".hada_w1_b", ".hada_w2_b"}) file.add(path + name, {rank, target.in}, 0.3f);
        return;
      case Kind::kMiss: file.add(path + ".miss_block", {rank, target.out}, 0.1f); return;
      case Kind::kIa3:
        file.add(path + ".ia3_l", target.path.ends_with("down_proj") ? Shape{1, target.in} : Shape{target.out, 1}, 0.3f, 1.0f);
        return;
    }
  }

  const Model& model_;
};

// 60 adapters (six kinds with ten ranks), LoHa and MiSS with three ranks each, IA3 twice, the base twice.
std::vector<Request> make_requests(const Model& model, ReadyPins& pins) {
  using Kind = AdapterMaker::Kind;
  AdapterMaker maker(model);
  std::vector<AdapterRef> refs;
  for (Kind kind : {Kind::kLora, Kind::kRsLora, Kind::kDora, Kind::kVera, Kind::kFlora, Kind::kFloraResidual}) {
    for (int rank : kRanks) {
      refs.push_back(pins.add(std::to_string(static_cast<int>(kind)) + "-" + std::to_string(rank), maker.make(kind, rank)));
    }
  }
  for (const auto& [kind, rank] : {std::pair{Kind::kLoha, 1}, {Kind::kLoha, 3}, {Kind::kLoha, 8},
                                   std::pair{Kind::kMiss, 4}, {Kind::kMiss, 7}, {Kind::kMiss, 33}}) {
    refs.push_back(pins.add(std::to_string(static_cast<int>(kind)) + "-" + std::to_string(rank), maker.make(kind, rank)));
  }
  const AdapterRef ia3 = pins.add("ia3", maker.make(Kind::kIa3, 1));
  for (const AdapterRef& ref : {ia3, ia3, AdapterRef(), AdapterRef()}) refs.push_back(ref);
  Random random(11);
  std::vector<Request> requests;
  for (const AdapterRef& ref : refs) {
    Request request;
    request.adapter = ref;
    const uint64_t length = requests.size() % 5 == 0 ? 1 + random.next_below(3) : 4 + random.next_below(36);
    for (uint64_t i = 0; i < length; ++i) request.prompt.push_back(static_cast<int32_t>(random.next_below(96)));
    request.max_tokens = static_cast<int32_t>(3 + random.next_below(8));
    request.logprobs = 3;
    if (requests.size() % 2 == 1) request.sampling = {.temperature = 1.0f, .top_p = 0.95f, .seed = requests.size()};
    if (requests.size() % 7 == 0) request.prompt_logprobs = 2;
    requests.push_back(std::move(request));
  }
  return requests;
}

struct Setting {
  int threads;
  int32_t chunk;
  bool preemption;
};

testing::CoreSetup setup_of(const kernels::Choice& choice, const Setting& setting) {
  testing::CoreSetup setup{.choice = choice, .threads = setting.threads, .eager = setting.preemption};
  setup.limits.context_max = 64;
  setup.limits.sequences_max = setting.preemption ? 12 : static_cast<int32_t>(kRequests);
  setup.limits.step_tokens_max = 512;
  setup.limits.prefill_chunk_max = setting.chunk;
  setup.limits.kv_blocks = setting.preemption ? 10 : 64 * 4;
  setup.limits.adapter_rank_max = 100;
  return setup;
}

struct ArithmeticCase {
  std::string dtype;
  kernels::Choice choice;
};

void PrintTo(const ArithmeticCase& one, std::ostream* out) {
  *out << one.dtype << " " << kernels::isa_name(one.choice.isa) << " " << kernels::arithmetic_name(one.choice.arithmetic);
}

std::vector<ArithmeticCase> arithmetic_cases() {
  std::vector<ArithmeticCase> cases;
  for (const std::string dtype : {"f32", "bf16", "f16", "int8", "nf4", "nf4-dq"}) {
    for (kernels::Isa isa : kernels::available_isas()) {
      // Quantised weights run through the f32 tiles of every ISA, once the same way: the widest and the plainest stand
      // for all.
      const bool quantised = dtype.starts_with("int") || dtype.starts_with("nf4");
      if (quantised && isa != kernels::Isa::kGeneric && isa != kernels::available_isas().back()) continue;
      for (kernels::Arithmetic arithmetic : kernels::available_arithmetics(isa)) {
        // f32 weights have one arithmetic only.
        if ((quantised || dtype == "f32") && arithmetic != kernels::Arithmetic::kF32Fma) continue;
        cases.push_back({dtype, {.isa = isa, .arithmetic = arithmetic, .reason = "test"}});
      }
    }
  }
  return cases;
}

class BatchInvarianceTest : public ::testing::TestWithParam<ArithmeticCase> {};

TEST_P(BatchInvarianceTest, SixtyFourTogetherEqualEachAlone) {
  const kernels::Choice& choice = GetParam().choice;
  const auto model = make_random_model(small_config(), 5, {.dtype = GetParam().dtype, .choice = choice}).value();
  ReadyPins pins;
  const std::vector<Request> requests = make_requests(*model, pins);
  ASSERT_EQ(requests.size(), kRequests);
  std::vector<Answer> alone;
  std::set<std::vector<int32_t>> distinct;
  for (const Request& request : requests) {
    CoreRun run(model, pins, setup_of(choice, {.threads = 1, .chunk = 512, .preemption = false}));
    alone.push_back(run.run({request}).front());
    ASSERT_EQ(alone.back().tokens.size(), static_cast<size_t>(request.max_tokens));
    distinct.insert(alone.back().tokens);
  }
  EXPECT_GT(distinct.size(), kRequests / 2) << "answers that are all alike would prove nothing";
  for (const int threads : {1, 2}) {
    for (const int32_t chunk : {1, 7, 64, 512}) {
      for (const bool preemption : {false, true}) {
        CoreRun run(model, pins, setup_of(choice, {threads, chunk, preemption}));
        const std::vector<Answer> together = run.run(requests);
        EXPECT_EQ(run.stats().preemptions > 0, preemption) << run.stats().preemptions;
        for (size_t i = 0; i < requests.size(); ++i) {
          EXPECT_TRUE(testing::same_bits(together[i], alone[i]))
              << "request " << i << ", " << threads << " threads, chunk " << chunk << ", preemption " << preemption;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, BatchInvarianceTest, ::testing::ValuesIn(arithmetic_cases()), [](const auto& info) {
  std::string name = info.param.dtype + "_" + std::string(kernels::isa_name(info.param.choice.isa)) + "_" +
                     std::string(kernels::arithmetic_name(info.param.choice.arithmetic));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace umbel
