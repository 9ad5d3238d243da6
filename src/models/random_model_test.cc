#include "models/random_model.h"

#include <gtest/gtest.h>

#include <cmath>

#include "models/forward_testing.h"

namespace umbel {
namespace {

ModelConfig small_config(const std::string& more = "") {
  const std::string text = R"({"model_type": "llama", "vocab_size": 96, "hidden_size": 64, "intermediate_size": 160,
      "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128)" +
                           more + "}";
  return parse_model_config(parse_json(text, "test").value()).value();
}

std::vector<float> logits_of(const std::shared_ptr<const Model>& model, const kernels::Choice& choice) {
  return testing::ForwardRunner(model, choice).run({{3, 1, 4, 1, 5, 9, 2, 6}});
}

TEST(RandomModelTest, SameSeedSameModelOtherSeedAnother) {
  const kernels::Choice choice = testing::test_choice();
  const ModelOptions options{.dtype = "bf16", .choice = choice};
  const auto first = logits_of(make_random_model(small_config(), 7, options).value(), choice);
  EXPECT_EQ(logits_of(make_random_model(small_config(), 7, options).value(), choice), first);
  EXPECT_NE(logits_of(make_random_model(small_config(), 8, options).value(), choice), first);
}

TEST(RandomModelTest, WeightsHaveTheStatedSpreadAndAreKeptInTheStatedType) {
  const kernels::Choice choice = testing::test_choice();
  const auto model = make_random_model(small_config(), 1, {.dtype = "auto", .choice = choice}).value();
  EXPECT_EQ(model->weight_dtype(), DType::kBF16);
  const Target& up = model->targets()[model->targets().find("model.layers.1.mlp.up_proj")];
  std::vector<float> row(up.in);
  double sum = 0;
  double squares = 0;
  for (int64_t i = 0; i < up.out; ++i) {
    read_weight_row(up, i, row.data());
    for (const float w : row) {
      sum += w;
      squares += static_cast<double>(w) * w;
    }
  }
  const double count = static_cast<double>(up.in * up.out);
  EXPECT_NEAR(std::sqrt(squares / count), 0.02, 0.0005);
  EXPECT_NEAR(sum / count, 0.0, 0.0008);
}

TEST(RandomModelTest, EveryFamilyCanBeMade) {
  for (const char* type : {"llama", "mistral", "qwen2", "qwen3"}) {
    ModelConfig config = small_config();
    config.model_type = type;
    config.qk_norm = config.model_type == "qwen3";
    config.attention_bias = config.model_type == "qwen2";
    const auto model = make_random_model(config, 1, {.dtype = "f32", .choice = testing::test_choice()});
    ASSERT_TRUE(model.ok()) << model.status().to_string();
    for (const float value : logits_of(*model, testing::test_choice())) ASSERT_TRUE(std::isfinite(value));
  }
}

TEST(RandomModelTest, RefusesWhatItCanNotMake) {
  ModelConfig config = small_config();
  config.model_type = "mamba";
  EXPECT_EQ(make_random_model(config, 1, {}).status().code(), Code::kUnsupported);
  EXPECT_EQ(make_random_model(small_config(), 1, {.dtype = "i8"}).status().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace umbel
