#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "base/random.h"

namespace umbel {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::map<int32_t, double> probabilities(const SampleInput& input) {
  SamplerScratch scratch(static_cast<int64_t>(input.logits.size()));
  double mass = 0;
  std::map<int32_t, double> result;
  for (const auto& candidate : sampling_candidates(input, scratch)) mass += result[candidate.id] = std::exp(candidate.score);
  for (auto& [id, probability] : result) probability /= mass;
  for (int32_t count : scratch.counts) EXPECT_EQ(count, 0) << "scratch is not clean";
  return result;
}

SamplingParams params_of(const nlohmann::json& json) {
  SamplingParams params;
  params.temperature = json.at("temperature");
  params.top_k = json.value("top_k", 0);
  params.top_p = json.value("top_p", 1.0f);
  params.min_p = json.value("min_p", 0.0f);
  params.typical_p = json.value("typical_p", 1.0f);
  params.repetition_penalty = json.value("repetition_penalty", 1.0f);
  if (json.contains("logit_bias")) params.logit_bias = json.at("logit_bias").get<std::vector<std::pair<int32_t, float>>>();
  return params;
}

// tools/record_sampler_goldens.py
TEST(Sampler, LeavesWhatTransformersLeaves) {
  std::ifstream file(std::string(std::getenv("UMBEL_SOURCE_DIR")) + "/tests/goldens/engine/sampler.json");
  ASSERT_TRUE(file.good());
  const auto golden = nlohmann::json::parse(file);
  ASSERT_GE(golden.at("cases").size(), 50u);
  size_t index = 0;
  for (const auto& one : golden.at("cases")) {
    const SamplingParams params = params_of(one.at("params"));
    const auto logits = one.at("logits").get<std::vector<float>>();
    auto history = one.at("prompt").get<std::vector<int32_t>>();
    const auto prompt_tokens = static_cast<int32_t>(history.size());
    for (int32_t token : one.at("answer")) history.push_back(token);
    const auto banned = one.at("params").value("banned", std::vector<int32_t>());
    const auto ours = probabilities({params, logits, history, prompt_tokens, banned});
    EXPECT_EQ(ours.size(), one.at("left").size()) << "case " << index;
    for (const auto& [id, probability] : ours) {
      EXPECT_NEAR(probability, one.at("left").value(std::to_string(id), -1.0), 2e-6) << "case " << index << " id " << id;
    }
    ++index;
  }
}

TEST(Sampler, GreedyTakesTheFirstOfTheLargest) {
  const SamplingParams params;
  SamplerScratch scratch(5);
  const std::vector<int32_t> history = {0};
  EXPECT_EQ(sample_token({params, std::vector<float>{1, 3, kNan, 3, 2}, history, 1}, scratch), 1);
  EXPECT_EQ(sample_token({params, std::vector<float>{1, 3, kInfinity, 3, 2}, history, 1}, scratch), 2);
  EXPECT_EQ(sample_token({params, std::vector<float>(5, kNan), history, 1}, scratch), -1);
  EXPECT_EQ(sample_token({params, std::vector<float>(5, -kInfinity), history, 1}, scratch), -1);
}

// An embedding with more rows than the tokenizer has tokens (Phi-2): whatever those rows score, they have no chance.
TEST(Sampler, RowsWithoutATokenNeverComeOut) {
  SamplerScratch scratch(6);
  const std::vector<int32_t> history = {0}, tokenless = {2, 4, 5, 9};
  const std::vector<float> logits = {1, 3, 90, 2, 80, 70};
  const SamplingParams greedy;
  EXPECT_EQ(sample_token({greedy, logits, history, 1, {}, {}, tokenless}, scratch), 1);
  SamplingParams hot;
  hot.temperature = 50.0f;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    hot.seed = seed;
    const int32_t token = sample_token({hot, logits, history, 1, {}, {}, tokenless}, scratch);
    EXPECT_TRUE(token == 0 || token == 1 || token == 3) << token;
  }
}

TEST(Sampler, NotANumberNeverComesOut) {
  Random random(3);
  SamplerScratch scratch(6);
  const std::vector<int32_t> history = {0, 1, 2};
  for (int round = 0; round < 2000; ++round) {
    std::vector<float> logits(6);
    for (float& logit : logits) {
      const float kinds[] = {kNan, kInfinity, -kInfinity, static_cast<float>(random.next_normal()), 3e38f, -3e38f};
      logit = kinds[random.next_below(6)];
    }
    SamplingParams params{.temperature = 1e-30f + static_cast<float>(random.next_double()), .seed = random.next_u64()};
    if (random.next_below(2) == 0) params.top_p = 0.7f;
    if (random.next_below(2) == 0) params.min_p = 0.2f;
    if (random.next_below(2) == 0) params.typical_p = 0.5f;
    if (random.next_below(2) == 0) params.repetition_penalty = 1.5f;
    const int32_t token = sample_token({params, logits, history, 1}, scratch);
    const bool usable = std::any_of(logits.begin(), logits.end(), [](float l) { return l > -kInfinity; });
    ASSERT_EQ(token >= 0, usable);
    if (token >= 0) {
      ASSERT_GT(logits[token], -kInfinity);
    }
  }
}

TEST(Sampler, AnswerPenaltiesCountTheAnswerOnly) {
  SamplingParams params{.temperature = 1.0f, .presence_penalty = 0.5f, .frequency_penalty = 0.25f};
  const std::vector<float> logits = {0, 0, 0};
  const std::vector<int32_t> history = {2, 2, 0, 1, 0};  // prompt 2 2, answer 0 1 0
  const auto p = probabilities({params, logits, history, 2});
  EXPECT_NEAR(p.at(0) / p.at(2), std::exp(-1.0), 1e-6);
  EXPECT_NEAR(p.at(1) / p.at(2), std::exp(-0.75), 1e-6);
}

TEST(Sampler, PureFunctionOfSeedAndStep) {
  Random random(5);
  std::vector<float> logits(50);
  for (float& logit : logits) logit = static_cast<float>(random.next_normal());
  SamplerScratch a(50), b(50);
  std::vector<int32_t> history = {1};
  std::map<int32_t, int> seen;
  for (int step = 0; step < 200; ++step) {
    SamplingParams params{.temperature = 1.0f, .seed = 9};
    const int32_t token = sample_token({params, logits, history, 1}, a);
    (void)sample_token({params, logits, std::vector<int32_t>{1, 2}, 1}, b);  // another use in between changes nothing
    ASSERT_EQ(token, sample_token({params, logits, history, 1}, b));
    ++seen[token];
    history.push_back(token);
  }
  EXPECT_GT(seen.size(), 20u);
}

TEST(Sampler, DrawsWithTheRightFrequencies) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.2f)};
  SamplerScratch scratch(3);
  std::array<int, 3> counts{};
  constexpr int kDraws = 20000;
  for (int draw = 0; draw < kDraws; ++draw) {
    const SamplingParams params{.temperature = 1.0f, .seed = static_cast<uint64_t>(draw)};
    ++counts[sample_token({params, logits, std::vector<int32_t>{0}, 1}, scratch)];
  }
  EXPECT_NEAR(counts[0] / double(kDraws), 0.5, 0.02);
  EXPECT_NEAR(counts[1] / double(kDraws), 0.3, 0.02);
  EXPECT_NEAR(counts[2] / double(kDraws), 0.2, 0.02);
}

TEST(Sampler, TopPOverALargeVocabularyEqualsFullSort) {
  Random random(7);
  std::vector<float> logits(5000);
  for (float& logit : logits) logit = static_cast<float>(random.next_normal() * 0.3);  // flat: thousands are kept
  const SamplingParams params{.temperature = 1.0f, .top_p = 0.9f};
  std::vector<std::pair<double, int32_t>> all;
  double mass = 0;
  const float largest = *std::max_element(logits.begin(), logits.end());
  for (int32_t id = 0; id < 5000; ++id) {
    all.emplace_back(-std::exp(logits[id] - largest), id);
    mass -= all.back().first;
  }
  std::sort(all.begin(), all.end());
  double before = 0;
  size_t kept = 0;
  while (before < 0.9 * mass) before -= all[kept++].first;
  const auto ours = probabilities({params, logits, std::vector<int32_t>{0}, 1});
  EXPECT_NEAR(static_cast<double>(ours.size()), static_cast<double>(kept), 1);
  EXPECT_GT(kept, 2000u);
  for (size_t i = 0; i + 1 < kept; ++i) EXPECT_TRUE(ours.contains(all[i].second));
}

TEST(TokenLogprobs, AreOfTheRawLogits) {
  const std::vector<float> logits = {1.0f, 3.0f, kNan, 3.0f, 0.0f};
  SamplerScratch scratch(5);
  const TokenLogprobs result = token_logprobs(logits, 0, 3, scratch);
  const double mass = std::exp(1.0) + 2 * std::exp(3.0) + 1;
  EXPECT_NEAR(result.logprob, 1 - std::log(mass), 1e-6);
  EXPECT_EQ(result.rank, 3);
  ASSERT_EQ(result.top.size(), 3u);
  EXPECT_EQ(result.top[0].first, 1);
  EXPECT_EQ(result.top[1].first, 3);
  EXPECT_EQ(result.top[2].first, 0);
  EXPECT_EQ(result.top[2].second, result.logprob);
  EXPECT_EQ(token_logprobs(logits, 1, 99, scratch).top.size(), 4u) << "NaN is not among the best";
  EXPECT_EQ(token_logprobs(logits, 2, 0, scratch).logprob, -kInfinity);
}

TEST(SamplingParams, EveryBadFieldIsNamed) {
  const auto named = [](SamplingParams params, const std::string& field) {
    const Status status = validate_sampling(params, 10);
    return status.code() == Code::kInvalidArgument && status.message().find(field) != std::string::npos;
  };
  EXPECT_TRUE(validate_sampling({}, 10).ok());
  EXPECT_TRUE(named({.temperature = -1}, "temperature"));
  EXPECT_TRUE(named({.temperature = kNan}, "temperature"));
  EXPECT_TRUE(named({.top_k = -1}, "top_k"));
  EXPECT_TRUE(named({.top_p = 0}, "top_p"));
  EXPECT_TRUE(named({.top_p = 1.1f}, "top_p"));
  EXPECT_TRUE(named({.min_p = kNan}, "min_p"));
  EXPECT_TRUE(named({.typical_p = 0}, "typical_p"));
  EXPECT_TRUE(named({.repetition_penalty = 0}, "repetition_penalty"));
  EXPECT_TRUE(named({.presence_penalty = kInfinity}, "presence_penalty"));
  EXPECT_TRUE(named({.frequency_penalty = kNan}, "frequency_penalty"));
  EXPECT_TRUE(named({.logit_bias = {{10, 1.0f}}}, "logit_bias"));
  EXPECT_TRUE(named({.logit_bias = {{1, kNan}}}, "logit_bias"));
}

}  // namespace
}  // namespace umbel
