#include "kernels/choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "kernels/context.h"

namespace umbel::kernels {
namespace {

using testing::HasSubstr;

// A folder that goes away with the test.
struct Folder {
  std::filesystem::path path = std::filesystem::path(testing::TempDir()) / ("umbel_choice_" + std::to_string(getpid()));
  Folder() { std::filesystem::create_directories(path); }
  ~Folder() { std::filesystem::remove_all(path); }
};

TEST(Choice, EveryAvailableIsaCanBeForcedAndHasATable) {
  for (Isa isa : available_isas()) {
    const Result<Choice> choice = choose({.isa = std::string(isa_name(isa)), .arithmetic = "f32-fma"});
    ASSERT_TRUE(choice.ok()) << choice.status().to_string();
    EXPECT_EQ(choice->isa, isa);
    EXPECT_THAT(choice->reason, HasSubstr("forced"));
    EXPECT_NO_FATAL_FAILURE(table_for(isa));
  }
}

TEST(Choice, AutoTakesTheHighestIsa) {
  const Result<Choice> choice = choose({.arithmetic = "f32-fma"});
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(choice->isa, available_isas().back());
}

TEST(Choice, UnknownNamesAndMissingInstructionsAreNamed) {
  const Result<Choice> unknown = choose({.isa = "avx1024"});
  EXPECT_EQ(unknown.status().code(), Code::kInvalidArgument);
  EXPECT_THAT(unknown.status().message(), HasSubstr("generic"));
  const Result<Choice> missing = choose({.isa = "generic", .arithmetic = "bf16-dot"});
  EXPECT_EQ(missing.status().code(), Code::kUnsupported);
  EXPECT_THAT(missing.status().message(), HasSubstr("f32-fma"));
}

TEST(Choice, MeasuredOnceThenReadBack) {
  if (available_arithmetics(available_isas().back()).size() < 2) GTEST_SKIP() << "only one arithmetic here";
  const Folder folder;
  const std::string dir = (folder.path / "deep").string();
  const Result<Choice> first = choose({.cache_dir = dir});
  ASSERT_TRUE(first.ok());
  EXPECT_THAT(first->reason, HasSubstr("measured"));
  const Result<Choice> second = choose({.cache_dir = dir});
  ASSERT_TRUE(second.ok());
  EXPECT_THAT(second->reason, HasSubstr("stored"));
  EXPECT_EQ(second->arithmetic, first->arithmetic);
  // What is stored is believed, never measured again.
  ASSERT_EQ(std::distance(std::filesystem::directory_iterator(dir), {}), 1);
  const std::filesystem::path file = std::filesystem::directory_iterator(dir)->path();
  const std::string other = first->arithmetic == Arithmetic::kF32Fma ? "bf16-dot" : "f32-fma";
  std::ofstream(file) << other << "\tby hand\n";
  const Result<Choice> third = choose({.cache_dir = dir});
  EXPECT_EQ(arithmetic_name(third->arithmetic), other);
  EXPECT_THAT(third->reason, HasSubstr("by hand"));
  // A damaged file is measured anew and replaced.
  std::ofstream(file) << "nonsense";
  EXPECT_THAT(choose({.cache_dir = dir})->reason, HasSubstr("measured"));
  EXPECT_THAT(choose({.cache_dir = dir})->reason, HasSubstr("stored"));
}

TEST(Choice, AnUnwritableCacheIsSaidAndGoesOn) {
  if (available_arithmetics(available_isas().back()).size() < 2) GTEST_SKIP() << "only one arithmetic here";
  const Folder folder;
  const std::filesystem::path blocker = folder.path / "file";
  std::ofstream(blocker) << "x";
  const Result<Choice> choice = choose({.cache_dir = (blocker / "umbel").string()});
  ASSERT_TRUE(choice.ok());
  EXPECT_THAT(choice->reason, HasSubstr("could not be stored"));
}

}  // namespace
}  // namespace umbel::kernels
