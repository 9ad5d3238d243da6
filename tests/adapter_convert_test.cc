// Converting and comparing: an adapter of every kind that has an exact conversion, converted, still gives the logits that
// PEFT gives for the original (tests/goldens/adapters); and the verbs diff, convert and export.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "adapters/registry.h"
#include "io/gguf_testing.h"
#include "io/test_folder.h"
#include "models/forward_testing.h"
#include "models/golden_testing.h"
#include "program.h"
#include "store/adapter_diff.h"
#include "store/convert.h"
#include "store/peft_dir.h"

namespace umbel {
namespace {

using ::testing::HasSubstr;

Path folder() { return testing::source_dir() / "tests/goldens/adapters"; }

const Json& golden() {
  static const Json kGolden = read_json(folder() / "goldens.json").value();
  return kGolden;
}

const Json& golden_case(const std::string& name) {
  for (const Json& item : golden()["cases"]) {
    if (item["name"] == name) return item;
  }
  CHECK(false, "a recorded case");
  return golden();
}

struct Converted {
  std::string name;
  std::string to;
};

class ConvertGoldenTest : public ::testing::TestWithParam<Converted> {
 protected:
  ConvertGoldenTest()
      : item_(golden_case(GetParam().name)),
        choice_(testing::test_choice()),
        model_(load_model(folder() / item_["base"].get<std::string>(), {.dtype = "f32", .choice = choice_}).value()) {}

  std::shared_ptr<const Adapter> build(const Path& dir) {
    const PeftDir peft = PeftDir::read(dir).value();
    auto built = build_adapter(peft.source(), model_->targets(), {});
    EXPECT_TRUE(built.ok()) << built.status().to_string();
    return std::move(built).value();
  }

  const Json& item_;
  kernels::Choice choice_;
  std::shared_ptr<const Model> model_;
};

TEST_P(ConvertGoldenTest, TheConvertedAdapterComputesTheSame) {
  const Path from = folder() / GetParam().name;
  const Json config = PeftDir::read_config(from).value();
  const PeftDir peft = PeftDir::read(from).value();
  const auto original = build(from);
  const ConvertInput input{.config = config, .source = peft.source(), .targets = &model_->targets(), .built = original.get()};
  const auto files = convert_adapter(input, GetParam().to, {});
  ASSERT_TRUE(files.ok()) << files.status().to_string();
  TestFolder test;
  ASSERT_TRUE(write_peft_files(test / "out", *files, Existing::kRefuse).ok());
  EXPECT_EQ(adapter_kind(PeftDir::read_config(test / "out").value()), GetParam().to);
  const auto converted = build(test / "out");
  testing::ForwardRunner runner(model_, choice_);
  const std::vector<float> logits = runner.run({testing::ints(golden()["tokens"]), converted.get()}, 3);
  const std::vector<float> expected = testing::floats(item_["logits"]);
  EXPECT_LT(testing::relative_difference(std::span(logits).last(expected.size()), expected), 2e-5);
  // Compared on the base, the two are one.
  for (const ModuleDifference& module : compare_adapters_on(model_->targets(), *original, *converted).modules) {
    EXPECT_LT(module.relative, 1e-5) << module.path;
    EXPECT_GT(module.update.cosine, 0.99999) << module.path;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, ConvertGoldenTest,
    ::testing::ValuesIn(std::vector<Converted>{
        {"lora", "rslora"}, {"lora_patterns", "rslora"}, {"lora_embed", "rslora"}, {"rslora", "lora"}, {"rslora_patterns", "lora"},
        {"vera", "lora"}, {"vera_shapes", "lora"}, {"loha", "lora"}, {"loha_patterns", "lora"}, {"loha_head", "lora"}, {"miss", "lora"},
        {"miss_uneven", "lora"}, {"miss_mini", "lora"}, {"ia3", "flora"}, {"ia3_outputs", "flora"}, {"ia3_regex", "flora"},
        {"ia3_saved", "flora"}, {"flora_mean", "flora-residual"}, {"flora_alpha", "flora-residual"}, {"flora_patterns", "flora-residual"},
        {"flora_offset", "flora-residual"}, {"flora_scale_bias", "flora-residual"}, {"flora_without_a", "flora-residual"},
        {"flora_embed", "flora-residual"}, {"flora_residual", "flora"}, {"flora_residual_scale_bias", "flora"}, {"flora_rank1", "hira"},
        {"flora_mean", "hira"}, {"flora_sum", "hira"}, {"flora_patterns", "hira"}, {"flora_without_b", "hira"}, {"flora_embed", "hira"},
        {"flora_residual", "hira"}, {"hira", "flora-residual"}, {"hira", "flora"}, {"hira_embed", "flora"}, {"hira_pattern", "flora-residual"}}),
    [](const auto& info) {
      std::string name = info.param.name + "_to_" + info.param.to;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

// ---- refusals and round trips ------------------------------------------------------------------------------------------

std::string failure(const std::string& name, const std::string& to, std::optional<DType> dtype = {}) {
  const Json config = PeftDir::read_config(folder() / name).value();
  const PeftDir peft = PeftDir::read(folder() / name).value();
  const auto files = convert_adapter({.config = config, .source = peft.source()}, to, dtype);
  return files.ok() ? "ok" : files.status().message();
}

TEST(ConvertTest, WhatIsNotExactIsRefusedWithItsReason) {
  EXPECT_THAT(failure("lora", "dora"), HasSubstr("row norms"));
  EXPECT_THAT(failure("dora", "lora"), HasSubstr("merge it into its base"));
  EXPECT_THAT(failure("lora", "flora"), HasSubstr("no common form"));
  EXPECT_THAT(failure("flora_mean", "lora"), HasSubstr("no common form"));
  EXPECT_THAT(failure("lora", "vera"), HasSubstr("random"));
  EXPECT_THAT(failure("vera", "lora"), HasSubstr("--base"));
  EXPECT_THAT(failure("loha", "lora"), HasSubstr("--base"));
  EXPECT_THAT(failure("lora", "loha"), HasSubstr("by chance"));
  EXPECT_THAT(failure("lora", "miss"), HasSubstr("by chance"));
  EXPECT_THAT(failure("ia3", "hira"), HasSubstr("by way of flora"));
  EXPECT_THAT(failure("lora", "lorra"), HasSubstr("there is no kind 'lorra'"));
  EXPECT_THAT(failure("flora_mean", "ia3"), HasSubstr("not an IA3 vector"));
  EXPECT_THAT(failure("flora_without_a", "hira"), HasSubstr("--base"));
  EXPECT_THAT(failure("flora_scale_bias", "hira"), HasSubstr("scale_bias"));
}

TEST(ConvertTest, Ia3ComesBackFromFlora) {
  const auto convert = [](const Json& config, const AdapterSource& source, const std::string& to, const TargetTable* targets) {
    return convert_adapter({.config = config, .source = source, .targets = targets}, to, {}).value();
  };
  const kernels::Choice choice = testing::test_choice();
  const auto model = load_model(folder() / golden_case("ia3")["base"].get<std::string>(), {.dtype = "f32", .choice = choice}).value();
  const PeftDir original = PeftDir::read(folder() / "ia3").value();
  TestFolder test;
  ASSERT_TRUE(write_peft_files(test / "flora", convert(PeftDir::read_config(folder() / "ia3").value(), original.source(), "flora", nullptr), Existing::kRefuse).ok());
  const PeftDir flora = PeftDir::read(test / "flora").value();
  const PeftFiles back = convert(PeftDir::read_config(test / "flora").value(), flora.source(), "ia3", &model->targets());
  ASSERT_EQ(back.tensors.size(), original.source().tensors.size());
  for (const auto& [name, view] : original.source().tensors) {
    const Tensor wanted = Tensor::widened(view);
    ASSERT_EQ(back.tensors.at(name).shape(), view.shape) << name;
    EXPECT_EQ(std::memcmp(back.tensors.at(name).data(), wanted.data(), wanted.bytes()), 0) << name;
  }
}

TEST(DiffTest, ConfigurationsAreComparedByMeaning) {
  const auto fields = compare_configs({{"r", 8}, {"target_modules", {"a", "b"}}, {"x", nullptr}, {"gone", 1}},
                                      {{"r", 4}, {"target_modules", {"b", "a"}}, {"y", false}});
  ASSERT_EQ(fields.size(), 2u);
  EXPECT_EQ(fields[0].field, "gone");
  EXPECT_TRUE(fields[0].second.is_null());
  EXPECT_EQ(fields[1].first, 8);
}

// The cheap comparison of factors says the same as the dense one on the base.
TEST(DiffTest, LowRankAndDenseComparisonsAgree) {
  const kernels::Choice choice = testing::test_choice();
  for (const auto& [one, two] : std::vector<std::pair<std::string, std::string>>{{"lora", "rslora"}, {"flora_mean", "flora_residual"}}) {
    const auto model = load_model(folder() / golden_case(one)["base"].get<std::string>(), {.dtype = "f32", .choice = choice}).value();
    const PeftDir first = PeftDir::read(folder() / one).value(), second = PeftDir::read(folder() / two).value();
    const auto cheap = compare_adapters(first.source(), second.source());
    ASSERT_TRUE(cheap.ok()) << cheap.status().to_string();
    const auto on_base = [&](const PeftDir& dir) { return build_adapter(dir.source(), model->targets(), {}).value(); };
    const AdapterDifference dense = compare_adapters_on(model->targets(), *on_base(first), *on_base(second));
    ASSERT_EQ(cheap->modules.size(), dense.modules.size());
    ASSERT_FALSE(dense.modules.empty());
    if (one != "lora") continue;  // modulations are not updates
    for (const ModuleDifference& module : dense.modules) {
      const auto same = std::find_if(cheap->modules.begin(), cheap->modules.end(), [&](const auto& m) { return m.path == module.path; });
      ASSERT_NE(same, cheap->modules.end());
      EXPECT_NEAR(same->update.difference, module.update.difference, 1e-4 * module.update.difference);
      EXPECT_NEAR(same->update.cosine, module.update.cosine, 1e-4);
    }
  }
}

// ---- the verbs ---------------------------------------------------------------------------------------------------------

using testing::project_dir;
using testing::run_program;

std::string adapters() { return (project_dir() / "tests/goldens/peft_adapters").string() + "/"; }

TEST(AdapterVerbs, EverySubVerbHasHelpWithExamples) {
  for (const std::string verb : {"merge", "diff", "convert", "export"}) {
    const auto run = run_program("adapter " + verb + " --help");
    EXPECT_EQ(run.status, 0);
    EXPECT_THAT(run.out, HasSubstr("Examples"));
    EXPECT_THAT(run.out, HasSubstr("--json"));
  }
}

TEST(AdapterVerbs, ConvertExportAndDiffOfSeedlingsAdapters) {
  TestFolder test;
  const std::string out = test.path().string() + "/";
  EXPECT_EQ(run_program("adapter convert " + adapters() + "banking77-lora-r8 --to rslora --out " + out + "rs").status, 0);
  const Json diff = Json::parse(run_program("adapter diff " + adapters() + "banking77-lora-r8 " + out + "rs --json").out);
  EXPECT_TRUE(diff["config"].contains("use_rslora"));
  ASSERT_EQ(diff["modules"].size(), 24u);
  for (const Json& module : diff["modules"]) EXPECT_LT(module["relative"].get<double>(), 1e-6);
  const auto hira = run_program("adapter export " + adapters() + "restaurant8k-flora-r4 --format hira --out " + out + "hira");
  EXPECT_EQ(hira.status, 0) << hira.error;
  const Json same = Json::parse(run_program("adapter diff " + adapters() + "restaurant8k-flora-r4 " + out + "hira --base seedling --json").out);
  ASSERT_EQ(same["modules"].size(), 84u);
  for (const Json& module : same["modules"]) EXPECT_LT(module["relative"].get<double>(), 1e-5);
  const auto gguf = run_program("adapter export " + adapters() + "e2e_nlg-rslora-r16 --format gguf --base seedling --dtype f16 --out " + out + "x.gguf");
  EXPECT_EQ(gguf.status, 0) << gguf.error;
  const auto file = testing::GgufReader::read(out + "x.gguf");
  EXPECT_EQ(file.tensors.size(), 168u);
  EXPECT_EQ(file.texts.at("general.architecture"), "llama");
}

TEST(AdapterVerbs, TypesAreConvertedAndTheFirstNameIsKeptUntilTheLastMoment) {
  TestFolder test;
  const std::string out = (test / "half").string();
  const std::string line = "adapter convert " + adapters() + "banking77-lora-r8 --dtype bf16 --json --out " + out;
  const auto first = run_program(line);
  ASSERT_EQ(first.status, 0) << first.error;
  EXPECT_EQ(Json::parse(first.out)["to"], "lora");
  const PeftDir half = PeftDir::read(out).value();
  for (const auto& [name, view] : half.source().tensors) EXPECT_EQ(view.dtype, DType::kBF16) << name;
  EXPECT_EQ(run_program(line).status, 2);  // there already
  EXPECT_EQ(run_program(line + " --force").status, 0);
  const Json diff = Json::parse(run_program("adapter diff " + adapters() + "banking77-lora-r8 " + out + " --json").out);
  EXPECT_TRUE(diff["config"].empty());
  for (const Json& module : diff["modules"]) {
    EXPECT_GT(module["relative"].get<double>(), 0);
    EXPECT_LT(module["relative"].get<double>(), 0.01);
    EXPECT_GT(module["cosine"].get<double>(), 0.9999);
  }
  EXPECT_EQ(test.entries(), 1);
}

TEST(AdapterVerbs, KindsThatHaveNothingInCommonAreComparedOnTheBase) {
  const std::string pair = adapters() + "banking77-lora-r8 " + adapters() + "clinc150-ia3";
  const Json apart = Json::parse(run_program("adapter diff " + pair + " --json").out);
  EXPECT_TRUE(apart["modules"].empty());
  EXPECT_THAT(apart["measure"].get<std::string>(), HasSubstr("--base"));
  const Json on_base = Json::parse(run_program("adapter diff " + pair + " --base seedling --json").out);
  std::map<std::string, int> in;
  for (const Json& module : on_base["modules"]) ++in[module["in"].get<std::string>()];
  EXPECT_EQ(in["both"], 12);    // v
  EXPECT_EQ(in["first"], 12);   // q
  EXPECT_EQ(in["second"], 24);  // k, down
  const auto text = run_program("adapter diff " + pair + " --base seedling");
  EXPECT_THAT(text.out, HasSubstr("peft_type"));
  EXPECT_THAT(text.out, HasSubstr("model.layers.11.self_attn.v_proj"));
}

TEST(AdapterVerbs, BadInputIsOneClearLineAndLeavesNothing) {
  TestFolder test;
  const std::string out = " --out " + (test / "new").string();
  const std::pair<std::string, std::string> wrong[] = {
      {"convert " + adapters() + "banking77-lora-r8 --to flora" + out, "no common form"},
      {"convert " + adapters() + "banking77-lora-r8" + out, "already"},
      {"convert nofolder --to lora" + out, "nofolder"},
      {"export " + adapters() + "restaurant8k-dora-r16 --base seedling" + out, "use_dora"},
      {"export " + adapters() + "restaurant8k-flora-r4 --base seedling" + out, "merge it into its base"},
      {"export " + adapters() + "banking77-lora-r8" + out, "needs --base"},
      {"export " + (folder() / "lora").string() + " --base seedling" + out, "another base model"},
      {"export " + adapters() + "banking77-lora-r8 --base seedling --out " + test.path().string() + " --force", "is a folder"},
      {"export " + adapters() + "banking77-lora-r8 --format hira" + out, "no common form"},
      {"diff " + adapters() + "banking77-lora-r8 " + (folder() / "lora_layer").string() + " --base seedling", "another base model"},
  };
  for (const auto& [arguments, expected] : wrong) {
    const auto run = run_program("adapter " + arguments);
    EXPECT_EQ(run.status, 2) << arguments << run.out;
    EXPECT_THAT(run.error, HasSubstr(expected)) << arguments;
    EXPECT_EQ(std::count(run.error.begin(), run.error.end(), '\n'), 1) << run.error;
  }
  EXPECT_EQ(test.entries(), 0);
}

}  // namespace
}  // namespace umbel
