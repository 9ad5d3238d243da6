#include "eval/exam/exam_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "eval/exam/results.h"

namespace umbel::eval {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kHostile = "<script>alert(1)</script><img src=x onerror='y'>";

class ExamReport : public ::testing::Test {
 protected:
  void SetUp() override {
    ExamTask task{.name = kHostile, .digest = "d", .scorer = {.name = "class_accuracy", .options = nullptr}, .honest = ScorerChoice{.name = "rougeL", .options = nullptr}};
    const char* answers[] = {"a", kHostile, "b", "a"};
    for (const std::string adapter : {"", kHostile}) {
      ASSERT_TRUE(records_->enter({.task = task.name, .adapter = adapter, .task_digest = "d", .rows_digest = "r", .adapter_digest = "-"}).ok());
      for (int row = 0; row < 4; ++row) {
        if (adapter.empty()) {
          task.rows.push_back({.prompt = std::string(kHostile) + std::to_string(row), .reference = row % 2 == 0 ? "a" : kHostile});
          ASSERT_TRUE(records_->put_question(task.name, row, task.rows.back().prompt, task.rows.back().reference.dump()).ok());
        }
        ASSERT_TRUE(records_->put(task.name, adapter, {.row = row, .answer = answers[row], .finish = "eos", .prompt_tokens = 5, .answer_tokens = 1}).ok());
      }
    }
    tasks_ = {task};
  }
  std::string page() {
    auto html = exam_report_html(*records_, {.title = kHostile, .worst_rows = 2});
    return html.ok() ? *html : html.status().message();
  }

  std::unique_ptr<Records> records_ = Records::open("").value();
  std::vector<ExamTask> tasks_;
};

TEST_F(ExamReport, SaysThatAnExamIsNotOver) { EXPECT_THAT(page(), HasSubstr("not over")); }

TEST_F(ExamReport, HasScoresIntervalsConfusionAndTheWorstRows) {
  ASSERT_TRUE(exam_results(*records_, tasks_, {"", kHostile}, 1).ok());
  const std::string html = page();
  EXPECT_THAT(html, HasSubstr("<h3>class_accuracy</h3>"));
  EXPECT_THAT(html, HasSubstr("<h3>rougeL</h3>"));
  EXPECT_THAT(html, HasSubstr("(wilson)"));
  EXPECT_THAT(html, HasSubstr("mcnemar"));
  EXPECT_THAT(html, HasSubstr("what is right (rows)"));
  EXPECT_THAT(html, HasSubstr("<td class='n'>0.5</td>")) << "two of four are right";
  // Row 2 ("b" for "a") and row 3 are wrong; two rows of each adapter are shown.
  EXPECT_THAT(html, HasSubstr("<tr><td class='n'>2</td><td class='n'>0</td>"));
  EXPECT_THAT(html, HasSubstr("<tr><td class='n'>3</td><td class='n'>0</td>"));
  EXPECT_THAT(html, Not(HasSubstr("<tr><td class='n'>0</td><td class='n'>1</td>")));
}

TEST_F(ExamReport, NothingThatStrangersWroteIsMarkup) {
  ASSERT_TRUE(exam_results(*records_, tasks_, {"", kHostile}, 1).ok());
  const std::string html = page();
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, Not(HasSubstr("<img")));
  EXPECT_THAT(html, Not(HasSubstr("onerror='")));
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;"));
}

TEST_F(ExamReport, ResultsThatSomebodyElseWroteAreReadWithCare) {
  for (const char* text : {"[1, null, {}]", "[{\"task\": 3, \"interval\": [], \"summary\": {\"confusion\": {\"classes\": [1, \"a\"], \"rows\": [[1], \"x\"]}}}]", "{\"a\": 1}"}) {
    ASSERT_TRUE(records_->put_about(kResultsName, text).ok());
    EXPECT_THAT(page(), HasSubstr("</html>")) << text;
  }
  ASSERT_TRUE(records_->put_about(kResultsName, "[").ok());
  EXPECT_THAT(page(), HasSubstr("results"));
}

}  // namespace
}  // namespace umbel::eval
