#include "io/gguf.h"

#include <gtest/gtest.h>

#include "io/gguf_testing.h"
#include "io/test_folder.h"

namespace umbel {
namespace {

TEST(GgufTest, WhatIsWrittenIsReadBackByTheFormatsDescription) {
  TestFolder test;
  Tensor a(DType::kF32, {3, 5}), b(DType::kF32, {5, 3});
  for (int i = 0; i < 15; ++i) {
    a.f32()[i] = 0.5f * i;
    b.f32()[i] = -1.0f * i;
  }
  const Tensor half = Tensor::converted(b.view(), DType::kF16);
  const Tensor brain = Tensor::converted(b.view(), DType::kBF16);
  ASSERT_TRUE(write_gguf(test / "x.gguf", {{"general.type", std::string("adapter")}, {"alpha", 16.5f}, {"n", uint32_t{7}}},
                         {{"one.lora_a", a.view()}, {"one.lora_b", half.view()}, {"two", brain.view()}})
                  .ok());
  const auto file = testing::GgufReader::read(test / "x.gguf");
  EXPECT_EQ(file.version, 3u);
  EXPECT_EQ(file.texts.at("general.type"), "adapter");
  EXPECT_EQ(file.floats.at("alpha"), 16.5f);
  EXPECT_EQ(file.numbers.at("n"), 7u);
  ASSERT_EQ(file.tensors.size(), 3u);
  const testing::GgufTensor& first = file.tensors.at("one.lora_a");
  EXPECT_EQ(first.dimensions, (std::vector<uint64_t>{5, 3}));
  EXPECT_EQ(first.type, 0u);
  EXPECT_EQ(std::memcmp(first.bytes.data(), a.data(), a.bytes()), 0);
  EXPECT_EQ(file.tensors.at("one.lora_b").type, 1u);
  EXPECT_EQ(std::memcmp(file.tensors.at("one.lora_b").bytes.data(), half.data(), half.bytes()), 0);
  EXPECT_EQ(file.tensors.at("two").type, 30u);
  EXPECT_EQ(std::memcmp(file.tensors.at("two").bytes.data(), brain.data(), brain.bytes()), 0);
}

TEST(GgufTest, OtherTypesAndLongNamesAreRefusedAndNothingIsWritten) {
  TestFolder test;
  const Tensor whole(DType::kI8, {2, 2}), plain(DType::kF32, {2});
  EXPECT_EQ(write_gguf(test / "x", {}, {{"a", whole.view()}}).code(), Code::kUnsupported);
  EXPECT_EQ(write_gguf(test / "x", {}, {{std::string(64, 'a'), plain.view()}}).code(), Code::kTooLong);
  EXPECT_EQ(test.entries(), 0);
}

}  // namespace
}  // namespace umbel
