#include "text/stop.h"

#include <gtest/gtest.h>

#include <optional>

#include "base/growth_testing.h"

namespace umbel {
namespace {

struct Outcome {
  std::string text;
  std::string matched;
  bool stopped = false;
  bool operator==(const Outcome&) const = default;
};

// The truth, byte by byte: the stop string that is complete first wins, the longest of those.
Outcome naive(const std::string& text, const std::vector<std::string>& stops, StopText kept) {
  for (size_t end = 1; end <= text.size(); ++end) {
    std::optional<std::string> hit;
    for (const std::string& stop : stops) {
      if (!stop.empty() && text.substr(0, end).ends_with(stop) && (!hit || stop.size() > hit->size())) hit = stop;
    }
    if (hit) return {text.substr(0, kept == StopText::kKept ? end : end - hit->size()), *hit, true};
  }
  return {text, "", false};
}

StopMatcher make(std::vector<std::string> stops, StopText kept) {
  return StopMatcher(std::make_shared<const StopList>(std::move(stops)), kept);
}

TEST(StopMatcher, CutsTheStopString) {
  StopMatcher matcher = make({"END"}, StopText::kCut);
  EXPECT_EQ(matcher.push("one E"), "one ");
  EXPECT_EQ(matcher.push("N"), "");
  EXPECT_EQ(matcher.push("D two"), "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.matched(), "END");
  EXPECT_EQ(matcher.push("more"), "");
  EXPECT_EQ(matcher.flush(), "");
}

TEST(StopMatcher, KeepsTheStopStringWhereAsked) {
  StopMatcher matcher = make({"END"}, StopText::kKept);
  EXPECT_EQ(matcher.push("one END two"), "one END");
  EXPECT_TRUE(matcher.stopped());
}

TEST(StopMatcher, GivesBackWhatOnlyLookedLikeOne) {
  StopMatcher matcher = make({"\n\nUser:"}, StopText::kCut);
  EXPECT_EQ(matcher.push("Hi\n\nUs"), "Hi");
  EXPECT_EQ(matcher.push("e it"), "\n\nUse it");
  EXPECT_EQ(matcher.push("\n"), "");
  EXPECT_EQ(matcher.flush(), "\n");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopMatcher, NothingToStopAt) {
  StopMatcher matcher = make({"", ""}, StopText::kCut);
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
    const StopText kept = draw(2) == 1 ? StopText::kKept : StopText::kCut;
    StopMatcher matcher = make(stops, kept);
    Outcome outcome;
    for (size_t at = 0; at < text.size();) {
      const size_t size = std::min(text.size() - at, draw(6));
      outcome.text += matcher.push(std::string_view(text).substr(at, size));
      at += size;
      // What is held back is never more than could become a stop string.
      const Outcome so_far = naive(text.substr(0, at), stops, kept);
      ASSERT_TRUE(so_far.text.starts_with(outcome.text));
      ASSERT_LE(so_far.text.size() - outcome.text.size(), 5u);
    }
    outcome.text += matcher.flush();
    outcome.matched = matcher.matched();
    outcome.stopped = matcher.stopped();
    ASSERT_EQ(outcome, naive(text, stops, kept)) << text;
    stopped += outcome.stopped ? 1 : 0;
  }
  EXPECT_GT(stopped, 1000);
  EXPECT_LT(stopped, 19000);
}

TEST(StopMatcher, HiddenTextCountsButIsNotShown) {
  StopMatcher across = make({"a<pad>b", "zz"}, StopText::kCut);
  EXPECT_EQ(across.push("xa"), "x");
  EXPECT_EQ(across.push_hidden("<pad>"), "");
  EXPECT_EQ(across.push("b"), "");
  EXPECT_EQ(across.matched(), "a<pad>b");
  StopMatcher broken = make({"a<pad>b", "zz"}, StopText::kCut);
  std::string shown = broken.push("a");
  shown += broken.push_hidden("<pad>");
  shown += broken.push("c");
  EXPECT_EQ(shown, "ac");
  StopMatcher alone = make({"<pad>"}, StopText::kKept);
  EXPECT_EQ(alone.push("text"), "text");
  EXPECT_EQ(alone.push_hidden("<pad>"), "");
  EXPECT_TRUE(alone.stopped());
}

// Strings of n bytes and text that almost matches them, again and again: what a search from every place would square.
TEST(StopMatcher, CostGrowsWithTheTextAndTheStrings) {
  const auto texts = [](size_t n) { return std::string(64 * n, 'a'); };
  const auto match = [](const std::string& text) {
    StopMatcher matcher = make({text + "b", text.substr(text.size() / 2) + "c"}, StopText::kCut);
    const std::string piece(16, 'a');
    for (size_t i = 0; i < text.size() / 8; ++i) matcher.push(piece);  // twice as much as can be held back
    matcher.push("d");
    for (size_t i = 0; i < text.size(); ++i) matcher.push(i % 64 == 63 ? "d" : "a");
  };
  EXPECT_LT(testing::growth_of_doubling(500, texts, match), testing::kGrowthMax);
}

}  // namespace
}  // namespace umbel
