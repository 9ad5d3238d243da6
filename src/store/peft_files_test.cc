#include "store/peft_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "adapters/combine.h"
#include "io/test_folder.h"
#include "store/peft_dir.h"

namespace umbel {
namespace {

using ::testing::HasSubstr;

Path goldens() { return Path(std::getenv("UMBEL_SOURCE_DIR")) / "tests/goldens/merge"; }

const Json& cases() {
  static const Json kCases = read_json(goldens() / "goldens.json").value()["cases"];
  return kCases;
}

LoraModules read_modules(const Path& dir) {
  const auto peft = PeftDir::read(dir);
  CHECK(peft.ok(), peft.status().message().c_str());
  auto modules = read_lora_modules(peft->source());
  CHECK(modules.ok(), modules.status().message().c_str());
  return std::move(modules).value();
}

// scale * B A.
std::vector<double> delta(const LoraModule& module) {
  std::vector<double> dense(module.out() * module.in(), 0.0);
  for (int64_t o = 0; o < module.out(); ++o) {
    for (int64_t k = 0; k < module.rank(); ++k) {
      const double b = static_cast<double>(module.scale) * module.b.f32()[o * module.rank() + k];
      for (int64_t i = 0; i < module.in(); ++i) dense[o * module.in() + i] += b * module.a.f32()[k * module.in() + i];
    }
  }
  return dense;
}

double relative(const std::vector<double>& got, const std::vector<double>& wanted) {
  double difference = 0, largest = 1e-30;
  for (size_t i = 0; i < wanted.size(); ++i) {
    difference = std::max(difference, std::fabs(got[i] - wanted[i]));
    largest = std::max(largest, std::fabs(wanted[i]));
  }
  return difference / largest;
}

std::vector<double> values(const Tensor& tensor) { return {tensor.f32(), tensor.f32() + tensor.elements()}; }

class MergeGoldenTest : public ::testing::TestWithParam<Json> {};

// PEFT's add_weighted_adapter, recorded by tools/record_merge_goldens.py. Factors equal PEFT's one by one where the ranks
// do (PEFT pads cat with zeros where an adapter lacks a module); what they multiply to always does.
TEST_P(MergeGoldenTest, EqualsPeft) {
  const Json& item = GetParam();
  std::vector<LoraModules> adapters;
  std::vector<OrderedJson> configs;
  for (const Json& name : item["adapters"]) {
    adapters.push_back(read_modules(goldens() / name.get<std::string>()));
    configs.push_back(PeftDir::read_config(goldens() / name.get<std::string>()).value());
  }
  CombineOptions options{.method = parse_combine_method(item["method"].get<std::string>()).value(),
                         .weights = item["weights"].get<std::vector<double>>(),
                         .density = item.value("density", 0.5)};
  if (item.value("majority_sign", "") == "frequency") options.sign = MajoritySign::kFrequency;
  const auto made = combine(adapters, options);
  ASSERT_TRUE(made.ok()) << made.status().to_string();

  // Through a folder of ours.
  OrderedJson config = configs.front();
  unite_targets(config, configs, *made);
  const auto files = lora_files(config, *made, DType::kF32);
  ASSERT_TRUE(files.ok());
  TestFolder test;
  ASSERT_TRUE(write_peft_files(test / "out", *files, Existing::kRefuse).ok());
  const LoraModules ours = read_modules(test / "out");
  const Path theirs_dir = goldens() / item["name"].get<std::string>();
  const LoraModules theirs = read_modules(theirs_dir);
  ASSERT_EQ(ours.size(), theirs.size());
  int factors = 0;
  for (const auto& [path, module] : theirs) {
    ASSERT_TRUE(ours.contains(path)) << path;
    EXPECT_LT(relative(delta(ours.at(path)), delta(module)), 2e-6) << path;
    EXPECT_EQ(ours.at(path).embedding, module.embedding);
    if (module.rank() != ours.at(path).rank()) continue;
    EXPECT_LT(relative(values(ours.at(path).a), values(module.a)), 1e-6) << path;
    EXPECT_LT(relative(values(ours.at(path).b), values(module.b)), 1e-6) << path;
    ++factors;
  }
  EXPECT_TRUE(factors > 0 || options.method == CombineMethod::kCat);
  const auto targets = [](const Json& from) { return std::set<Json>(from.begin(), from.end()); };
  EXPECT_EQ(targets(PeftDir::read_config(test / "out").value()["target_modules"]),
            targets(PeftDir::read_config(theirs_dir).value()["target_modules"]));
}

INSTANTIATE_TEST_SUITE_P(Cases, MergeGoldenTest, ::testing::ValuesIn(cases().get<std::vector<Json>>()),
                         [](const auto& info) { return info.param["name"].template get<std::string>(); });

TEST(PeftFilesTest, RanksThatDifferBecomePatterns) {
  LoraModules modules;
  for (const auto& [path, rank] : std::map<std::string, int64_t>{{"m.a", 2}, {"m.b", 5}, {"m.c", 5}}) {
    modules.emplace(path, LoraModule{.a = Tensor(DType::kF32, {rank, 3}), .b = Tensor(DType::kF32, {4, rank})});
  }
  const auto files = lora_files({{"use_rslora", true}, {"lora_alpha", 99}}, modules, DType::kBF16);
  ASSERT_TRUE(files.ok());
  EXPECT_EQ(files->config["r"], 5);
  EXPECT_EQ(files->config["lora_alpha"], 5);
  EXPECT_EQ(files->config["use_rslora"], false);
  EXPECT_EQ(files->config["rank_pattern"], (OrderedJson{{"m.a", 2}}));
  EXPECT_EQ(files->config["alpha_pattern"], (OrderedJson{{"m.a", 2}}));
  EXPECT_EQ(files->tensors.at("base_model.model.m.a.lora_A.weight").dtype(), DType::kBF16);
}

TEST(PeftFilesTest, LimitedTargetsBecomeFullPaths) {
  LoraModules modules;
  modules.emplace("m.layers.3.q_proj", LoraModule());
  OrderedJson config = {{"target_modules", {"q_proj"}}, {"layers_to_transform", {3}}};
  const std::vector<OrderedJson> configs = {config, {{"target_modules", {"v_proj"}}}};
  unite_targets(config, configs, modules);
  EXPECT_EQ(config["target_modules"], OrderedJson{"m.layers.3.q_proj"});
  EXPECT_TRUE(config["layers_to_transform"].is_null());
}

TEST(PeftFilesTest, ValuesTooLargeForF16AreRefusedByName) {
  Tensor tensor(DType::kF32, {2});
  tensor.f32()[1] = 70000;
  EXPECT_TRUE(rounded_tensor("x", tensor.view(), DType::kBF16).ok());
  const auto refused = rounded_tensor("lora_B of q", tensor.view(), DType::kF16);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.status().message(), HasSubstr("70000"));
  EXPECT_THAT(refused.status().message(), HasSubstr("lora_B of q"));
}

}  // namespace
}  // namespace umbel
