// What a checkpoint may lack or have too much of, and how it is said.
#include "models/weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "io/safetensors.h"
#include "models/forward_testing.h"
#include "models/golden_testing.h"

namespace umbel {
namespace {

using ::testing::HasSubstr;

class CheckpointTest : public ::testing::Test {
 protected:
  explicit CheckpointTest(const std::string& name = "llama_default")
      : golden_(testing::read_golden(name)), tensors_(testing::golden_tensors(golden_)) {}

  Result<std::shared_ptr<const Model>> load(const std::string& dtype = "auto") {
    testing::write_checkpoint(dir_.path(), golden_["config"], tensors_);
    return load_model(dir_.path(), {.dtype = dtype, .choice = choice_});
  }
  void expect_refused(const std::string& named) {
    const auto model = load();
    ASSERT_FALSE(model.ok());
    EXPECT_EQ(model.status().code(), Code::kInvalidArgument);
    EXPECT_THAT(model.status().message(), HasSubstr(named));
    EXPECT_THAT(model.status().message(), HasSubstr(dir_.path().string()));
  }
  std::vector<float> logits(const std::shared_ptr<const Model>& model) {
    return testing::ForwardRunner(model, choice_).run({testing::ints(golden_["prompt_ids"])});
  }

  testing::TempDir dir_;
  Json golden_;
  std::map<std::string, Tensor> tensors_;
  kernels::Choice choice_ = testing::test_choice();
};

class TiedCheckpointTest : public CheckpointTest {
 protected:
  TiedCheckpointTest() : CheckpointTest("llama_tied_old") {}
};

TEST_F(CheckpointTest, MissingTensorsAreNamedAllAtOnce) {
  tensors_.erase("model.layers.1.mlp.up_proj.weight");
  tensors_.erase("model.norm.weight");
  expect_refused("model.layers.1.mlp.up_proj.weight [56, 32]");
  expect_refused("model.norm.weight");
}

TEST_F(CheckpointTest, ExtraTensorsAreNamed) {
  tensors_["model.layers.2.mlp.up_proj.weight"] = Tensor(DType::kF32, {56, 32});
  expect_refused("unexpected model.layers.2.mlp.up_proj.weight");
}

TEST_F(CheckpointTest, ABiasThatTheConfigDoesNotKnowIsExtra) {
  tensors_["model.layers.0.self_attn.q_proj.bias"] = Tensor(DType::kF32, {32});
  expect_refused("unexpected model.layers.0.self_attn.q_proj.bias");
}

TEST_F(CheckpointTest, WrongShapesAreNamedWithBothShapes) {
  tensors_["model.layers.0.self_attn.k_proj.weight"] = Tensor(DType::kF32, {32, 32});
  expect_refused("model.layers.0.self_attn.k_proj.weight is [32, 32], config.json asks for [16, 32]");
}

TEST_F(CheckpointTest, WrongTypesAreNamed) {
  tensors_["lm_head.weight"] = Tensor(DType::kI8, {64, 32});
  expect_refused("lm_head.weight is i8");
}

TEST_F(CheckpointTest, WeightsThatWereStoredQuantisedAreSaidSoWithWhatToTake) {
  for (const char* part : {"model.layers.0.mlp.up_proj.qweight", "model.layers.0.mlp.up_proj.weight.absmax",
                           "model.layers.0.mlp.up_proj.weight.quant_state.bitsandbytes__nf4"}) {
    tensors_[part] = Tensor(DType::kU8, {8});
    expect_refused("stored quantised");
    expect_refused("full-precision base that they were made from, with --dtype nf4");
    tensors_.erase(part);
  }
  for (const Json& form : {Json{{"quant_method", "gptq"}, {"bits", 4}}, Json{{"load_in_4bit", true}}, Json{{"quant_method", "awq"}}}) {
    Json config = golden_["config"];
    config["quantization_config"] = form;
    const auto refused = parse_model_config(config);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.status().code(), Code::kUnsupported);
    EXPECT_THAT(refused.status().message(), HasSubstr("quantization_config"));
    EXPECT_THAT(refused.status().message(), HasSubstr("--dtype nf4"));
  }
}

TEST(ModelFolderTest, WhatIsNoModelIsSaidSo) {
  testing::TempDir dir;
  const auto error = [&] { return load_model_config(dir.path()).status().message(); };
  const auto write = [&](const char* name) {
    std::filesystem::create_directories((dir.path() / name).parent_path());
    ASSERT_TRUE(write_file_atomic(dir.path() / name, "x").ok());
  };
  EXPECT_THAT(error(), HasSubstr("has no config.json; give the folder of a Hugging Face checkpoint"));
  write("tiny.gguf");
  EXPECT_THAT(error(), HasSubstr("tiny.gguf is a GGUF file"));
  write("params.json");
  EXPECT_THAT(error(), HasSubstr("its maker's own format"));
  write("adapter_config.json");
  EXPECT_THAT(error(), HasSubstr("it is an adapter"));
  write("snapshots/abc/config.json");
  EXPECT_THAT(error(), HasSubstr("it is in the sub-folder snapshots/abc"));
}

TEST_F(CheckpointTest, OldBuffersAreLeftOut) {
  tensors_["model.layers.0.self_attn.rotary_emb.inv_freq"] = Tensor(DType::kF32, {4});
  EXPECT_TRUE(load().ok());
}

TEST_F(CheckpointTest, DtypeAutoIsTheConfigsElseTheFiles) {
  EXPECT_EQ((*load())->weight_dtype(), DType::kF32);
  golden_["config"]["dtype"] = "float16";
  EXPECT_EQ((*load())->weight_dtype(), DType::kF16);
  golden_["config"].erase("dtype");
  Tensor& table = tensors_["model.embed_tokens.weight"];
  table = Tensor::converted(table.view(), DType::kBF16);
  EXPECT_EQ((*load())->weight_dtype(), DType::kBF16);
  EXPECT_EQ((*load("bf16"))->kv_shape().dtype, DType::kBF16);
  EXPECT_EQ((*load("f16"))->kv_shape().dtype, DType::kBF16);
  EXPECT_EQ((*load("f32"))->kv_shape().dtype, DType::kF32);
  EXPECT_EQ((*load("f32"))->factor_dtype(), DType::kF32);
  EXPECT_EQ((*load("f16"))->factor_dtype(), DType::kBF16);
  EXPECT_FALSE(load("i8").ok());
  EXPECT_FALSE(load("half a byte").ok());
}

TEST_F(CheckpointTest, SixteenBitModesHalveTheWeights) {
  const size_t wide = (*load("f32"))->weight_bytes();
  const size_t narrow = (*load("bf16"))->weight_bytes();
  EXPECT_LT(narrow, wide * 6 / 10);
}

TEST_F(CheckpointTest, Int8QuantisesTheDecodersLinearLayersOnly) {
  const auto model = *load("int8");
  EXPECT_EQ(model->weight_type(), "int8");
  EXPECT_EQ(model->weight_dtype(), DType::kF32);
  for (const Target& target : model->targets().targets()) {
    if (target.kind == TargetKind::kLinear) {
      EXPECT_EQ(target.weight->quantisation(), kernels::Quantisation::kInt8) << target.path;
    } else if (target.weight != nullptr) {
      EXPECT_EQ(target.weight->dtype(), DType::kF32) << target.path;
    }
  }
  EXPECT_EQ((*load("f32"))->weight_type(), "f32");
}

TEST_F(CheckpointTest, AWeightThatCannotBeQuantisedIsNamedWithTheRemedy) {
  for (const char* form : {"nf4", "nf4-dq"}) {  // hidden size 32
    const Status status = load(form).status();
    EXPECT_EQ(status.code(), Code::kUnsupported);
    EXPECT_THAT(status.message(), HasSubstr("model.layers.0.self_attn.q_proj.weight cannot be stored as " + std::string(form)));
    EXPECT_THAT(status.message(), HasSubstr("--dtype int8"));
  }
  tensors_["model.layers.1.mlp.up_proj.weight"].f32()[3] = std::nanf("");
  const Status status = load("int8").status();
  EXPECT_EQ(status.code(), Code::kDataLoss);
  EXPECT_THAT(status.message(), HasSubstr("model.layers.1.mlp.up_proj.weight"));
  EXPECT_THAT(load("int4").status().message(), HasSubstr("nf4"));
}

TEST_F(CheckpointTest, ThreadsThatLoadDoNotChangeTheModel) {
  testing::write_checkpoint(dir_.path(), golden_["config"], tensors_);
  for (const char* dtype : {"f32", "bf16", "int8"}) {
    const auto one = *load_model(dir_.path(), {.dtype = dtype, .choice = choice_, .threads = 1});
    const auto two = *load_model(dir_.path(), {.dtype = dtype, .choice = choice_, .threads = 2});
    EXPECT_EQ(logits(one), logits(two)) << dtype;
  }
}

TEST(QuantisedSeedling, BytesPerWeightAreThoseOfTheForm) {
  const auto linear_bits = [](const char* dtype) {
    const auto model = load_model(testing::source_dir() / "assets/seedling", {.dtype = dtype}).value();
    double bytes = 0, count = 0;
    for (const Target& target : model->targets().targets()) {
      if (target.kind != TargetKind::kLinear) continue;
      bytes += static_cast<double>(target.weight->bytes());
      count += static_cast<double>(target.in * target.out);
    }
    return 8 * bytes / count;
  };
  EXPECT_NEAR(linear_bits("bf16"), 16.0, 1e-9);
  EXPECT_NEAR(linear_bits("int8"), 8.1, 0.05);
  EXPECT_NEAR(linear_bits("nf4"), 4.5, 1e-9);
  EXPECT_NEAR(linear_bits("nf4-dq"), 4.127, 0.001);
}

// A quantised model computes with the numbers that its weights read back as: bit by bit what an f32 model of them computes.
TEST(QuantisedSeedling, EqualsTheF32ModelOfWhatItReadsBackAs) {
  const kernels::Choice choice = testing::test_choice();
  const auto files = Safetensors::open_model(testing::source_dir() / "assets/seedling").value();
  Json config = read_json(testing::source_dir() / "assets/seedling/config.json").value();
  config["dtype"] = "float32";
  config["num_hidden_layers"] = 2;
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, view] : files.tensors()) {
    const size_t layer = name.find("layers.");
    if (layer == std::string::npos || std::stoi(name.substr(layer + 7)) < 2) tensors.emplace(name, Tensor::widened(view));
  }
  testing::TempDir plain, widened;
  testing::write_checkpoint(plain.path(), config, tensors);
  const std::vector<int32_t> tokens = {1, 17, 300, 5, 4000, 77, 2048, 9};
  for (const char* form : {"int8", "nf4", "nf4-dq"}) {
    const auto quantised = load_model(plain.path(), {.dtype = form, .choice = choice}).value();
    for (const Target& target : quantised->targets().targets()) {
      if (target.kind != TargetKind::kLinear) continue;
      float* values = tensors.at(target.path + ".weight").f32();
      for (int64_t row = 0; row < target.out; ++row) target.weight->read_row(row, values + row * target.in);
    }
    testing::write_checkpoint(widened.path(), config, tensors);
    const auto wide = load_model(widened.path(), {.dtype = "f32", .choice = choice}).value();
    EXPECT_EQ(testing::ForwardRunner(quantised, choice).run({.tokens = tokens}),
              testing::ForwardRunner(wide, choice, 2).run({.tokens = tokens}))
        << form;
    for (auto& [name, tensor] : tensors) tensor = Tensor::widened(*files.find(name));  // for the next form
  }
}

TEST_F(TiedCheckpointTest, AStoredHeadIsAllowedAndTheTyingDecides) {
  const std::vector<float> expected = logits(*load());
  tensors_["lm_head.weight"] = Tensor::widened(tensors_["model.embed_tokens.weight"].view());
  EXPECT_EQ(logits(*load()), expected);
  tensors_["lm_head.weight"].f32()[5] += 1.0f;  // warned about, as transformers ignored
  EXPECT_EQ(logits(*load()), expected);
}

TEST_F(TiedCheckpointTest, TheSharedWeightIsKeptOnce) {
  const auto model = *load();
  const TargetTable& targets = model->targets();
  const Target& embedding = targets[targets.find("model.embed_tokens")];
  const Target& head = targets[targets.find("lm_head")];
  EXPECT_EQ(embedding.kind, TargetKind::kEmbedding);
  EXPECT_EQ(embedding.weight, head.weight);
  EXPECT_TRUE(embedding.tied && head.tied);
  EXPECT_EQ(embedding.table.data, nullptr);
}

TEST_F(TiedCheckpointTest, AFolderWithoutWeightsIsRefused) {
  ASSERT_TRUE(load().ok());
  std::filesystem::remove(dir_.path() / "model.safetensors");
  EXPECT_FALSE(load_model(dir_.path(), {.choice = choice_}).ok());
}

}  // namespace
}  // namespace umbel
