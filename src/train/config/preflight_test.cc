#include "train/config/preflight.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "io/test_folder.h"

namespace umbel::train {
namespace {

using ::testing::HasSubstr;

TEST(Preflight, EveryFileAndFolderOfEveryJobIsLookedAt) {
  const TestFolder dir;
  std::ofstream(dir / "good.jsonl") << "{}\n";
  std::ofstream(dir / "empty.jsonl") << "";
  const std::string good = (dir / "good.jsonl").string();
  RunSpec spec{.out = dir / "run"};
  spec.jobs = {{.job = {.name = "fine"}, .data = good, .out = dir / "a/b/c"},
               {.job = {.name = "none"}, .data = (dir / "no.jsonl").string(), .out = dir / "n", .where = "run.yaml:7"},
               {.job = {.name = "void"}, .data = (dir / "empty.jsonl").string(), .eval_data = dir.path().string() + ":test", .out = dir / "v"},
               {.job = {.name = "file"}, .data = good, .out = dir / "good.jsonl/inside"}};
  Problems problems;
  check_files(spec, problems);
  ASSERT_EQ(problems.lines().size(), 4u) << problems.status().message();
  EXPECT_THAT(problems.lines()[0], HasSubstr("run.yaml:7: none: data: there is no file"));
  EXPECT_THAT(problems.lines()[1], HasSubstr("empty.jsonl\" is empty"));
  EXPECT_THAT(problems.lines()[2], HasSubstr("void: eval_data: the data folder \"" + dir.path().string() + "\": it has no split \"test\"; there are: train"));
  EXPECT_THAT(problems.lines()[3], HasSubstr("good.jsonl\" is a file"));
  EXPECT_THAT(problems.status().message(), HasSubstr("4 problems"));
  EXPECT_EQ(dir.entries(), 2);  // nothing was made
}

TEST(Preflight, WhatAJobGoesOnFromIsAnAdapter) {
  const TestFolder dir;
  std::ofstream(dir / "good.jsonl") << "{}\n";
  const std::string good = (dir / "good.jsonl").string();
  RunSpec spec{.out = dir / "run"};
  spec.jobs = {{.job = {.name = "none"}, .data = good, .start_from = (dir / "gone").string(), .out = dir / "a"},
               {.job = {.name = "rows"}, .data = good, .start_from = dir.path().string(), .out = dir / "b"},
               {.job = {.name = "full", .kind = TrainKind::kFull}, .data = good, .start_from = dir.path().string(), .out = dir / "c"}};
  Problems problems;
  check_files(spec, problems);
  ASSERT_EQ(problems.lines().size(), 3u) << problems.status().message();
  EXPECT_THAT(problems.lines()[0], HasSubstr("none: start_from: there is no folder"));
  EXPECT_THAT(problems.lines()[1], HasSubstr("adapter_config.json"));
  EXPECT_THAT(problems.lines()[2], HasSubstr("give that folder as base"));
}

TEST(Preflight, AFolderThatCannotBeWrittenIsNamed) {
  if (geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  const TestFolder dir;
  std::filesystem::create_directory(dir / "locked");
  std::filesystem::permissions(dir / "locked", std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  Problems problems;
  check_files({.out = dir / "locked/run"}, problems);
  EXPECT_THAT(problems.status().message(), HasSubstr("Permission denied"));
}

}  // namespace
}  // namespace umbel::train
