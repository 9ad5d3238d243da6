#include "train/report/progress_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace umbel::train {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Screen {
  std::string text;
  ManualClock clock;
  ProgressView view;
  Screen(const std::vector<std::string>& jobs, const ProgressOptions& options)
      : view(jobs, options, [this](std::string_view part) { text += part; }, clock) {}
  std::string take() { return std::exchange(text, ""); }
  void step(const std::string& job, int64_t step, int64_t steps = 100) {
    view.on_step({.job = job, .step = step, .steps = steps, .loss = 1.5, .learning_rate = 3e-3, .gradient_norm = 0.25},
                 {.tokens_per_second = 1234, .left_seconds = 80});
  }
};

// What a terminal shows of it: the last lines, as the control sequences leave them.
std::vector<std::string> shown(const std::string& text) {
  std::vector<std::string> lines(1);
  size_t row = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n') {
      if (++row == lines.size()) lines.emplace_back();
    } else if (text[i] == '\x1b') {
      const size_t end = text.find_first_of("AJK", i);
      const size_t count = text[i + 2] == 'J' ? 0 : std::stoul(text.substr(i + 2));
      if (text[end] == 'A') row -= count;
      if (text[end] == 'J') lines.resize(row + 1), lines[row].clear();
      if (text[end] == 'K') lines[row].clear();
      i = end;
    } else {
      lines[row] += text[i];
    }
  }
  return lines;
}

TEST(ProgressView, AFileGetsALineNowAndThen) {
  Screen screen({"a", "long-name"}, {});
  for (int64_t i = 1; i <= 100; ++i) screen.step("a", i);
  EXPECT_EQ(std::count(screen.text.begin(), screen.text.end(), '\n'), 11);
  EXPECT_THAT(screen.take(), HasSubstr("a          step 10/100  loss 1.5000  lr 3.00e-03  grad 0.250  1234 tokens/s  ETA 1m20s\n"));
  screen.view.on_eval({.job = "a", .step = 0, .rows = 8, .report = {.loss = 3.0}});
  EXPECT_THAT(screen.take(), HasSubstr("a: eval loss 3.0000 at step 0 (8 rows, 0.0 % exact, 0.0 % of tokens), before training"));
  screen.view.on_eval({.job = "a", .step = 50, .rows = 8, .report = {.loss = 2.0, .exact_rows = 0.5}, .best = true});
  EXPECT_THAT(screen.take(), HasSubstr("eval loss 2.0000 at step 50 (8 rows, 50.0 % exact, 0.0 % of tokens), the best so far"));
  screen.step("a", 100);
  EXPECT_THAT(screen.take(), HasSubstr("loss 1.5000  eval 2.0000 (base 3.0000)"));
  screen.view.on_end({.name = "a", .end = JobEnd::kFailed, .status = invalid_argument("it blew up"), .step = 9, .steps = 100});
  EXPECT_THAT(screen.take(), HasSubstr("failed: it blew up"));
  screen.view.on_note("a sentence");
  screen.step("nobody", 1);
  EXPECT_EQ(screen.take(), "a sentence\n");
}

TEST(ProgressView, ATerminalIsRedrawnInPlace) {
  Screen screen({"a", "b"}, {.in_place = true, .columns = 60});
  screen.step("a", 1);
  screen.step("b", 1);  // within the pause between drawings
  EXPECT_THAT(shown(screen.text)[1], HasSubstr("waiting"));
  screen.clock.advance(from_seconds(1));
  screen.step("a", 2);
  auto lines = shown(screen.text);
  ASSERT_EQ(lines.size(), 3u);  // and the empty one below
  EXPECT_THAT(lines[0], HasSubstr("a  step 2/100"));
  EXPECT_THAT(lines[1], HasSubstr("b  step 1/100"));
  EXPECT_LT(lines[0].size(), 60u);
  screen.view.on_note("the worse half stops");
  screen.view.on_end({.name = "b", .end = JobEnd::kLostSweep, .step = 1, .steps = 100});
  lines = shown(screen.text);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0], "the worse half stops");
  EXPECT_THAT(lines[2], HasSubstr("lost its sweep"));
  screen.take();
  screen.view.flush();
  screen.view.on_note("after");
  EXPECT_EQ(screen.take(), "after\n");  // what stands above stays
}

TEST(ProgressView, ManyJobsAreNotDrawnInPlace) {
  std::vector<std::string> names;
  for (int i = 0; i < 11; ++i) names.push_back("job" + std::to_string(i));
  Screen screen(names, {.in_place = true});
  for (int64_t i = 1; i <= 100; ++i) screen.step("job3", i);
  EXPECT_EQ(std::count(screen.text.begin(), screen.text.end(), '\n'), 5);
  EXPECT_THAT(screen.take(), Not(HasSubstr("\x1b")));
  screen.view.on_eval({.job = "job3", .step = 100, .rows = 8, .report = {.loss = 3.0}});
  EXPECT_EQ(screen.take(), "");
  screen.step("job3", 100);
  EXPECT_THAT(screen.take(), HasSubstr("eval 3.0000"));
}

}  // namespace
}  // namespace umbel::train
