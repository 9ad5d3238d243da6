#include "io/new_folder.h"

#include <gtest/gtest.h>

#include <fstream>

#include "io/test_folder.h"

namespace umbel {
namespace {

void fill(const Path& dir, const std::string& text) {
  std::filesystem::create_directories(dir);
  std::ofstream(dir / "config.json") << text;
}

TEST(NewFolderTest, AppearsWholeOnCommit) {
  TestFolder test;
  const Path out = test.path() / "a/b";
  {
    auto made = NewFolder::create(out, Existing::kRefuse);
    ASSERT_TRUE(made.ok()) << made.status().to_string();
    fill(made->path(), "new");
    EXPECT_FALSE(std::filesystem::exists(out));
    ASSERT_TRUE(made->commit().ok());
  }
  EXPECT_EQ(read_file(out / "config.json").value(), "new");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(test.path() / "a"), {}), 1);
}

TEST(NewFolderTest, DroppedItLeavesNothing) {
  TestFolder test;
  {
    auto made = NewFolder::create(test.path() / "out", Existing::kRefuse);
    ASSERT_TRUE(made.ok());
    fill(made->path(), "new");
  }
  EXPECT_EQ(test.entries(), 0);
}

TEST(NewFolderTest, AnExistingFolderIsRefusedOrReplacedWhole) {
  TestFolder test;
  const Path out = test.path() / "out";
  fill(out, "old");
  std::ofstream(out / "more") << "old";
  const auto refused = NewFolder::create(out, Existing::kRefuse);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), Code::kAlreadyExists);
  {
    auto made = NewFolder::create(out.string() + "/", Existing::kReplace);
    ASSERT_TRUE(made.ok()) << made.status().to_string();
    fill(made->path(), "new");
    EXPECT_EQ(read_file(out / "config.json").value(), "old");  // until commit
    ASSERT_TRUE(made->commit().ok());
  }
  EXPECT_EQ(read_file(out / "config.json").value(), "new");
  EXPECT_FALSE(std::filesystem::exists(out / "more"));
  EXPECT_EQ(test.entries(), 1);
}

TEST(NewFolderTest, NothingElseIsEverReplaced) {
  TestFolder test;
  std::filesystem::create_directories(test.path() / "home");
  std::ofstream(test.path() / "home/diary") << "x";
  std::ofstream(test.path() / "file") << "x";
  for (const char* name : {"home", "file"}) {
    EXPECT_FALSE(NewFolder::create(test.path() / name, Existing::kReplace).ok()) << name;
  }
  EXPECT_FALSE(NewFolder::create("/", Existing::kReplace).ok());
  std::filesystem::create_directories(test.path() / "empty");
  auto made = NewFolder::create(test.path() / "empty", Existing::kRefuse);
  ASSERT_TRUE(made.ok());
  fill(made->path(), "new");
  EXPECT_TRUE(made->commit().ok());
  EXPECT_TRUE(std::filesystem::exists(test.path() / "empty/config.json"));
  EXPECT_TRUE(std::filesystem::exists(test.path() / "home/diary"));
}

TEST(NewFolderTest, WhatAKilledProcessLeftIsSweptAndNothingElse) {
  TestFolder test;
  const Path out = test.path() / "out";
  fill(test.path() / ".out.umbel-aB3dE6", "half written");  // as a killed process leaves it: nobody has its lock
  for (const char* other : {".out.backup", ".out.umbel-mine-too", ".outer.umbel-aB3dE6", "out.umbel-aB3dE6"}) fill(test.path() / other, "somebody's");
  std::filesystem::create_directory_symlink(test.path() / ".out.backup", test.path() / ".out.umbel-Link00");
  auto alive = NewFolder::create(out, Existing::kRefuse);
  ASSERT_TRUE(alive.ok());
  EXPECT_FALSE(std::filesystem::exists(test.path() / ".out.umbel-aB3dE6"));
  fill(alive->path(), "being written");
  auto second = NewFolder::create(out, Existing::kRefuse);
  ASSERT_TRUE(second.ok());
  EXPECT_TRUE(std::filesystem::exists(alive->path() / "config.json"));  // its owner lives
  for (const char* other : {".out.backup", ".out.umbel-mine-too", ".outer.umbel-aB3dE6", "out.umbel-aB3dE6"}) {
    EXPECT_TRUE(std::filesystem::exists(test.path() / other / "config.json")) << other;
  }
}

}  // namespace
}  // namespace umbel
