#include "adapters/tensor_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "adapters/test_support.h"

namespace umbel {
namespace {

using testing::apply_one;
using ::testing::HasSubstr;
using testing::list;
using testing::random_tensor;
using testing::SmallBase;
using testing::value;

constexpr const char* kPath = "model.layers.0.self_attn.q_proj";

TEST(TensorNamesTest, EverySpellingOfAnAdaptersTensorComesToOneName) {
  const std::string own = "base_model.model." + std::string(kPath) + ".";
  const std::pair<std::string, std::string> cases[] = {
      {"lora_A.weight", "lora_A.weight"},
      {"lora_A.default.weight", "lora_A.weight"},
      {"lora_B.my-adapter_2.weight", "lora_B.weight"},
      {"lora_B.default.bias", "lora_B.bias"},
      {"lora_embedding_A", "lora_embedding_A"},
      {"lora_embedding_A.default", "lora_embedding_A"},
      {"lora_magnitude_vector", "lora_magnitude_vector"},
      {"lora_magnitude_vector.weight", "lora_magnitude_vector"},
      {"lora_magnitude_vector.default", "lora_magnitude_vector"},
      {"lora_magnitude_vector.default.weight", "lora_magnitude_vector"},
      {"ia3_l.default", "ia3_l"},
      {"vera_lambda_b.default", "vera_lambda_b"},
      {"vera_lambda_d.default", "vera_lambda_d"},
      {"flora_A.default", "flora_A"},
      {"hira_embedding_B.default", "hira_embedding_B"},
      {"token_adapter.trainable_tokens_delta.default", "token_adapter.trainable_tokens_delta"},
      {"modules_to_save.default.weight", "weight"},
      {"modules_to_save.default.bias", "bias"},
      {"modules_to_save.weight", "weight"},
      {"original_module.weight", "base_layer.weight"},
      {"base_layer.weight", "base_layer.weight"},
      {"weight", "weight"},
  };
  for (const auto& [suffix, wanted] : cases) {
    for (const char* prefix : {"base_model.model.", "", "base_model.model.base_model.model.", "module.base_model.model.",
                               "_orig_mod.base_model.model.", "module._orig_mod.base_model.model.", "base_model.model._orig_mod.",
                               "_fsdp_wrapped_module.base_model.model."}) {
      EXPECT_EQ(canonical_tensor_name(std::string(prefix) + kPath + "." + suffix), own + wanted) << prefix << suffix;
    }
  }
  EXPECT_EQ(canonical_tensor_name("base_model.model.model.layers.0._orig_mod.mlp.up_proj.lora_A.default.weight"),
            "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight");
  EXPECT_EQ(canonical_tensor_name("base_model.vera_A.default"), "base_model.vera_A");
  EXPECT_EQ(canonical_tensor_name("base_model.vera_B"), "base_model.vera_B");
  for (const char* strange : {"", ".", "x", "lora_A", "a..b", "base_model.model.", "a.lora_A.b.c.weight"}) {
    const std::string once = canonical_tensor_name(strange);
    EXPECT_EQ(canonical_tensor_name(once), once) << strange;
  }
}

TEST(TensorNamesTest, TwoAdaptersInOneFileAreNamed) {
  const Tensor tensor(DType::kF32, {2, 2});
  const auto named = canonical_tensors({{"base_model.model.m.q.lora_A.blue.weight", tensor.view()},
                                        {"base_model.model.m.q.lora_A.red.weight", tensor.view()}});
  ASSERT_FALSE(named.ok());
  EXPECT_EQ(named.status().code(), Code::kInvalidArgument);
  EXPECT_THAT(named.status().message(), HasSubstr("lora_A.blue.weight"));
  EXPECT_THAT(named.status().message(), HasSubstr("lora_A.red.weight"));
}

// A LoRA on both q_proj whose file names tensors as `spelling` says it of the one name.
class SpelledFile {
 public:
  explicit SpelledFile(const SmallBase& base) : base_(base) {
    Random random(5);
    for (const char* layer : {"0", "1"}) {
      for (const char* side : {"lora_A.weight", "lora_B.weight"}) {
        const bool a = std::string_view(side).starts_with("lora_A");
        const std::string path = "model.layers." + std::string(layer) + ".self_attn.q_proj";
        tensors_.emplace(path + "." + side, random_tensor(random, a ? Shape{3, 24} : Shape{24, 3}));
      }
    }
  }

  template <typename Spelling>
  Result<std::shared_ptr<const Adapter>> build(const Spelling& spelling, OrderedJson targets = list({value("q_proj")})) {
    ASSIGN_OR_RETURN(AdapterSpec spec, parse_spec(testing::object({{"peft_type", value("LORA")}, {"r", value(3)}, {"target_modules", targets}})));
    std::map<std::string, TensorView> file;
    for (const auto& [name, tensor] : tensors_) file[spelling(name)] = tensor.view();
    ASSIGN_OR_RETURN(NamedTensors named, canonical_tensors(file));
    return build_adapter({std::move(spec), std::move(named.tensors), std::move(named.spelled)}, base_.targets(), {});
  }

  Tensor output(const Adapter* adapter) const {
    Random random(8);
    return apply_one(base_, kPath, adapter, random_tensor(random, {4, 24}, 1.0f));
  }

 private:
  const SmallBase& base_;
  std::map<std::string, Tensor> tensors_;
};

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

TEST(TensorNamesTest, FilesThatWereSavedInOtherWaysGiveTheSameAdapter) {
  const SmallBase base;
  SpelledFile file(base);
  const auto plain = file.build([](const std::string& name) { return "base_model.model." + name; });
  ASSERT_TRUE(plain.ok()) << plain.status().message();
  const Tensor expected = file.output(plain->get());
  const auto expect_same = [&](const char* what, auto spelling, OrderedJson targets = list({value("q_proj")})) {
    const auto adapter = file.build(spelling, targets);
    ASSERT_TRUE(adapter.ok()) << what << ": " << adapter.status().message();
    EXPECT_EQ((*adapter)->report().targets_applied, 2) << what;
    const Tensor output = file.output(adapter->get());
    EXPECT_EQ(std::memcmp(output.data(), expected.data(), output.bytes()), 0) << what;
  };
  expect_same("adapter's name", [](const std::string& name) { return "base_model.model." + replaced(name, ".weight", ".default.weight"); });
  expect_same("no prefix", [](const std::string& name) { return name; });
  expect_same("twice the prefix", [](const std::string& name) { return "base_model.model.base_model.model." + name; });
  expect_same("model without its head", [](const std::string& name) { return "base_model.model." + replaced(name, "model.layers", "layers"); });
  expect_same("bare layers", [](const std::string& name) { return replaced(name, "model.layers", "layers"); });
  expect_same("model. twice", [](const std::string& name) { return "base_model.model.model." + name; });
  expect_same("text part of a larger model", [](const std::string& name) { return "base_model.model.language_model." + name; });
  expect_same("newer text part", [](const std::string& name) {
    return "base_model.model." + replaced(name, "model.layers", "model.language_model.layers");
  });
  expect_same("a pattern over the adapter's own paths",
              [](const std::string& name) { return "base_model.model." + replaced(name, "model.layers", "layers"); },
              value("layers\\.\\d+\\.self_attn\\.q_proj"));
}

TEST(TensorNamesTest, NamesThatDoNotFitAreShownBesideOneThatWasLookedFor) {
  const SmallBase base;
  SpelledFile file(base);
  const auto kohya = file.build([](const std::string& name) { return "lora_unet_" + replaced(name, ".lora_A", ".lora_down"); });
  ASSERT_FALSE(kohya.ok());
  EXPECT_THAT(kohya.status().message(), HasSubstr("lora_unet_model.layers.0.self_attn.q_proj.lora_B.weight"));
  EXPECT_THAT(kohya.status().message(), HasSubstr("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight is missing"));
  const auto half = file.build([](const std::string& name) {
    return "base_model.model." + replaced(replaced(name, "layers.1", "layers.7"), ".weight", ".default.weight");
  });
  ASSERT_FALSE(half.ok());
  EXPECT_THAT(half.status().message(), HasSubstr("layers.7.self_attn.q_proj.lora_A.default.weight"));
  EXPECT_THAT(half.status().message(), HasSubstr("base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight"));
}

TEST(TensorNamesTest, CopiesOfTheBaseInAStateDictAreCheckedAndLeftOut) {
  const SmallBase base({.bias = true});
  testing::SmallFile file({{"peft_type", value("LORA")}, {"r", value(2)}, {"target_modules", list({value("q_proj")})}});
  for (const char* layer : {"0", "1"}) {
    const std::string path = "model.layers." + std::string(layer) + ".self_attn.q_proj.";
    file.add(path + "lora_A.weight", {2, 24});
    file.add(path + "lora_B.weight", {24, 2});
    file.add_raw("base_model.model." + path + "base_layer.weight", base.weight(base.at(path.substr(0, path.size() - 1))));
  }
  file.add_raw("base_model.model.model.layers.0.mlp.up_proj.weight", base.weight(base.at("model.layers.0.mlp.up_proj")));
  Tensor gain(DType::kF32, {24});
  std::copy_n(base.at("model.norm").vector, 24, gain.f32());
  file.add_raw("base_model.model.model.norm.weight", std::move(gain));
  const auto adapter = file.build(base);
  ASSERT_TRUE(adapter.ok()) << adapter.status().message();
  EXPECT_EQ((*adapter)->report().modules_saved, 0);
  file.tensor("model.norm.weight").f32()[3] += 2.0f;
  const auto other = file.build(base);
  ASSERT_FALSE(other.ok());
  EXPECT_THAT(other.status().message(), HasSubstr("model.norm.weight is a copy of the base model's weights, but of another base"));
}

}  // namespace
}  // namespace umbel
