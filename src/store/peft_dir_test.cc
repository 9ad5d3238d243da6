#include "store/peft_dir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "adapters/registry.h"
#include "base/random.h"

namespace umbel {
namespace {

using ::testing::HasSubstr;

Path assets() { return Path(std::getenv("UMBEL_SOURCE_DIR")) / "assets"; }

// A folder of its own that goes when the test ends.
class PeftDirTest : public ::testing::Test {
 protected:
  PeftDirTest() : dir_(std::filesystem::temp_directory_path() / ("umbel_peft_" + std::to_string(getpid()))) {
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
  }
  ~PeftDirTest() override { std::filesystem::remove_all(dir_); }

  void write(const std::string& name, const std::string& text) { std::ofstream(dir_ / name, std::ios::binary) << text; }
  std::string failure() {
    Result<PeftDir> read = PeftDir::read(dir_);
    return read.ok() ? "ok" : read.status().message();
  }

  Path dir_;
};

// The modules of seedling, from its own checkpoint. Norms and the tied embedding share their storage with this object.
class Seedling {
 public:
  Seedling() : file_(Safetensors::open_model(assets() / "seedling")) {
    EXPECT_TRUE(file_.ok()) << file_.status().to_string();
    const kernels::Choice choice;
    for (const auto& [name, view] : file_->tensors()) {
      const std::string path = name.substr(0, name.size() - std::string(".weight").size());
      if (view.shape.size() == 1) {
        vectors_.push_back(Tensor::widened(view));
        targets_.add({.path = path, .kind = TargetKind::kNorm, .out = view.shape[0], .vector = vectors_.back().f32()});
        continue;
      }
      weights_.push_back(
          std::make_unique<kernels::FrozenMatrix>(kernels::FrozenMatrix::pack(view, DType::kF32, choice)));
      const bool embedding = path.ends_with("embed_tokens");
      Target target{.path = path, .in = view.shape[1], .out = view.shape[0], .weight = weights_.back().get()};
      if (embedding) {
        targets_.add({.path = "lm_head",
                      .kind = TargetKind::kHead,
                      .in = target.in,
                      .out = target.out,
                      .weight = target.weight,
                      .tied = true});
        target.kind = TargetKind::kEmbedding;
        target.tied = true;
        std::swap(target.in, target.out);
      }
      targets_.add(std::move(target));
    }
  }
  const TargetTable& targets() const { return targets_; }

 private:
  Result<Safetensors> file_;
  TargetTable targets_;
  std::vector<std::unique_ptr<kernels::FrozenMatrix>> weights_;
  std::vector<Tensor> vectors_;
};

TEST(PeftAssetsTest, AllTenAdaptersOfSeedlingAreCovered) {
  const Seedling seedling;
  const std::map<std::string, std::pair<std::string, int32_t>> expected = {
      {"banking77-flora-r1", {"flora", 84}},    {"banking77-lora-r8", {"lora", 24}},
      {"bc5cdr-lora-r32", {"lora", 84}},        {"clinc150-ia3", {"ia3", 36}},
      {"clinc150-lora-r3", {"lora", 56}},       {"clinc150-vera-r256", {"vera", 24}},
      {"e2e_nlg-rslora-r16", {"lora", 84}},     {"restaurant8k-dora-r16", {"lora", 84}},
      {"restaurant8k-flora-r4", {"flora", 84}}, {"shakespeare-lora-r4", {"lora", 48}}};
  for (const auto& [name, kind_and_targets] : expected) {
    const Result<PeftDir> dir = PeftDir::read(assets() / "adapters" / name);
    ASSERT_TRUE(dir.ok()) << dir.status().to_string();
    EXPECT_EQ(kind_name(dir->spec().peft_type), kind_and_targets.first);
    const auto adapter = build_adapter(dir->source(), seedling.targets(), {});
    ASSERT_TRUE(adapter.ok()) << name << ": " << adapter.status().to_string();
    const std::string count = std::to_string(kind_and_targets.second);
    EXPECT_EQ((*adapter)->report().coverage(), "applied " + count + " of " + count + " targets") << name;
    EXPECT_TRUE((*adapter)->report().warnings.empty()) << name << ": " << (*adapter)->report().warnings[0];
    EXPECT_EQ((*adapter)->report().tensors, static_cast<int32_t>(dir->source().tensors.size()));
  }
}

TEST_F(PeftDirTest, WrittenFoldersReadBack) {
  Tensor a(DType::kF32, {2, 3});
  a.f32()[4] = 1.5f;
  const Json config = {
      {"peft_type", "LORA"}, {"r", 2}, {"target_modules", {"q_proj"}}, {"rank_pattern", Json::object()}};
  ASSERT_TRUE(write_peft_dir(dir_ / "made", config, {{"base_model.model.q_proj.lora_A.weight", a.view()}}).ok());
  const Result<PeftDir> dir = PeftDir::read(dir_ / "made");
  ASSERT_TRUE(dir.ok()) << dir.status().to_string();
  EXPECT_EQ(dir->spec().rank.value(), 2);
  EXPECT_EQ(dir->spec().target.names, std::vector<std::string>{"q_proj"});
  const TensorView& view = dir->source().tensors.at("base_model.model.q_proj.lora_A.weight");
  EXPECT_EQ(view.shape, (Shape{2, 3}));
  EXPECT_EQ(Tensor::widened(view).f32()[4], 1.5f);
  // Written over: the new one counts.
  const Json other = {{"peft_type", "IA3"}};
  ASSERT_TRUE(write_peft_dir(dir_ / "made", other, {{"x", a.view()}}).ok());
  EXPECT_EQ(PeftDir::read(dir_ / "made")->spec().peft_type, "IA3");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir_ / "made"), {}), 2);
}

TEST_F(PeftDirTest, AFolderIsIncompleteUntilItsConfigurationIsThere) {
  Tensor a(DType::kF32, {2, 3});
  ASSERT_TRUE(write_safetensors(dir_ / kAdapterTensorsName, {{"a", a.view()}}).ok());
  EXPECT_THAT(failure(), HasSubstr("adapter_config.json is missing"));
  write(kAdapterConfigName, R"({"peft_type": "LORA", "r": 8})");
  EXPECT_EQ(failure(), "ok");
}

TEST_F(PeftDirTest, FailuresNameFileAndRemedy) {
  std::filesystem::remove_all(dir_);
  EXPECT_THAT(failure(), HasSubstr("is missing"));
  std::filesystem::create_directories(dir_);
  write(kAdapterConfigName, R"({"peft_type": "LORA", "r": 8})");
  EXPECT_THAT(failure(), HasSubstr("adapter_model.safetensors is missing"));
  write("adapter_model.bin", "\x80\x02}q");
  EXPECT_THAT(failure(), HasSubstr("convert it to safetensors"));
  write(kAdapterTensorsName, "not a safetensors file");
  EXPECT_THAT(failure(), HasSubstr("adapter_model.safetensors"));
  write(kAdapterConfigName, "{");
  EXPECT_THAT(failure(), HasSubstr("adapter_config.json"));
  write(kAdapterConfigName, "[]");
  EXPECT_THAT(failure(), HasSubstr("not a JSON object"));
  write(kAdapterConfigName, R"({"peft_type": "LORA", "r": 18446744073709551615})");
  EXPECT_THAT(failure(), HasSubstr("too large"));
  write(kAdapterConfigName, R"({"peft_type": "LORA", "r": "8"})");
  EXPECT_THAT(failure(), HasSubstr("r is '8'"));
}

// Configurations made of random pieces: an answer or a typed failure, never a crash.
TEST_F(PeftDirTest, RandomConfigurationsNeverCrash) {
  const Seedling seedling;
  const Result<PeftDir> dir = PeftDir::read(assets() / "adapters" / "banking77-lora-r8");
  ASSERT_TRUE(dir.ok());
  const Result<Json> original = read_json(assets() / "adapters" / "banking77-lora-r8" / kAdapterConfigName);
  ASSERT_TRUE(original.ok());
  const std::vector<Json> pieces = {nullptr,
                                    true,
                                    -1,
                                    0,
                                    3,
                                    1e300,
                                    "",
                                    "all-linear",
                                    "(a|",
                                    "(.*)+x",
                                    ".*q_proj",
                                    Json::array(),
                                    {"q_proj", "v_proj"},
                                    {1, -5},
                                    Json::object(),
                                    {{"q_proj", 4}},
                                    {{"(", 4}},
                                    {{"embed_tokens", {1, 2}}}};
  std::vector<std::string> names;
  for (const auto& [name, field] : original->items()) names.push_back(name);
  Random random(11);
  int built = 0;
  for (int round = 0; round < 3000; ++round) {
    Json config = *original;
    const uint64_t changes = 1 + random.next_below(2);
    for (uint64_t i = 0; i < changes; ++i)
      config[names[random.next_below(names.size())]] = pieces[random.next_below(pieces.size())];
    Result<AdapterSpec> spec = parse_spec(config);
    if (!spec.ok()) continue;
    const AdapterSource source{std::move(spec).value(), dir->source().tensors};
    const auto adapter = build_adapter(source, seedling.targets(), {});
    built += adapter.ok();
    EXPECT_TRUE(adapter.ok() || !adapter.status().message().empty());
  }
  EXPECT_GT(built, 300);
  EXPECT_LT(built, 2800);
}

// A folder may be written while it is looked at: what was not there at the first look is missing, however soon it comes.
TEST_F(PeftDirTest, AConfigurationThatComesAfterTheLookIsMissing) {
  const Result<AdapterFiles> files = AdapterFiles::open({.folder = dir_});
  ASSERT_TRUE(files.ok()) << files.status().to_string();
  write("adapter_config.json", R"({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]})");
  const Result<AdapterSpec> spec = PeftDir::read_spec(*files);
  ASSERT_FALSE(spec.ok());
  EXPECT_EQ(spec.status().code(), Code::kNotFound);
}

}  // namespace
}  // namespace umbel
