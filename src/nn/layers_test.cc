// Where base and adapter meet outside of linear layers: embedding, norm, head; and the KV cache's arithmetic.
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "adapters/test_support.h"
#include "nn/embedding.h"
#include "nn/head.h"
#include "nn/kv_cache.h"
#include "nn/norm.h"

namespace umbel {
namespace {

using testing::SmallBase;
using testing::TestContext;

constexpr int64_t kDim = 24;  // SmallBase's hidden size

std::vector<float> table_row(const Target& embedding, int32_t token) {
  std::vector<float> row(embedding.out);
  read_weight_row(embedding, token, row.data());
  return row;
}

// embedding_forward over tokens whose rows belong to the given adapters, one segment each.
std::vector<std::vector<float>> embed(const SmallBase& base, const std::vector<int32_t>& tokens,
                                      const std::vector<const Adapter*>& adapters) {
  TestContext test(4096, 2);
  std::vector<Segment> segments;
  for (size_t i = 0; i < tokens.size(); ++i) segments.push_back({static_cast<int32_t>(i), 1, adapters[i]});
  const Rows rows{.tokens = tokens, .segments = segments};
  const Step step{test.context, base.targets(), rows, {}};
  std::vector<float> y(tokens.size() * kDim);
  embedding_forward(step, base.targets().find("model.embed_tokens"),
                    MatrixF(y.data(), static_cast<int64_t>(tokens.size()), kDim));
  std::vector<std::vector<float>> out;
  for (size_t i = 0; i < tokens.size(); ++i) out.emplace_back(y.begin() + i * kDim, y.begin() + (i + 1) * kDim);
  return out;
}

class EmbeddingTest : public ::testing::TestWithParam<bool> {
 protected:
  SmallBase base_{{.tied = GetParam()}};
  const Target& target_ = base_.at("model.embed_tokens");
  Random random_{mix_key({1, 2})};
};

TEST_P(EmbeddingTest, BaseRows) {
  const std::vector<int32_t> tokens = {0, 29, 7, 7};
  const auto rows = embed(base_, tokens, {nullptr, nullptr, nullptr, nullptr});
  for (size_t i = 0; i < tokens.size(); ++i) EXPECT_EQ(rows[i], table_row(target_, tokens[i]));
}

TEST_P(EmbeddingTest, WholeTableLowRankAndReplacedRowsSideBySide) {
  constexpr int32_t kRank = 3;
  const Tensor table = testing::random_tensor(random_, {30, kDim});
  const Tensor a_t = testing::random_tensor(random_, {30, kRank});
  const Tensor b_t = testing::random_tensor(random_, {kRank, kDim});
  const Tensor replaced = testing::random_tensor(random_, {2, kDim});
  Adapter whole(base_.targets().size());
  whole.add_embedding().own_table = table.f32();
  Adapter low_rank(base_.targets().size());
  EmbeddingTerms& terms = low_rank.add_embedding();
  terms.rank = kRank;
  terms.a_t = a_t.f32();
  terms.b_t = b_t.f32();
  terms.scale = 0.5f;
  Adapter some(base_.targets().size());
  some.add_embedding().replaced_tokens = {4, 11};
  some.add_embedding().replaced_rows = replaced.f32();

  const auto rows = embed(base_, {11, 11, 11, 11, 12}, {nullptr, &whole, &low_rank, &some, &some});
  EXPECT_EQ(rows[0], table_row(target_, 11));
  EXPECT_EQ(rows[1], std::vector<float>(table.f32() + 11 * kDim, table.f32() + 12 * kDim));
  for (int64_t i = 0; i < kDim; ++i) {
    float sum = 0;
    for (int32_t r = 0; r < kRank; ++r) sum += a_t.f32()[11 * kRank + r] * b_t.f32()[r * kDim + i];
    EXPECT_FLOAT_EQ(rows[2][i], rows[0][i] + 0.5f * sum);
  }
  EXPECT_EQ(rows[3], std::vector<float>(replaced.f32() + kDim, replaced.f32() + 2 * kDim));
  EXPECT_EQ(rows[4], table_row(target_, 12));
}

TEST_P(EmbeddingTest, ATokenOutsideTheVocabularyStopsTheProgram) {
  EXPECT_DEATH(embed(base_, {30}, {nullptr}), "vocabulary");
  EXPECT_DEATH(embed(base_, {-1}, {nullptr}), "vocabulary");
}

INSTANTIATE_TEST_SUITE_P(Bases, EmbeddingTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Tied" : "Untied"; });

// x / sqrt(mean(x^2) + eps) o gain, in double.
std::vector<float> normed(const float* x, int64_t dim, const float* gain, double epsilon) {
  double squares = 0;
  for (int64_t i = 0; i < dim; ++i) squares += static_cast<double>(x[i]) * x[i];
  std::vector<float> y(dim);
  for (int64_t i = 0; i < dim; ++i) {
    y[i] = static_cast<float>(x[i] / std::sqrt(squares / static_cast<double>(dim) + epsilon) * gain[i]);
  }
  return y;
}

TEST(NormTest, AdaptersOwnGainsPerRowAndPerHead) {
  const SmallBase base;
  const int32_t target = base.targets().find("model.norm");
  Random random(3);
  for (const int64_t heads : {1, 2}) {
    Tensor x = testing::random_tensor(random, {3, heads * kDim});
    const Tensor gain = testing::random_tensor(random, {kDim});
    Adapter own(base.targets().size());
    own.set_norm_gain(target, gain.f32());
    const std::array<Segment, 2> segments = {{{0, 1, nullptr}, {1, 2, &own}}};
    const Rows rows{.segments = segments};
    TestContext test(norm_scratch_bytes(3, heads));
    const MatrixF view(x.f32(), 3, heads * kDim);
    std::vector<std::vector<float>> expected;
    for (int64_t i = 0; i < 3 * heads; ++i) {
      const float* row_gain = i < heads ? base.targets()[target].vector : gain.f32();
      expected.push_back(normed(x.f32() + i * kDim, kDim, row_gain, 1e-5));
    }
    norm({test.context, base.targets(), rows, {}}, {.target = target, .epsilon = 1e-5f}, view, view);
    for (int64_t i = 0; i < 3 * heads; ++i) {
      for (int64_t j = 0; j < kDim; ++j) EXPECT_NEAR(x.f32()[i * kDim + j], expected[i][j], 2e-6);
    }
  }
}

TEST(HeadTest, OnlyTheWantedRowsEachWithItsOwnAdapter) {
  const SmallBase base;
  const Head head{.norm = {.target = base.targets().find("model.norm"), .epsilon = 1e-5f},
                  .projection = base.targets().find("lm_head")};
  const int64_t vocab = base.targets()[head.projection].out;
  Random random(5);
  const Tensor x = testing::random_tensor(random, {6, kDim});
  const Tensor bias = testing::random_tensor(random, {vocab});
  Adapter shifted(base.targets().size());
  shifted.add_linear(head.projection).bias = bias.f32();
  // Rows 0-1 base, 2-3 shifted (none wanted), 4-5 shifted under another segment.
  const std::array<Segment, 3> segments = {{{0, 2, nullptr}, {2, 2, &shifted}, {4, 2, &shifted}}};
  const std::array<int32_t, 2> wanted = {1, 5};
  const Rows rows{.segments = segments, .logit_rows = wanted};
  TestContext test(head_scratch_bytes(base.targets(), head, 2, 0));
  std::vector<float> logits(2 * vocab);
  head_forward({test.context, base.targets(), rows, {}}, head, ConstMatrixF(x.f32(), 6, kDim),
               MatrixF(logits.data(), 2, vocab));
  const Target& projection = base.targets()[head.projection];
  std::vector<float> weight(kDim);
  for (size_t i = 0; i < wanted.size(); ++i) {
    const std::vector<float> h = normed(x.f32() + wanted[i] * kDim, kDim, base.targets()[head.norm.target].vector, 1e-5);
    for (int64_t token = 0; token < vocab; ++token) {
      read_weight_row(projection, token, weight.data());
      double sum = i == 1 ? bias.f32()[token] : 0.0f;
      for (int64_t j = 0; j < kDim; ++j) sum += static_cast<double>(weight[j]) * h[j];
      EXPECT_NEAR(logits[i * vocab + token], sum, 1e-5);
    }
  }
  const Rows none{.segments = segments};
  head_forward({test.context, base.targets(), none, {}}, head, ConstMatrixF(x.f32(), 6, kDim), MatrixF());
}

TEST(KvCacheTest, LayersAreApartAndBytesAddUp) {
  const KvShape shape{.layers = 3, .kv_heads = 2, .head_dim = 24, .dtype = DType::kBF16};
  const KvCache cache(shape, 5);
  EXPECT_EQ(shape.block_bytes(), size_t{2 * 3 * 2} * kernels::kv_block_elements(2, 24));
  EXPECT_EQ(cache.bytes(), 5 * shape.block_bytes());
  const size_t layer_bytes = cache.bytes() / 6;
  std::vector<char*> starts;
  for (int32_t i = 0; i < 3; ++i) {
    starts.push_back(static_cast<char*>(cache.layer(i).k));
    starts.push_back(static_cast<char*>(cache.layer(i).v));
    EXPECT_EQ(cache.layer(i).kv_heads, 2);
    EXPECT_EQ(cache.layer(i).head_dim, 24);
    EXPECT_EQ(cache.layer(i).dtype, DType::kBF16);
  }
  std::sort(starts.begin(), starts.end());
  for (size_t i = 1; i < starts.size(); ++i) {
    EXPECT_GE(starts[i] - starts[i - 1], static_cast<std::ptrdiff_t>(layer_bytes));
  }
}

}  // namespace
}  // namespace umbel
