// Adapters that were made with a resized vocabulary (tokens added, or padding cut off), over a base that has its own: they
// compute, bit for bit, what the resized base computes with the adapter's other terms, beside requests of everybody else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "adapters/registry.h"
#include "engine/engine_testing.h"
#include "models/forward_testing.h"
#include "models/golden_testing.h"
#include "models/logit_drift.h"
#include "store/merged_checkpoint.h"
#include "store/peft_dir.h"

namespace umbel {
namespace {

using ::testing::HasSubstr;

// How the adapter's file has its tables.
enum class Tables : uint8_t { kSaved, kCopies, kNone };

struct Case {
  std::string golden;
  int64_t delta = 0;
  Tables tables = Tables::kSaved;
  bool adapts_tables = false;  // a LoRA on embedding and head as well
};

class ResizedVocabulary : public ::testing::TestWithParam<Case> {
 protected:
  ResizedVocabulary() { set_up(GetParam()); }
  void set_up(const Case& one) {
    const Json golden = testing::read_golden(one.golden);
    Json config = golden["config"];
    auto tensors = testing::golden_tensors(golden);
    vocab_ = config["vocab_size"];
    own_ = vocab_ + one.delta;
    testing::write_checkpoint(base_dir_.path(), config, tensors);
    Random random(mix_key({7, static_cast<uint64_t>(own_)}));
    for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"}) {
      if (!tensors.contains(name)) continue;
      Tensor table(DType::kF32, {own_, config["hidden_size"].get<int64_t>()});
      // Added tokens have long rows, so that they win often.
      for (int64_t i = 0; i < table.elements(); ++i) {
        const bool added = i / table.shape()[1] >= vocab_;
        table.f32()[i] = (added ? 3.0f : 0.7f) * static_cast<float>(random.next_normal());
      }
      tensors[name] = std::move(table);
    }
    config["vocab_size"] = own_;
    testing::write_checkpoint(resized_dir_.path(), config, tensors);
    for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"}) {
      if (tensors.contains(name)) tables_.emplace(name, std::move(tensors[name]));
    }
    base_ = load_model(base_dir_.path(), {.dtype = "f32", .choice = choice_}).value();
    resized_ = load_model(resized_dir_.path(), {.dtype = "f32", .choice = choice_}).value();
  }

  Result<std::shared_ptr<const Adapter>> build(const Model& model, Tables tables, bool adapts_tables,
                                               BuildOptions options = {}) {
    const bool both = tables_.size() == 2;  // a tied base has one
    Json targets = {"q_proj", "up_proj"};
    if (adapts_tables) targets.insert(targets.end(), {"embed_tokens", "lm_head"});
    Json config{{"peft_type", "LORA"}, {"r", 2}, {"lora_alpha", 4}, {"target_modules", targets}, {"modules_to_save", nullptr}};
    if (tables == Tables::kSaved) config["modules_to_save"] = both ? Json{"embed_tokens", "lm_head"} : Json{"embed_tokens"};
    std::map<std::string, Tensor> made;
    Random random(3);
    const auto add = [&](const std::string& name, Shape shape) {
      Tensor tensor(DType::kF32, std::move(shape));
      for (int64_t i = 0; i < tensor.elements(); ++i) tensor.f32()[i] = 0.3f * static_cast<float>(random.next_normal());
      made.emplace("base_model.model." + name, std::move(tensor));
    };
    for (const Target& target : resized_->targets().targets()) {
      if (target.path.ends_with("q_proj") || target.path.ends_with("up_proj") || (adapts_tables && target.path == "lm_head")) {
        add(target.path + ".lora_A.weight", {2, target.in});
        add(target.path + ".lora_B.weight", {target.out, 2});
      } else if (adapts_tables && target.kind == TargetKind::kEmbedding) {
        add(target.path + ".lora_embedding_A", {2, target.in});
        add(target.path + ".lora_embedding_B", {target.out, 2});
      }
    }
    std::map<std::string, TensorView> views;
    for (const auto& [name, tensor] : made) views.emplace(name, tensor.view());
    for (const auto& [name, table] : tables_) {
      if (tables == Tables::kNone) continue;
      const std::string path = name.substr(0, name.size() - std::string("weight").size());
      views.emplace("base_model.model." + path + (adapts_tables ? "base_layer.weight" : "weight"), table.view());
    }
    testing::TempDir dir;
    RETURN_IF_ERROR(write_peft_dir(dir.path(), config, views));
    ASSIGN_OR_RETURN(const PeftDir read, PeftDir::read(dir.path()));
    return build_adapter(read.source(), model.targets(), options);
  }

  std::vector<float> logits(const Model& model, const std::vector<int32_t>& tokens, const Adapter* adapter) {
    ThreadPool pool(2);
    return sequence_logits(model, choice_, pool, tokens, adapter);
  }

  testing::TempDir base_dir_, resized_dir_;
  kernels::Choice choice_ = testing::test_choice();
  int64_t vocab_ = 0, own_ = 0;
  std::map<std::string, Tensor> tables_;
  std::shared_ptr<const Model> base_, resized_;
};

TEST_P(ResizedVocabulary, ComputesWhatTheResizedBaseComputes) {
  const Case& one = GetParam();
  const auto own = build(*base_, one.tables, one.adapts_tables);
  ASSERT_TRUE(own.ok()) << own.status().message();
  EXPECT_EQ((*own)->vocabulary(), own_);
  const auto other = build(*resized_, Tables::kNone, one.adapts_tables);
  ASSERT_TRUE(other.ok()) << other.status().message();
  EXPECT_EQ((*other)->vocabulary(), 0);
  const std::vector<int32_t> tokens = {3, static_cast<int32_t>(own_) - 1, 7, 1, static_cast<int32_t>(own_) - 2};
  const std::vector<float> got = logits(*base_, tokens, own->get()), expected = logits(*resized_, tokens, other->get());
  ASSERT_EQ(got.size(), expected.size());
  EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0);
}

TEST_P(ResizedVocabulary, MergesIntoTheResizedBase) {
  const Case& one = GetParam();
  const auto own = build(*base_, one.tables, one.adapts_tables).value();
  testing::TempDir out;
  const auto report = write_merged_checkpoint(base_dir_.path(), base_->targets(), *own, {.dtype = DType::kF32}, out.path());
  ASSERT_TRUE(report.ok()) << report.status().message();
  const auto merged = load_model(out.path(), {.dtype = "f32", .choice = choice_});
  ASSERT_TRUE(merged.ok()) << merged.status().message();
  EXPECT_EQ((*merged)->config().vocab_size, own_);
  const std::vector<int32_t> tokens = {5, static_cast<int32_t>(own_) - 1, 9};
  EXPECT_LT(testing::relative_difference(logits(**merged, tokens, nullptr), logits(*base_, tokens, own.get())), 2e-5);
}

// In one batch with the base and an adapter of the base's own size: everybody's tokens are their own, and those that an
// adapter added are produced for it alone.
TEST_P(ResizedVocabulary, IsServedBesideOthersWhoNeverProduceItsTokens) {
  const Case& one = GetParam();
  testing::ReadyPins pins, other_pins;
  const AdapterRef own = pins.add("own", build(*base_, one.tables, one.adapts_tables).value());
  const AdapterRef plain = pins.add("plain", build(*base_, Tables::kNone, false).value());
  const AdapterRef alone = other_pins.add("own", build(*resized_, Tables::kNone, one.adapts_tables).value());
  Limits limits;
  limits.context_max = 64;
  limits.kv_blocks = 64;
  limits.sequences_max = 8;
  limits.adapter_rank_max = 16;
  limits.adapter_vocab_extra = 16;
  std::vector<Request> requests, own_requests;
  for (int32_t i = 0; i < 6; ++i) {
    Request request{.prompt = {1, 2 + i, 5}, .max_tokens = 12, .logprobs = 3};
    if (i % 3 == 0) request.adapter = own, request.prompt.push_back(static_cast<int32_t>(own_) - 1);
    if (i % 3 == 1) request.adapter = plain;
    if (i >= 3) request.sampling = {.temperature = 1.5f, .seed = static_cast<uint64_t>(i)};
    requests.push_back(request);
    if (i % 3 != 0) continue;
    request.adapter = alone;
    own_requests.push_back(request);
  }
  testing::CoreRun together(base_, pins, {.choice = choice_, .threads = 2, .limits = limits});
  testing::CoreRun resized(resized_, other_pins, {.choice = choice_, .threads = 1, .limits = limits});
  const auto answers = together.run(requests), expected = resized.run(own_requests);
  bool produced = false;
  for (size_t i = 0; i < answers.size(); ++i) {
    EXPECT_EQ(answers[i].tokens.size(), 12u);
    const int64_t limit = i % 3 == 0 ? own_ : vocab_;
    for (const int32_t token : answers[i].tokens) EXPECT_LT(token, limit) << i;
    produced |= std::any_of(answers[i].tokens.begin(), answers[i].tokens.end(), [&](int32_t token) { return token >= vocab_; });
    if (i % 3 == 0) {
      EXPECT_TRUE(testing::same_bits(answers[i], expected[i / 3])) << i;
    }
  }
  EXPECT_EQ(produced, own_ > vocab_);
}

TEST_P(ResizedVocabulary, TokensOutsideARequestsOwnVocabularyAreRefused) {
  const Case& one = GetParam();
  testing::ReadyPins pins;
  const AdapterRef own = pins.add("own", build(*base_, one.tables, one.adapts_tables).value());
  const AdapterRef plain = pins.add("plain", build(*base_, Tables::kNone, false).value());
  Limits limits;
  limits.context_max = 64;
  limits.kv_blocks = 64;
  limits.adapter_rank_max = 16;
  limits.adapter_vocab_extra = 16;
  const auto beyond = [](int64_t tokens) { return std::vector<int32_t>{1, static_cast<int32_t>(tokens)}; };
  EXPECT_FALSE(validate_request({.prompt = beyond(vocab_), .max_tokens = 1}, {.vocab = vocab_}, limits).ok());
  Request biased{.prompt = {1, 2}, .adapter = own, .max_tokens = 1};
  biased.sampling.logit_bias = {{static_cast<int32_t>(own_), 1.0f}};
  testing::CoreRun run(base_, pins, {.choice = choice_, .limits = limits});
  const auto answers = run.run({{.prompt = beyond(own_), .adapter = own, .max_tokens = 1},
                                {.prompt = beyond(vocab_), .adapter = plain, .max_tokens = 1},
                                biased,
                                {.prompt = beyond(own_ - 1), .adapter = own, .max_tokens = 1}});
  EXPECT_EQ(answers[0].finish, FinishReason::kError);
  EXPECT_EQ(answers[1].finish, FinishReason::kError);
  EXPECT_EQ(answers[2].finish, FinishReason::kError);
  EXPECT_EQ(answers[3].finish, FinishReason::kLength);
}

TEST_P(ResizedVocabulary, MoreThanThereIsRoomForIsRefusedByNumber) {
  const auto refused = build(*base_, GetParam().tables, GetParam().adapts_tables, {.vocabulary_max = own_ - 1});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), Code::kTooLong);
  EXPECT_THAT(refused.status().message(), HasSubstr("--adapter-vocab-extra"));
}

INSTANTIATE_TEST_SUITE_P(Cases, ResizedVocabulary,
                         ::testing::Values(Case{"llama_default", 3, Tables::kSaved}, Case{"llama_default", 3, Tables::kCopies},
                                           Case{"llama_default", 5, Tables::kCopies, true},
                                           Case{"llama_default", -4, Tables::kSaved}, Case{"llama_tied_old", 3, Tables::kSaved},
                                           Case{"llama_tied_old", -4, Tables::kCopies}));

class HalfResized : public ResizedVocabulary {};

TEST_P(HalfResized, AFileWithoutOneOfTheTablesSaysWhatToSave) {
  tables_.erase("lm_head.weight");
  const auto refused = build(*base_, Tables::kCopies, false);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), Code::kFailedPrecondition);
  EXPECT_THAT(refused.status().message(), HasSubstr("resized vocabulary"));
  EXPECT_THAT(refused.status().message(), HasSubstr("lm_head.weight"));
  EXPECT_THAT(refused.status().message(), HasSubstr("modules_to_save"));
}

INSTANTIATE_TEST_SUITE_P(Cases, HalfResized, ::testing::Values(Case{"llama_default", 3, Tables::kCopies}));

}  // namespace
}  // namespace umbel
