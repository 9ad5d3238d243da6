#include "adapters/kind_tensors.h"

#include <gtest/gtest.h>

#include <set>

#include "adapters/tensor_names.h"

namespace umbel {
namespace {

TEST(KindTensorsTest, ShapesAreThoseOfTheModule) {
  const Target linear{.path = "q", .in = 24, .out = 12};
  const Target embedding{.path = "e", .kind = TargetKind::kEmbedding, .in = 30, .out = 24};
  EXPECT_EQ(file_shape(kLoraA, linear, 3), (Shape{3, 24}));
  EXPECT_EQ(file_shape(kLoraB, linear, 3), (Shape{12, 3}));
  EXPECT_EQ(file_shape(kLoraMagnitude, linear, 3), (Shape{12}));
  EXPECT_EQ(file_shape(kLoraEmbeddingA, embedding, 3), (Shape{3, 30}));
  EXPECT_EQ(file_shape(kLoraEmbeddingB, embedding, 3), (Shape{24, 3}));
  EXPECT_EQ(file_shape(kIa3Input, linear, 1), (Shape{1, 24}));
  EXPECT_EQ(file_shape(kIa3Output, linear, 1), (Shape{12, 1}));
  EXPECT_EQ(file_shape(kVeraD, linear, 5), (Shape{5}));
}

// What strangers' spellings are brought to is what the kinds look for: a kind that is declared is found.
TEST(KindTensorsTest, EveryDeclaredTensorIsFoundUnderAStrangersSpelling) {
  std::set<std::string_view> suffixes;
  for (const KindTensor& tensor : kind_tensors()) {
    suffixes.insert(tensor.suffix);
    const std::string own = tensor_name("model.layers.0.self_attn.q_proj", tensor.suffix);
    EXPECT_EQ(canonical_tensor_name(own), own);
    EXPECT_EQ(path_length(without_prefix(own)), std::string_view("model.layers.0.self_attn.q_proj").size());
    std::string named(marker_of(tensor));
    named += ".default" + std::string(tensor.suffix.substr(marker_of(tensor).size()));
    EXPECT_EQ(canonical_tensor_name(tensor_name("model.layers.0.self_attn.q_proj", named)), own) << named;
  }
  EXPECT_EQ(suffixes.size(), kind_tensors().size() - 1);  // IA3's two sides have one name
}

TEST(KindTensorsTest, LoraScale) {
  EXPECT_EQ(lora_scale(16, 8, false), 2.0f);
  EXPECT_EQ(lora_scale(16, 16, true), 4.0f);
}

}  // namespace
}  // namespace umbel
