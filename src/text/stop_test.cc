#include "text/stop.h"

#include <gtest/gtest.h>

#include <optional>

namespace umbel {
namespace {

struct Outcome {
  std::string text;
  std::string matched;
  bool stopped = false;
  bool operator==(const Outcome&) const = default;
};

// The truth, byte by byte: the stop string that is complete first wins, the longest of those.
Outcome naive(const std::string& text, const std::vector<std::string>& stops, bool include_stop) {
  for (size_t end = 1; end <= text.size(); ++end) {
    std::optional<std::string> hit;
    for (const std::string& stop : stops) {
      if (!stop.empty() && text.substr(0, end).ends_with(stop) && (!hit || stop.size() > hit->size())) hit = stop;
    }
    if (hit) return {text.substr(0, include_stop ? end : end - hit->size()), *hit, true};
  }
  return {text, "", false};
}

TEST(StopMatcher, CutsTheStopString) {
  StopMatcher matcher({"END"}, false);
  EXPECT_EQ(matcher.push("one E"), "one ");
  EXPECT_EQ(matcher.push("N"), "");
  EXPECT_EQ(matcher.push("D two"), "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.matched(), "END");
  EXPECT_EQ(matcher.push("more"), "");
  EXPECT_EQ(matcher.flush(), "");
}

TEST(StopMatcher, KeepsTheStopStringWhereAsked) {
  StopMatcher matcher({"END"}, true);
  EXPECT_EQ(matcher.push("one END two"), "one END");
  EXPECT_TRUE(matcher.stopped());
}

TEST(StopMatcher, GivesBackWhatOnlyLookedLikeOne) {
  StopMatcher matcher({"\n\nUser:"}, false);
  EXPECT_EQ(matcher.push("Hi\n\nUs"), "Hi");
  EXPECT_EQ(matcher.push("e it"), "\n\nUse it");
  EXPECT_EQ(matcher.push("\n"), "");
  EXPECT_EQ(matcher.flush(), "\n");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopMatcher, NothingToStopAt) {
  StopMatcher matcher({"", ""}, false);
  EXPECT_EQ(matcher.push("abc"), "abc");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopMatcher, EqualsTheNaiveModelHoweverTheTextIsCut) {
  uint64_t state = 7;
  const auto draw = [&state](size_t bound) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<size_t>(state >> 33) % bound;
  };
  const auto word = [&draw](size_t longest) {
    std::string text(draw(longest + 1), 'a');
    for (char& c : text) c = static_cast<char>('a' + draw(3));
    return text;
  };
  int stopped = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::string> stops(1 + draw(4));
    for (std::string& stop : stops) stop = word(6);
    const std::string text = word(40);
    const bool include_stop = draw(2) == 1;
    StopMatcher matcher(stops, include_stop);
    Outcome outcome;
    for (size_t at = 0; at < text.size();) {
      const size_t size = std::min(text.size() - at, draw(6));
      outcome.text += matcher.push(std::string_view(text).substr(at, size));
      at += size;
      // What is held back is never more than could become a stop string.
      const Outcome so_far = naive(text.substr(0, at), stops, include_stop);
      ASSERT_TRUE(so_far.text.starts_with(outcome.text));
      ASSERT_LE(so_far.text.size() - outcome.text.size(), 5u);
    }
    outcome.text += matcher.flush();
    outcome.matched = matcher.matched();
    outcome.stopped = matcher.stopped();
    ASSERT_EQ(outcome, naive(text, stops, include_stop)) << text;
    stopped += outcome.stopped ? 1 : 0;
  }
  EXPECT_GT(stopped, 1000);
  EXPECT_LT(stopped, 19000);
}

}  // namespace
}  // namespace umbel
