// Records that survive, and results from them.
#include <gtest/gtest.h>

#include <fstream>

#include "eval/exam/results.h"
#include "io/test_folder.h"

namespace umbel::eval {
namespace {

AnswerRecord record(int64_t row, const std::string& answer) { return {.row = row, .answer = answer, .finish = "eos", .prompt_tokens = 5, .answer_tokens = 2}; }

TEST(Records, AnswersAreThereWhenTheFileIsOpenedAgain) {
  TestFolder folder;
  const ExamKey key{.task = "t", .adapter = "a", .task_digest = "1", .rows_digest = "2", .adapter_digest = "3"};
  {
    const auto records = Records::open(folder / "exam.sqlite").value();
    ASSERT_TRUE(records->agree("base", "x").ok());
    EXPECT_TRUE(records->enter(key).value().empty());
    ASSERT_TRUE(records->put_question("t", 0, "p", "r").ok());
    ASSERT_TRUE(records->put("t", "a", record(0, "one")).ok());
    ASSERT_TRUE(records->put("t", "a", record(2, "three")).ok());
    EXPECT_FALSE(records->put("t", "a", record(0, "again")).ok()) << "no row is asked twice";
  }
  const auto records = Records::open(folder / "exam.sqlite").value();
  EXPECT_EQ(records->enter(key).value(), (std::set<int64_t>{0, 2}));
  EXPECT_EQ(records->answers("t", "a").value()[0].answer, "one");
  EXPECT_EQ(records->agree("base", "y").code(), Code::kFailedPrecondition);
  for (auto change : {&ExamKey::task_digest, &ExamKey::rows_digest, &ExamKey::adapter_digest}) {
    ExamKey other = key;
    other.*change = "9";
    EXPECT_EQ(records->enter(other).status().code(), Code::kFailedPrecondition);
  }
}

TEST(Records, WhatIsNotOursIsRefusedAndLeftAsItIs) {
  TestFolder folder;
  std::ofstream(folder / "text") << std::string(5000, 'x');
  const auto text = Records::open(folder / "text");
  ASSERT_FALSE(text.ok());
  EXPECT_NE(text.status().message().find("no exam's database"), std::string::npos) << text.status().message();
  EXPECT_EQ(read_file(folder / "text").value(), std::string(5000, 'x'));
  { const auto made = Records::open(folder / "exam").value(); }
  std::string bytes = read_file(folder / "exam").value();
  bytes[63] = 9;  // user_version (bytes 60 to 63 of the header, big-endian)
  std::ofstream(folder / "later", std::ios::binary) << bytes;
  EXPECT_NE(Records::open(folder / "later").status().message().find("version 9"), std::string::npos);
  bytes[63] = 1;
  bytes[68] = 7;  // application_id
  std::ofstream(folder / "other", std::ios::binary) << bytes;
  EXPECT_NE(Records::open(folder / "other").status().message().find("something else"), std::string::npos);
  EXPECT_FALSE(Records::open(folder / "nowhere" / "exam").ok());
}

ExamTask two_rows() {
  ExamTask task{.name = "t", .digest = "d", .scorer = {.name = "class_accuracy", .options = nullptr}};
  for (const char* reference : {"yes", "no"}) task.rows.push_back({.prompt = "?", .completion = reference, .reference = reference, .place = "row"});
  return task;
}

TEST(ExamResults, AdaptersAreComparedWithTheBaseOnTheSameRows) {
  const auto records = Records::open("").value();
  const std::vector<ExamTask> tasks = {two_rows()};
  for (const char* adapter : {"", "good", "mute"}) {
    for (int64_t row = 0; row < 2; ++row) {
      AnswerRecord one = record(row, std::string(adapter) == "good" ? (row == 0 ? " yes\n" : "no") : std::string(adapter).empty() ? "no" : "  ");
      one.cut = row == 1;
      ASSERT_TRUE(records->put("t", adapter, one).ok());
    }
  }
  const auto results = exam_results(*records, tasks, {"", "good", "mute"}, 1).value();
  ASSERT_EQ(results.size(), 3u);
  EXPECT_EQ(results[0].score, 0.5);
  EXPECT_FALSE(results[0].base_score.has_value());
  EXPECT_EQ(results[1].score, 1);
  EXPECT_EQ(results[1].lift.difference, 0.5);
  EXPECT_EQ(results[1].lift.method, "mcnemar");
  EXPECT_EQ(results[2].score, 0);
  EXPECT_EQ(results[2].empty, 2);
  EXPECT_EQ(results[1].cut, 1);
  EXPECT_EQ(results[1].prompt_tokens, 10);
  EXPECT_EQ(result_json(results[1])["interval"]["method"], "wilson");
}

TEST(Records, ShowWhereTwoAdaptersDiffer) {
  const auto records = Records::open("").value();
  const struct {
    const char* adapter;
    std::vector<std::string> answers;
    std::vector<double> scores;
  } kAdapters[] = {{"a", {"x", "y", "z"}, {1, 0, 0.5}}, {"", {"x", "w", "v"}, {1, 0.2, 1}}};
  for (int64_t row = 0; row < 3; ++row) ASSERT_TRUE(records->put_question("t", row, "p" + std::to_string(row), "r").ok());
  for (const auto& one : kAdapters) {
    for (int64_t row = 0; row < 3; ++row) ASSERT_TRUE(records->put("t", one.adapter, record(row, one.answers[static_cast<size_t>(row)])).ok());
    EXPECT_FALSE(records->show({.adapter = one.adapter}).value()[0].score.has_value());
    ASSERT_TRUE(records->put_scores("t", one.adapter, one.scores).ok());
  }
  const auto different = records->show({.adapter = "a", .other = ""}).value();
  ASSERT_EQ(different.size(), 2u);
  EXPECT_EQ(different[0].row, 2);  // .5 apart
  EXPECT_EQ(different[0].answer, "z");
  EXPECT_EQ(different[0].other_answer, "v");
  EXPECT_EQ(different[0].prompt, "p2");
  EXPECT_EQ(records->show({.task = "t", .adapter = "a", .worst_first = true, .limit = 1}).value()[0].answer, "y");
  EXPECT_EQ(records->show({}).value().size(), 6u);
  EXPECT_TRUE(records->show({.task = "other"}).value().empty());
}

TEST(ExamResults, AnExamThatIsNotOverHasNoResults) {
  const auto records = Records::open("").value();
  ASSERT_TRUE(records->put("t", "", record(0, "yes")).ok());
  const auto results = exam_results(*records, {two_rows()}, {""}, 1);
  EXPECT_EQ(results.status().code(), Code::kFailedPrecondition);
  EXPECT_NE(results.status().message().find("1 of 2 rows"), std::string::npos);
}

}  // namespace
}  // namespace umbel::eval
