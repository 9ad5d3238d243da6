#include "store/gguf_lora.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "io/gguf_testing.h"
#include "io/test_folder.h"

namespace umbel {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kHidden = 24, kFfn = 40, kVocab = 30, kHeads = 3, kKvHeads = 1, kHeadDim = 8;

GgufBase llama() {
  return {.architecture = "llama", .pairs_reordered = true, .hidden = kHidden, .ffn = kFfn, .vocab = kVocab,
          .heads = kHeads, .kv_heads = kKvHeads, .head_dim = kHeadDim};
}

LoraModule make_module(int64_t rank, int64_t in, int64_t out, float scale, bool embedding = false) {
  Random random(mix_key({static_cast<uint64_t>(rank * 1000 + in * 10 + out)}));
  LoraModule module{.a = Tensor(DType::kF32, {rank, in}), .b = Tensor(DType::kF32, {out, rank}), .scale = scale, .embedding = embedding};
  for (int64_t i = 0; i < module.a.elements(); ++i) module.a.f32()[i] = static_cast<float>(random.next_normal());
  for (int64_t i = 0; i < module.b.elements(); ++i) module.b.f32()[i] = static_cast<float>(random.next_normal());
  return module;
}

TEST(GgufLoraTest, RowsOfQueriesAndKeysAreReorderedInPairs) {
  LoraModules modules;
  modules.emplace("model.layers.11.self_attn.q_proj", make_module(4, kHidden, kHeads * kHeadDim, 2));
  modules.emplace("model.layers.11.self_attn.v_proj", make_module(4, kHidden, kKvHeads * kHeadDim, 2));
  GgufBase base = llama();
  const auto lora = to_gguf_lora(modules, base);
  ASSERT_TRUE(lora.ok()) << lora.status().to_string();
  EXPECT_EQ(lora->alpha, 8);  // 2 * rank
  const LoraModule& q = modules.at("model.layers.11.self_attn.q_proj");
  const Tensor& b = lora->tensors.at("blk.11.attn_q.weight.lora_b");
  for (int64_t row = 0; row < q.out(); ++row) {
    // HF rotates (j, j + dim / 2), llama.cpp (2 j, 2 j + 1): row 2 j + t of a head is row t dim / 2 + j there.
    const int64_t head = row / kHeadDim, within = row % kHeadDim;
    const int64_t from = head * kHeadDim + within % 2 * (kHeadDim / 2) + within / 2;
    for (int64_t k = 0; k < 4; ++k) EXPECT_EQ(b.f32()[row * 4 + k], q.b.f32()[from * 4 + k]) << row;
  }
  const Tensor& v = lora->tensors.at("blk.11.attn_v.weight.lora_b");
  const LoraModule& value = modules.at("model.layers.11.self_attn.v_proj");
  EXPECT_EQ(std::memcmp(v.data(), value.b.data(), v.bytes()), 0);
  EXPECT_EQ(std::memcmp(lora->tensors.at("blk.11.attn_q.weight.lora_a").data(), q.a.data(), q.a.bytes()), 0);
  base.pairs_reordered = false;  // qwen
  const auto plain = to_gguf_lora(modules, base);
  EXPECT_EQ(std::memcmp(plain->tensors.at("blk.11.attn_q.weight.lora_b").data(), q.b.data(), q.b.bytes()), 0);
}

TEST(GgufLoraTest, OtherScalesAreMultipliedIntoB) {
  LoraModules modules;
  modules.emplace("model.layers.0.mlp.down_proj", make_module(4, kFfn, kHidden, 2));   // alpha 8
  modules.emplace("model.layers.0.mlp.up_proj", make_module(16, kHidden, kFfn, 4));    // wants alpha 64
  const auto lora = to_gguf_lora(modules, llama());
  ASSERT_TRUE(lora.ok());
  EXPECT_EQ(lora->alpha, 8);
  const Tensor& b = lora->tensors.at("blk.0.ffn_up.weight.lora_b");
  const LoraModule& up = modules.at("model.layers.0.mlp.up_proj");
  for (int64_t i = 0; i < b.elements(); ++i) EXPECT_FLOAT_EQ(lora->alpha / 16 * b.f32()[i], 4 * up.b.f32()[i]);
  LoraModules zero;
  zero.emplace("model.layers.0.mlp.up_proj", make_module(4, kHidden, kFfn, 0));
  const auto none = to_gguf_lora(zero, llama());
  EXPECT_NE(none->alpha, 0);  // which llama.cpp reads as scale 1
  EXPECT_EQ(none->tensors.at("blk.0.ffn_up.weight.lora_b").f32()[3], 0);
}

TEST(GgufLoraTest, TheFileSaysWhatItIs) {
  TestFolder test;
  LoraModules modules;
  modules.emplace("model.embed_tokens", make_module(2, kVocab, kHidden, 1, true));
  modules.emplace("lm_head", make_module(2, kHidden, kVocab, 1));
  const auto lora = to_gguf_lora(modules, llama());
  ASSERT_TRUE(lora.ok()) << lora.status().to_string();
  ASSERT_TRUE(write_gguf_lora(test / "x.gguf", *lora, llama(), "mine", DType::kF16).ok());
  const auto file = testing::GgufReader::read(test / "x.gguf");
  EXPECT_EQ(file.texts.at("general.architecture"), "llama");
  EXPECT_EQ(file.texts.at("general.type"), "adapter");
  EXPECT_EQ(file.texts.at("adapter.type"), "lora");
  EXPECT_EQ(file.floats.at("adapter.lora.alpha"), 2);
  EXPECT_EQ(file.tensors.at("output.weight.lora_a").dimensions, (std::vector<uint64_t>{kHidden, 2}));
  EXPECT_EQ(file.tensors.at("output.weight.lora_b").dimensions, (std::vector<uint64_t>{2, kVocab}));
  EXPECT_EQ(file.tensors.at("token_embd.weight.lora_a").dimensions, (std::vector<uint64_t>{2, kVocab}));
  EXPECT_EQ(file.tensors.at("token_embd.weight.lora_b").dimensions, (std::vector<uint64_t>{2, kHidden}));
  EXPECT_EQ(file.tensors.at("token_embd.weight.lora_b").type, 1u);
  const Tensor& a = modules.at("model.embed_tokens").a;
  const Tensor& turned = lora->tensors.at("token_embd.weight.lora_a");
  EXPECT_EQ(turned.f32()[7 * 2 + 1], a.f32()[kVocab + 7]);
}

TEST(GgufLoraTest, WhatLlamaCppCannotApplyIsRefusedByName) {
  const auto failure = [](const std::string& path, LoraModule module, bool tied = false) {
    LoraModules modules;
    modules.emplace(path, std::move(module));
    GgufBase base = llama();
    base.tied = tied;
    const auto lora = to_gguf_lora(modules, base);
    return lora.ok() ? std::string("ok") : lora.status().message();
  };
  EXPECT_THAT(failure("lm_head", make_module(2, kHidden, kVocab, 1), true), HasSubstr("ties its head"));
  EXPECT_THAT(failure("model.layers.0.self_attn.qkv_proj", make_module(2, kHidden, 48, 1)), HasSubstr("qkv_proj"));
  EXPECT_THAT(failure("model.layers.x.self_attn.q_proj", make_module(2, kHidden, kHidden, 1)), HasSubstr("model.layers.x"));
  EXPECT_THAT(failure("model.layers.0.self_attn.k_proj", make_module(2, kHidden, kHidden, 1)), HasSubstr("another base"));
}

}  // namespace
}  // namespace umbel
