#include "adapters/combine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "adapters/test_support.h"

namespace umbel {
namespace {

using ::testing::HasSubstr;
using testing::list;
using testing::random_tensor;
using testing::SmallFile;
using testing::value;

constexpr const char* kPath = "model.layers.0.self_attn.q_proj";

LoraModule make_module(uint64_t seed, int64_t rank, float scale, int64_t in = 7, int64_t out = 5) {
  Random random(mix_key({seed}));
  LoraModule module{.a = random_tensor(random, {rank, in}), .b = random_tensor(random, {out, rank})};
  module.scale = scale;
  return module;
}

LoraModules one(uint64_t seed, int64_t rank, float scale) {
  LoraModules modules;
  modules.emplace(kPath, make_module(seed, rank, scale));
  return modules;
}

// scale * B A in double.
std::vector<double> delta(const LoraModule& module) {
  std::vector<double> dense(module.out() * module.in());
  for (int64_t o = 0; o < module.out(); ++o) {
    for (int64_t i = 0; i < module.in(); ++i) {
      double sum = 0;
      for (int64_t k = 0; k < module.rank(); ++k) {
        sum += static_cast<double>(module.b.f32()[o * module.rank() + k]) * module.a.f32()[k * module.in() + i];
      }
      dense[o * module.in() + i] = module.scale * sum;
    }
  }
  return dense;
}

std::vector<LoraModules> two(int64_t first_rank = 3, int64_t second_rank = 3) {
  std::vector<LoraModules> adapters;
  adapters.push_back(one(1, first_rank, 2.0f));
  adapters.push_back(one(2, second_rank, 0.25f));
  return adapters;
}

TEST(CombineTest, CatIsTheWeightedSumOfTheDeltas) {
  const std::vector<LoraModules> adapters = two(3, 2);
  const auto made = combine(adapters, {.method = CombineMethod::kCat, .weights = {0.7, -1.5}});
  ASSERT_TRUE(made.ok()) << made.status().to_string();
  const LoraModule& module = made->at(kPath);
  EXPECT_EQ(module.rank(), 5);
  EXPECT_EQ(module.scale, 1.0f);
  const auto first = delta(adapters[0].at(kPath)), second = delta(adapters[1].at(kPath)), both = delta(module);
  for (size_t i = 0; i < both.size(); ++i) EXPECT_NEAR(both[i], 0.7 * first[i] - 1.5 * second[i], 1e-5);
}

TEST(CombineTest, LinearOfOneAdapterWithItselfIsThatAdapter) {
  std::vector<LoraModules> adapters;
  adapters.push_back(one(1, 3, 2.0f));
  adapters.push_back(one(1, 3, 2.0f));
  // (sqrt(w s) + sqrt(w s))^2 with w = 1/4 is s.
  const auto made = combine(adapters, {.method = CombineMethod::kLinear, .weights = {0.25, 0.25}});
  ASSERT_TRUE(made.ok());
  const auto wanted = delta(adapters[0].at(kPath)), got = delta(made->at(kPath));
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], wanted[i], 1e-5);
}

TEST(CombineTest, ANegativeWeightTurnsOneSideOnly) {
  std::vector<LoraModules> adapters;
  adapters.push_back(one(1, 3, 1.0f));
  adapters.push_back(LoraModules());  // lacks the module
  const auto made = combine(adapters, {.method = CombineMethod::kLinear, .weights = {-4.0, 1.0}});
  ASSERT_TRUE(made.ok());
  const auto wanted = delta(adapters[0].at(kPath)), got = delta(made->at(kPath));
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], -4.0 * wanted[i], 1e-4);
}

TEST(CombineTest, KeepLargestIsTheSortedSelection) {
  Random random(3);
  for (const double density : {0.01, 0.1, 0.5, 0.77, 1.0}) {
    std::vector<float> entries(101);
    for (float& entry : entries) entry = std::round(4.0f * static_cast<float>(random.next_normal()));  // many equals
    std::vector<float> naive = entries;
    std::vector<size_t> order(entries.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return std::fabs(entries[a]) > std::fabs(entries[b]); });
    for (size_t i = static_cast<size_t>(density * 101); i < order.size(); ++i) naive[order[i]] = 0;
    keep_largest(entries, density);
    EXPECT_EQ(entries, naive) << density;
  }
}

// A scalar reading of the two papers, one entry at a time, on masks drawn by keep_random.
double naive_ties(const std::vector<float>& kept, const std::vector<double>& weights, bool by_value) {
  double vote = 0;
  for (const float x : kept) vote += by_value ? static_cast<double>(x) : (x > 0) - (x < 0);
  double sum = 0;
  int count = 0;
  for (size_t i = 0; i < kept.size(); ++i) {
    if (kept[i] == 0 || (kept[i] > 0) != (vote >= 0)) continue;
    sum += weights[i] * kept[i];
    ++count;
  }
  return count == 0 ? 0 : sum / count;
}

TEST(CombineTest, ElectedMeanEqualsTheScalarReference) {
  Random random(4);
  std::vector<std::vector<float>> entries(4, std::vector<float>(500));
  for (auto& one : entries) {
    for (float& entry : one) entry = static_cast<float>(random.next_normal());
    keep_largest(one, 0.4);
  }
  const std::vector<double> weights = {0.5, 1.25, -0.75, 0.1};
  for (const MajoritySign sign : {MajoritySign::kTotal, MajoritySign::kFrequency}) {
    const std::vector<float> mean = elected_mean(entries, weights, sign);
    for (size_t j = 0; j < mean.size(); ++j) {
      const std::vector<float> kept = {entries[0][j], entries[1][j], entries[2][j], entries[3][j]};
      EXPECT_NEAR(mean[j], naive_ties(kept, weights, sign == MajoritySign::kTotal), 1e-6);
    }
  }
}

TEST(CombineTest, DareKeepsTheShareAndTheExpectation) {
  constexpr int kCount = 200000;
  for (const double density : {0.1, 0.5, 0.9}) {
    std::vector<float> entries(kCount, 3.0f);
    keep_random(entries, density, mix_key({7}));
    double sum = 0;
    int kept = 0, pairs = 0;
    for (int i = 0; i < kCount; ++i) {
      EXPECT_TRUE(entries[i] == 0 || entries[i] == 3.0f / static_cast<float>(density));
      sum += entries[i];
      kept += entries[i] != 0;
      pairs += i > 0 && entries[i] != 0 && entries[i - 1] != 0;
    }
    const double deviation = std::sqrt(density * (1 - density) / kCount);
    EXPECT_NEAR(kept / double{kCount}, density, 5 * deviation);
    EXPECT_NEAR(sum / kCount, 3.0, 5 * 3.0 * deviation / density);
    EXPECT_NEAR(pairs / double{kCount}, density * density, 10 * deviation);  // neighbours are independent
  }
}

TEST(CombineTest, DareIsAPureFunctionOfItsSeedAndAllFactorsHaveMasksOfTheirOwn) {
  const std::vector<LoraModules> adapters = two();
  const auto make = [&](CombineMethod method, uint64_t seed) {
    auto made = combine(adapters, {.method = method, .weights = {1, 1}, .density = 0.5, .seed = seed});
    EXPECT_TRUE(made.ok());
    const Tensor& a = made->at(kPath).a;
    return std::vector<float>(a.f32(), a.f32() + a.elements());
  };
  for (const CombineMethod method : {CombineMethod::kDareLinear, CombineMethod::kDareTies}) {
    EXPECT_EQ(make(method, 1), make(method, 1));
    EXPECT_NE(make(method, 1), make(method, 2));
  }
  // At density 1 nothing is dropped: DARE is the plain method (ties elects among all entries).
  const auto whole = [&](CombineMethod method) {
    auto made = combine(adapters, {.method = method, .weights = {0.5, 0.8}, .density = 1.0});
    return delta(made->at(kPath));
  };
  EXPECT_EQ(whole(CombineMethod::kDareLinear), whole(CombineMethod::kLinear));
  EXPECT_EQ(whole(CombineMethod::kDareTies), whole(CombineMethod::kTies));
}

TEST(CombineTest, WhatDoesNotFitIsRefusedByName) {
  const auto message = [](const std::vector<LoraModules>& adapters, const CombineOptions& options) {
    const auto made = combine(adapters, options);
    return made.ok() ? std::string("ok") : made.status().message();
  };
  EXPECT_THAT(message(two(3, 2), {.method = CombineMethod::kTies, .weights = {1, 1}}), HasSubstr("--method cat takes any"));
  EXPECT_THAT(message(two(3, 2), {.method = CombineMethod::kTies, .weights = {1, 1}}), HasSubstr(kPath));
  EXPECT_THAT(message(two(), {.weights = {1}}), HasSubstr("2 adapters and 1 weights"));
  EXPECT_THAT(message(two(), {.method = CombineMethod::kTies, .weights = {1, 1}, .density = 0}), HasSubstr("density"));
  EXPECT_THAT(message(two(), {.weights = {1, NAN}}), HasSubstr("not finite"));
  std::vector<LoraModules> other = two();
  other[1].at(kPath) = make_module(5, 3, 1, 9, 5);
  EXPECT_THAT(message(other, {.weights = {1, 1}}), HasSubstr("different base models"));
  EXPECT_FALSE(parse_combine_method("mean").ok());
  EXPECT_THAT(parse_combine_method("mean").status().message(), HasSubstr("dare_ties"));
}

// ---- reading ---------------------------------------------------------------------------------------------------------

SmallFile lora_file() {
  SmallFile file({{"peft_type", value("LORA")}, {"r", value(4)}, {"lora_alpha", value(6)}, {"target_modules", list({value("layers.0.self_attn.q_proj")})}});
  file.add(std::string(kPath) + ".lora_A.weight", {4, 24});
  file.add(std::string(kPath) + ".lora_B.weight", {24, 4});
  return file;
}

std::string reading_failure(const SmallFile& file) {
  const auto source = file.source();
  if (!source.ok()) return source.status().message();
  const auto modules = read_lora_modules(*source);
  return modules.ok() ? "ok" : modules.status().message();
}

TEST(LoraModulesTest, FactorsAndScaleAreThoseOfTheBuiltAdapter) {
  for (const bool rslora : {false, true}) {
    SmallFile file = lora_file();
    file.set("use_rslora", value(rslora));
    const testing::SmallBase base;
    const auto adapter = file.build(base).value();
    const auto source = file.source().value();
    const auto modules = read_lora_modules(source);
    ASSERT_TRUE(modules.ok()) << modules.status().to_string();
    const LowRankTerm& term = adapter->linear(base.targets().find(kPath))->low_rank.front();
    EXPECT_EQ(modules->at(kPath).scale, term.scale);
    const auto folded = low_rank_modules(*adapter, base.targets());
    ASSERT_TRUE(folded.ok());
    EXPECT_EQ(folded->at(kPath).scale, 1.0f);
    const auto wanted = delta(modules->at(kPath)), got = delta(folded->at(kPath));
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], wanted[i], 1e-5);
  }
}

TEST(LoraModulesTest, WhatIsMoreThanLowRankIsRefusedByName) {
  SmallFile dora = lora_file();
  dora.set("use_dora", value(true));
  dora.add(std::string(kPath) + ".lora_magnitude_vector", {24});
  EXPECT_THAT(reading_failure(dora), HasSubstr("use_dora"));
  SmallFile saved = lora_file();
  saved.set("modules_to_save", list({value("lm_head")}));
  EXPECT_THAT(reading_failure(saved), HasSubstr("modules_to_save"));
  SmallFile biased = lora_file();
  biased.set("bias", value("all"));
  EXPECT_THAT(reading_failure(biased), HasSubstr("bias"));
  SmallFile half = lora_file();
  half.remove(std::string(kPath) + ".lora_B.weight");
  EXPECT_THAT(reading_failure(half), HasSubstr("lora_B.weight is missing"));
  SmallFile rank = lora_file();
  rank.set("r", value(3));
  EXPECT_THAT(reading_failure(rank), HasSubstr("says rank 3"));
  SmallFile broken = lora_file();
  broken.tensor(std::string(kPath) + ".lora_A.weight").f32()[5] = NAN;
  EXPECT_THAT(reading_failure(broken), HasSubstr("not finite (element 5)"));
  SmallFile other = lora_file();
  other.set("peft_type", value("IA3"));
  EXPECT_THAT(reading_failure(other), HasSubstr("IA3 is not a LoRA"));
  EXPECT_EQ(reading_failure(lora_file()), "ok");
}

}  // namespace
}  // namespace umbel
