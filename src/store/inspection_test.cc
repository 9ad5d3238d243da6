#include "store/inspection.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "store/store_test_support.h"

namespace umbel {
namespace {

using testing::write_folder;

class InspectionTest : public ::testing::Test {
 protected:
  InspectionTest() { write_folder(dir_.path(), "a", 1); }
  EntryFacts inspect(const InspectionLimits& limits = {}) const {
    return inspect_folder("a", find_folder(dir_.path(), "a").value(), limits);
  }
  Path file(const char* name) const { return dir_ / "a" / name; }
  // A file that is said to be that large and takes no disk, with a header of one tensor that covers it.
  void write_sparse(uint64_t data_bytes) const {
    const std::string header = R"({"x":{"dtype":"F32","shape":[)" + std::to_string(data_bytes / 4) + R"(],"data_offsets":[0,)" +
                               std::to_string(data_bytes) + "]}}";
    std::ofstream out(file(kAdapterTensorsName), std::ios::binary);
    for (int i = 0; i < 8; ++i) out << static_cast<char>(header.size() >> (8 * i));
    out << header << std::flush;
    std::filesystem::resize_file(file(kAdapterTensorsName), 8 + header.size() + data_bytes);
  }
  static void expect_broken(const EntryFacts& facts, std::initializer_list<const char*> parts) {
    ASSERT_FALSE(facts.broken.ok());
    for (const char* part : parts) EXPECT_NE(facts.broken.message().find(part), std::string::npos) << facts.broken.message();
    EXPECT_EQ(facts.id.digest, "");  // nothing was hashed
  }

  TestFolder dir_;
};

TEST_F(InspectionTest, AGoodFolderHasItsFacts) {
  const EntryFacts facts = inspect();
  ASSERT_TRUE(facts.broken.ok()) << facts.broken.message();
  EXPECT_EQ(facts.kind, "lora");
  EXPECT_EQ(facts.rank_max, 2);
  EXPECT_EQ(facts.file_bytes, std::filesystem::file_size(file(kAdapterTensorsName)));
  EXPECT_EQ(facts.id.digest.size(), 64u);
  EXPECT_GT(facts.build_bytes, 12u * 8);  // its largest tensor has 8 elements
}

// 200 GB: were it hashed, the test would not end today.
TEST_F(InspectionTest, AFileLargerThanTheBudgetIsRefusedBeforeItIsRead) {
  write_sparse(uint64_t{200} << 30);
  expect_broken(inspect({.budget_bytes = 1 << 20}), {"adapter_model.safetensors", "1048576", "--adapter-bytes"});
}

TEST_F(InspectionTest, AHeaderThatDoesNotFitItsFileIsRefusedBeforeItIsRead) {
  write_sparse(uint64_t{100} << 30);
  std::filesystem::resize_file(file(kAdapterTensorsName), uint64_t{200} << 30);
  expect_broken(inspect(), {"follow the last tensor"});
}

TEST_F(InspectionTest, AHugeHeaderIsRefusedByItsLength) {
  std::ofstream out(file(kAdapterTensorsName), std::ios::binary);
  const uint64_t length = 99'000'000;
  for (int i = 0; i < 8; ++i) out << static_cast<char>(length >> (8 * i));
  out << std::flush;
  std::filesystem::resize_file(file(kAdapterTensorsName), 100'000'000);
  expect_broken(inspect(), {"99000000", std::to_string(kAdapterHeaderBytesMax).c_str()});
}

TEST_F(InspectionTest, ARankOverItsKindsLimitIsRefusedWithBothNumbers) {
  write_folder(dir_.path(), "a", 1, 300);
  expect_broken(inspect({.ranks = parse_rank_limits("lora=256").value()}), {"300", "256", "lora"});
  EXPECT_TRUE(inspect().broken.ok());
}

// A LoHa's products are multiplied out: r * r is what is refused and what room is made for.
TEST_F(InspectionTest, ARankCountsAsItIsServed) {
  const size_t plain = inspect().build_bytes;
  const auto loha = [&](int rank) {
    std::ofstream(file(kAdapterConfigName)) << R"({"peft_type":"LOHA","r":)" << rank << R"(,"target_modules":["q_proj"]})";
    return inspect();
  };
  const EntryFacts facts = loha(8);
  ASSERT_TRUE(facts.broken.ok()) << facts.broken.message();
  EXPECT_EQ(facts.build_bytes, 8 * plain);
  expect_broken(loha(65), {"the rank 4225", "4096", "loha"});
}

TEST_F(InspectionTest, ALongTemplateIsRefused) {
  std::ofstream(file(kAdapterTemplateName)) << "x" << std::flush;
  std::filesystem::resize_file(file(kAdapterTemplateName), kAdapterTemplateBytesMax + 1);
  expect_broken(inspect(), {kAdapterTemplateName, std::to_string(kAdapterTemplateBytesMax).c_str()});
}

TEST_F(InspectionTest, AFieldThatStandsTwiceIsRefusedByName) {
  std::ofstream(file(kAdapterConfigName)) << R"({"peft_type":"LORA","r":2,"target_modules":["q_proj"],"lora_alpha":2,"r":4})";
  expect_broken(inspect(), {"\"r\" stands twice"});
}

TEST_F(InspectionTest, ALinkIsRefusedByName) {
  const TestFolder elsewhere;
  std::ofstream(elsewhere / "secret") << "secret";
  std::filesystem::create_symlink(elsewhere / "secret", file(kAdapterTemplateName));
  expect_broken(inspect(), {kAdapterTemplateName, "link"});
}

TEST_F(InspectionTest, TheReasonIsPrintableAndBounded) {
  std::ofstream(file(kAdapterConfigName)) << R"({"peft_type":"\u001b[31m)" << std::string(100'000, 'x') << R"("})";
  const EntryFacts facts = inspect();
  ASSERT_FALSE(facts.broken.ok());
  EXPECT_LE(facts.broken.message().size(), 1000u);
  EXPECT_EQ(facts.broken.message().find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace umbel
