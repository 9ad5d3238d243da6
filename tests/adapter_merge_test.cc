// An adapter of every kind and PEFT field merged into its base: the new checkpoint alone gives the logits that PEFT gives
// for base and adapter (tests/goldens/adapters). And the verb: what it writes, reports and refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "adapters/merge.h"
#include "adapters/registry.h"
#include "io/safetensors.h"
#include "io/test_folder.h"
#include "models/forward_testing.h"
#include "models/golden_testing.h"
#include "program.h"
#include "store/merged_checkpoint.h"
#include "store/peft_dir.h"

namespace umbel {
namespace {

using ::testing::HasSubstr;

Path folder() { return testing::source_dir() / "tests/goldens/adapters"; }

const Json& golden() {
  static const Json kGolden = read_json(folder() / "goldens.json").value();
  return kGolden;
}

class MergedCheckpointTest : public ::testing::TestWithParam<Json> {};

TEST_P(MergedCheckpointTest, AloneItGivesTheLogitsOfBaseAndAdapter) {
  const std::string name = GetParam()["name"];
  const Path base = folder() / GetParam()["base"].get<std::string>();
  const kernels::Choice choice = testing::test_choice();
  const auto model = load_model(base, {.dtype = "f32", .choice = choice}).value();
  const PeftDir dir = PeftDir::read(folder() / name).value();
  const auto adapter = build_adapter(dir.source(), model->targets(), {}).value();
  TestFolder out;
  const auto report = write_merged_checkpoint(base, model->targets(), *adapter, {.dtype = DType::kF32}, out.path());
  if (name == "lora_lora_bias_bias_only" || name == "lora_lora_bias") {  // the tied base has no biases
    if (!report.ok()) {
      EXPECT_THAT(report.status().message(), HasSubstr("has no place for"));
      return;
    }
  }
  ASSERT_TRUE(report.ok()) << report.status().to_string();
  EXPECT_GT(report->changed, 0);
  for (const ModuleDrift& module : report->modules) EXPECT_LT(module.error, 1e-7) << module.path;
  const auto merged = load_model(out.path(), {.dtype = "f32", .choice = choice});
  ASSERT_TRUE(merged.ok()) << merged.status().to_string();
  testing::ForwardRunner runner(*merged, choice);
  const std::vector<float> logits = runner.run({testing::ints(golden()["tokens"])}, 3);
  const std::vector<float> expected = testing::floats(GetParam()["logits"]);
  EXPECT_LT(testing::relative_difference(std::span(logits).last(expected.size()), expected), 2e-5);
}

std::vector<Json> adapter_cases() {
  std::vector<Json> found;
  for (const Json& item : golden()["cases"]) {
    if (!item["name"].get<std::string>().empty()) found.push_back(item);
  }
  return found;
}

INSTANTIATE_TEST_SUITE_P(Cases, MergedCheckpointTest, ::testing::ValuesIn(adapter_cases()),
                         [](const auto& info) { return info.param["name"].template get<std::string>(); });

TEST(MergedCheckpoint, ATiedBaseIsUntiedOnlyWhereEmbeddingAndHeadDiffer) {
  const kernels::Choice choice = testing::test_choice();
  for (const auto& [name, untied] : std::map<std::string, bool>{
           {"tied_head", true}, {"tied_embed", true}, {"tied_tokens", false}, {"tied_both_ensure_rs", false}}) {
    const auto found = std::find_if(golden()["cases"].begin(), golden()["cases"].end(),
                                    [&, wanted = name](const Json& item) { return item["name"] == wanted; });
    ASSERT_NE(found, golden()["cases"].end()) << name;
    const Path base = folder() / (*found)["base"].get<std::string>();
    const auto model = load_model(base, {.dtype = "f32", .choice = choice}).value();
    const PeftDir dir = PeftDir::read(folder() / name).value();
    const auto adapter = build_adapter(dir.source(), model->targets(), {}).value();
    TestFolder out;
    const auto report =
        write_merged_checkpoint(base, model->targets(), *adapter, {.dtype = DType::kF32}, out.path());
    ASSERT_TRUE(report.ok()) << report.status().to_string();
    const Json config = read_json(out / "config.json").value();
    const Safetensors written = Safetensors::open(out / "model.safetensors").value();
    EXPECT_EQ(config["tie_word_embeddings"], !report->untied) << name;
    EXPECT_EQ(written.find("lm_head.weight") != nullptr, report->untied) << name;
    EXPECT_EQ(static_cast<int64_t>(written.tensors().size()), report->tensors) << name;
    if (name == "tied_head" || name == "tied_embed") {
      EXPECT_EQ(report->untied, untied) << name;
    }
    EXPECT_EQ(config["dtype"], "float32");
  }
}

// A tensor that the adapter leaves alone is the base's, bit for bit; a changed one is the exact weight rounded once.
TEST(MergedCheckpoint, UntouchedTensorsAreTheBasesAndChangedOnesAreRoundedOnce) {
  const kernels::Choice choice = testing::test_choice();
  const Path base = folder() / "base_untied";
  const auto model = load_model(base, {.dtype = "bf16", .choice = choice}).value();
  const PeftDir dir = PeftDir::read(folder() / "lora").value();
  const auto adapter = build_adapter(dir.source(), model->targets(), {}).value();
  TestFolder out;
  ASSERT_TRUE(write_merged_checkpoint(base, model->targets(), *adapter, {.dtype = DType::kBF16}, out.path()).ok());
  const Safetensors before = Safetensors::open_model(base).value(), after = Safetensors::open_model(out.path()).value();
  int changed = 0;
  for (const auto& [name, view] : before.tensors()) {
    const TensorView* now = after.find(name);
    ASSERT_NE(now, nullptr) << name;
    ASSERT_EQ(now->dtype, DType::kBF16);
    const std::string path = name.substr(0, name.rfind('.'));
    const int32_t index = model->targets().find(path);
    const LinearTerms* terms = index < 0 || !name.ends_with(".weight") ? nullptr : adapter->linear(index);
    if (terms == nullptr) {
      EXPECT_EQ(std::memcmp(now->data, view.data, view.bytes()), 0) << name;
      continue;
    }
    ++changed;
    const MergedLinear exact = merge_linear(model->targets()[index], terms);
    const Tensor rounded = Tensor::converted(exact.weight.view(), DType::kBF16);
    EXPECT_EQ(std::memcmp(now->data, rounded.data(), rounded.bytes()), 0) << name;
  }
  EXPECT_EQ(changed, 4);  // q and v of two layers
}

// ---- the verb --------------------------------------------------------------------------------------------------------

using testing::project_dir;
using testing::run_program;

std::string adapters() { return (project_dir() / "tests/goldens/peft_adapters").string(); }

TEST(AdapterMergeVerb, TheMergedModelAnswersAsTheAdapterDoes) {
  TestFolder test;
  const std::string out = (test / "merged").string(), adapter = adapters() + "/banking77-flora-r1";
  const auto merge = run_program("adapter merge --base seedling --dtype f32 --json --adapter " + adapter + " --out " + out);
  ASSERT_EQ(merge.status, 0) << merge.error;
  const Json report = Json::parse(merge.out);
  EXPECT_EQ(report["changed"], 84);
  EXPECT_EQ(report["drift"]["logits"]["top1_agreement"], 1.0);
  EXPECT_LT(report["drift"]["logits"]["largest"].get<double>(), 1e-3);
  EXPECT_EQ(report["drift"]["modules"].size(), 84u);
  const std::string ask = " --dtype f32 --max-tokens 8 --prompt \"Customer: my card is lost\nIntent:\"";
  const auto answer = run_program("generate " + out + ask);
  EXPECT_EQ(answer.status, 0) << answer.error;
  EXPECT_EQ(answer.out, run_program("generate seedling --adapter " + adapter + ask).out);
  EXPECT_EQ(test.entries(), 1);
}

TEST(AdapterMergeVerb, NarrowTypesAreReportedAsDrift) {
  TestFolder test;
  const std::string common = "adapter merge --base seedling --json --no-drift --adapter " + adapters() + "/banking77-lora-r8 --out " + (test / "m").string();
  std::map<std::string, double> errors;
  for (const std::string form : {"auto", "int8", "nf4"}) {
    const auto run = run_program(common + " --force --base-dtype " + form);
    ASSERT_EQ(run.status, 0) << run.error;
    const Json report = Json::parse(run.out);
    for (const Json& module : report["drift"]["modules"]) errors[form] = std::max(errors[form], module["error"].get<double>());
  }
  EXPECT_LT(errors["auto"], 0.004);  // bf16
  EXPECT_GT(errors["int8"], errors["auto"]);
  EXPECT_GT(errors["nf4"], 3 * errors["int8"]);
  EXPECT_LT(errors["nf4"], 0.2);
}

TEST(AdapterMergeVerb, TheNewFolderIsComplete) {
  TestFolder test;
  const Path out = test / "m";
  const std::string line = "adapter merge --base seedling --no-drift --adapter " + adapters() + "/clinc150-ia3 --out " + out.string();
  ASSERT_EQ(run_program(line).status, 0);
  for (const char* name : {"config.json", "tokenizer.json", "model.safetensors", "README.md"}) {
    EXPECT_TRUE(std::filesystem::exists(out / name)) << name;
  }
  const Path base = project_dir() / "assets/seedling";
  EXPECT_EQ(read_file(out / "tokenizer.json").value(), read_file(base / "tokenizer.json").value());
  EXPECT_THAT(read_file(out / "README.md").value(), HasSubstr("clinc150-ia3"));
  EXPECT_FALSE(std::filesystem::exists(out / "adapter_config.json"));
  EXPECT_EQ(read_json(out / "config.json").value()["dtype"], "bfloat16");  // as the base's
}

TEST(AdapterMergeVerb, RowsOfDataDecideWhatIsCompared) {
  TestFolder test;
  std::ofstream(test / "rows.jsonl") << "{\"prompt\": \"one two three\", \"completion\": \" four\"}\n\n{\"prompt\": \"five\"}\n";
  const std::string line = "adapter merge --base seedling --json --adapter " + adapters() + "/banking77-lora-r8 --data " +
                           (test / "rows.jsonl").string() + " --out ";
  const auto run = run_program(line + (test / "m").string());
  ASSERT_EQ(run.status, 0) << run.error;
  const Json logits = Json::parse(run.out)["drift"]["logits"];
  EXPECT_GT(logits["rows"].get<int>(), 4);
  EXPECT_LT(logits["rows"].get<int>(), 40);
  EXPECT_GT(logits["mean"].get<double>(), 0);  // bf16 rounds
  EXPECT_LT(logits["kl"].get<double>(), 0.05);
  std::ofstream(test / "rows.jsonl") << "{\"text\": 1}\n";
  const auto broken = run_program(line + (test / "n").string());
  EXPECT_EQ(broken.status, 2);
  EXPECT_THAT(broken.error, HasSubstr("rows.jsonl:1"));
  EXPECT_FALSE(std::filesystem::exists(test / "n"));
}

TEST(AdapterMergeVerb, TwoAdaptersBecomeOneThatIsServed) {
  TestFolder test;
  const std::string out = (test / "both").string();
  const std::string common = "adapter merge --adapter " + adapters() + "/banking77-lora-r8 --adapter " + adapters() + "/clinc150-lora-r3 --out " + out;
  const auto merge = run_program(common + " --method cat --weights 1,1");
  ASSERT_EQ(merge.status, 0) << merge.error;
  const Json inspected = Json::parse(run_program("inspect " + out + " --json").out);
  EXPECT_EQ(inspected["kind"], "lora");
  const auto refused = run_program(common + " --method cat");
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.error, HasSubstr("--force"));
  EXPECT_EQ(run_program(common + " --method cat --force").status, 0);
}

TEST(AdapterMergeVerb, BadInputIsOneClearLineAndLeavesNothing) {
  TestFolder test;
  const std::string out = " --out " + (test / "new").string();
  const std::string lora = " --adapter " + adapters() + "/banking77-lora-r8", small = " --adapter " + adapters() + "/clinc150-lora-r3";
  const std::string ia3 = " --adapter " + adapters() + "/clinc150-ia3", dora = " --adapter " + adapters() + "/restaurant8k-dora-r16";
  Json config = read_json(project_dir() / "tests/goldens/peft_adapters/banking77-lora-r8/adapter_config.json").value();
  const Path other = test / "other";
  std::filesystem::copy(project_dir() / "tests/goldens/peft_adapters/banking77-lora-r8", other);
  config["base_model_name_or_path"] = "somebody/another-base";
  std::ofstream(other / "adapter_config.json") << config.dump();
  const std::pair<std::string, std::string> wrong[] = {
      {lora + ia3 + out, "IA3 is not a LoRA"},
      {lora + dora + out, "use_dora"},
      {lora + small + out, "--method cat takes any"},
      {lora + lora + out + " --method mean", "no method 'mean'"},
      {lora + lora + out + " --weights 1", "2 adapters and 1 weights"},
      {lora + lora + out + " --method ties --density 1.5", "density"},
      {lora + out, "at least two"},
      {lora + " --adapter " + other.string() + out, "another-base"},
      {lora + " --adapter nofolder" + out, "nofolder"},
      {lora + lora + " --base seedling" + out, "takes one --adapter"},
      {lora + " --base nobase" + out, "nobase"},
      {" --adapter " + (project_dir() / "tests/goldens/adapters/lora").string() + " --base seedling" + out, "another base model"},
      {lora + " --base seedling --out " + other.parent_path().string() + " --force", "neither a model nor an adapter folder"},
      {lora + " --base seedling --data nofile.jsonl" + out, "nofile.jsonl"},
  };
  for (const auto& [arguments, expected] : wrong) {
    const auto run = run_program("adapter merge" + arguments);
    EXPECT_EQ(run.status, 2) << arguments << run.out;
    EXPECT_THAT(run.error, HasSubstr(expected)) << arguments;
    EXPECT_EQ(std::count(run.error.begin(), run.error.end(), '\n'), 1) << run.error;
  }
  EXPECT_EQ(test.entries(), 1);  // only "other"
}

}  // namespace
}  // namespace umbel
