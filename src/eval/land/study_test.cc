// The paper's table: what follows from it, and what it does not support.
#include <gtest/gtest.h>

#include <fstream>

#include "eval/land/study.h"
#include "io/test_folder.h"

namespace umbel::eval {
namespace {

Path land() {
  const char* dir = std::getenv("UMBEL_SOURCE_DIR");
  return Path(dir != nullptr ? dir : ".") / "assets/land";
}

TEST(Study, TheTableGivesItsAggregates) {
  const Study study = read_study(land()).value();
  const auto figure = [&](const std::string& name) { return study_statistic(study, name).value(); };
  EXPECT_EQ(figure("count.cells"), 310);
  EXPECT_EQ(figure("count.improved"), 301);
  EXPECT_EQ(figure("count.beats_gpt_4"), 194);
  EXPECT_EQ(figure("count.beats_or_ties_gpt_4"), 204);
  EXPECT_NEAR(figure("mean.lift"), 0.384, 0.0006);
  EXPECT_NEAR(figure("mean.best_fine_tuned"), 0.756, 0.0006);
  EXPECT_NEAR(figure("mean.best_fine_tuned_over_gpt_4"), 0.095, 0.0006);
  EXPECT_EQ(figure("tasks.gpt_4_ahead"), 6);
  EXPECT_EQ(figure("tasks.gpt_4_tied"), 1);
  EXPECT_EQ(figure("tasks.gpt_3_5_ahead"), 3);
  EXPECT_EQ(figure("model.best_on/mistral-7b"), 13);
  EXPECT_EQ(figure("model.best_alone_on/mistral-7b"), 11);
  EXPECT_EQ(figure("model.beats_gpt_4/zephyr-7b-beta"), 22);
  EXPECT_EQ(figure("model.improved/gemma-7b-instruct"), 26);
  EXPECT_NEAR(figure("model.lift/gemma-2b"), 0.512, 0.0006);
  EXPECT_EQ(figure("type.tasks/reasoning"), 13);
  EXPECT_NEAR(figure("type.best_fine_tuned/classic NLP"), 0.624, 0.0006);
  EXPECT_NEAR(figure("type.gpt_4/coding"), 0.869, 0.0006);
  EXPECT_NEAR(figure("correlation/best_base/mean_base"), 0.81, 0.0051);
  EXPECT_EQ(study_statistic(study, "mean.none").status().code(), Code::kNotFound);
  EXPECT_EQ(study_statistic(study, "model.base/none").status().code(), Code::kNotFound);
}

TEST(Study, WhatTheTableDoesNotSupportIsListed) {
  const Study study = read_study(land()).value();
  std::vector<std::string> unsupported;
  const auto quoted = compare_with_quoted(study, land()).value();
  for (const QuotedFigure& one : quoted) {
    if (!one.supported()) unsupported.push_back(one.statistic);
  }
  for (const char* known : {"mean.lift", "count.beats_gpt_4", "model.fine_tuned/gemma-7b-instruct", "correlation/gpt_4/best_base"}) {
    EXPECT_NE(std::find(unsupported.begin(), unsupported.end(), known), unsupported.end()) << known;
  }
  for (const char* known : {"count.improved", "mean.best_fine_tuned", "tasks.gpt_4_ahead", "model.fine_tuned/zephyr-7b-beta", "correlation/best_fine_tuned/mean_fine_tuned"}) {
    EXPECT_EQ(std::find(unsupported.begin(), unsupported.end(), known), unsupported.end()) << known;
  }
}

TEST(Study, ABadTableIsSaidByFileAndLine) {
  const auto problem = [](const std::string& from, const std::string& to) {
    TestFolder folder;
    for (const char* name : {"tasks.csv", "scores.csv"}) {
      std::string text = read_file(land() / name).value();
      const size_t at = text.find(from);
      if (at != std::string::npos) text.replace(at, from.size(), to);
      std::ofstream(folder / name) << text;
    }
    return read_study(folder.path()).status().message();
  };
  EXPECT_NE(problem("bc5cdr,phi-2,0.172", "bc5cdr,phi-2,x").find("scores.csv:2"), std::string::npos);
  EXPECT_NE(problem("bc5cdr,phi-2,", "bc5cdx,phi-2,").find("\"bc5cdx\""), std::string::npos);
  EXPECT_NE(problem("bc5cdr,gemma-2b,", "bc5cdr,phi-2,").find("twice"), std::string::npos);
  EXPECT_NE(problem("bc5cdr,phi-2,0.172,0.950\n", "").find("no score of model \"phi-2\""), std::string::npos);
  EXPECT_NE(problem("tokens_p95", "p95").find("\"tokens_p95\" is missing"), std::string::npos);
}

}  // namespace
}  // namespace umbel::eval
