#include "adapters/bounds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "adapters/test_support.h"

namespace umbel {
namespace {

using ::testing::HasSubstr;
using testing::list;
using testing::SmallBase;
using testing::SmallFile;
using testing::value;

constexpr const char* kQ0 = "model.layers.0.self_attn.q_proj";

SmallFile lora(const SmallBase& base, double alpha = 4) {
  SmallFile file({{"peft_type", value("LORA")}, {"r", value(4)}, {"lora_alpha", value(alpha)},
                  {"target_modules", list({value("layers.0.self_attn.q_proj")})}});
  file.add(std::string(kQ0) + ".lora_A.weight", {4, base.at(kQ0).in});
  file.add(std::string(kQ0) + ".lora_B.weight", {base.at(kQ0).out, 4});
  return file;
}

void fill(SmallFile& file, const std::string& name, float value) {
  Tensor& tensor = file.tensor(name);
  std::fill(tensor.f32(), tensor.f32() + tensor.elements(), value);
}

TEST(Bounds, OrdinaryAdaptersPass) {
  const SmallBase base;
  EXPECT_TRUE(lora(base).build(base).ok());
  EXPECT_TRUE(lora(base).build(base, {.factor_dtype = DType::kBF16}).ok());
  SmallFile large = lora(base);  // a thousand times what training makes
  fill(large, std::string(kQ0) + ".lora_A.weight", 1e3f);
  fill(large, std::string(kQ0) + ".lora_B.weight", 1e3f);
  EXPECT_TRUE(large.build(base).ok());
}

TEST(Bounds, AValueThatNoWeightHasIsRefusedByItsTensor) {
  const SmallBase base;
  for (const float absurd : {3e38f, -3e38f, 1e13f, std::numeric_limits<float>::infinity(), std::nanf("")}) {
    SmallFile file = lora(base);
    file.tensor(std::string(kQ0) + ".lora_B.weight").f32()[5] = absurd;
    const auto built = file.build(base);
    ASSERT_FALSE(built.ok()) << absurd;
    EXPECT_EQ(built.status().code(), Code::kDataLoss);
    EXPECT_THAT(built.status().message(), HasSubstr(std::string(kQ0) + ".lora_B.weight"));
    EXPECT_THAT(built.status().message(), HasSubstr("element 5"));
  }
}

// Every value is one that a file may hold; together they are not.
TEST(Bounds, AProductThatF32CannotHoldIsRefusedByItsModule) {
  const SmallBase base;
  SmallFile factors = lora(base);
  fill(factors, std::string(kQ0) + ".lora_A.weight", 1e9f);
  fill(factors, std::string(kQ0) + ".lora_B.weight", 1e9f);
  SmallFile scale = lora(base, 1e30);
  for (const SmallFile* file : {&factors, &scale}) {
    const auto built = file->build(base);
    ASSERT_FALSE(built.ok());
    EXPECT_EQ(built.status().code(), Code::kDataLoss);
    EXPECT_THAT(built.status().message(), HasSubstr(kQ0));
  }
}

TEST(Bounds, ScaleTermsAndEmbeddingsAreBoundedToo) {
  TargetTable targets;
  targets.add({.path = "layer", .kind = TargetKind::kLinear, .in = 2, .out = 2});
  targets.add({.path = "embedding", .kind = TargetKind::kEmbedding, .in = 3, .out = 2});
  const float small[] = {1, -2, 1, 1}, huge[] = {1, -1e10f, 1, 1};
  const float poison[] = {1, std::nanf(""), 1, 1};
  const auto growth = [&](const float* pre, const float* post, const float* table) {
    Adapter adapter(2);
    adapter.add_linear(0).scale.push_back({pre, post});
    EmbeddingTerms& terms = adapter.add_embedding();
    terms.rank = 1;
    terms.a_t = table;
    terms.b_t = post == nullptr ? small : post;
    adapter.finish();
    return check_growth(adapter, targets);
  };
  EXPECT_TRUE(growth(small, small, small).ok());
  EXPECT_TRUE(growth(huge, nullptr, small).ok());
  EXPECT_THAT(growth(huge, huge, small).message(), HasSubstr("layer"));
  EXPECT_THAT(growth(poison, nullptr, small).message(), HasSubstr("layer"));
  EXPECT_THAT(growth(small, huge, huge).message(), HasSubstr("embedding"));
}

}  // namespace
}  // namespace umbel
