#include "adapters/pattern.h"

#include <gtest/gtest.h>

namespace umbel {
namespace {

bool matches(const char* pattern, const char* text) {
  Result<Pattern> compiled = Pattern::compile(pattern);
  EXPECT_TRUE(compiled.ok()) << pattern << ": " << compiled.status().to_string();
  if (!compiled.ok()) return false;
  Result<bool> result = compiled->full_match(text);
  EXPECT_TRUE(result.ok()) << pattern;
  return result.ok() && *result;
}

// Expected values were read off Python's re.fullmatch.
TEST(PatternTest, AgreesWithPythonFullmatch) {
  const char* path = "model.layers.10.self_attn.q_proj";
  EXPECT_TRUE(matches(".*q_proj", path));
  EXPECT_FALSE(matches("q_proj", path));
  EXPECT_TRUE(matches(R"(.*\.(q|v)_proj)", path));
  EXPECT_FALSE(matches(R"(.*\.(k|v)_proj)", path));
  EXPECT_TRUE(matches(R"(model\.layers\.\d+\.self_attn\.[qkvo]_proj)", path));
  EXPECT_FALSE(matches(R"(model\.layers\.\d\.self_attn\.[qkvo]_proj)", path));
  EXPECT_TRUE(matches(R"(model\.layers\.\d{2}\..*)", path));
  EXPECT_TRUE(matches(R"(model\.layers\.\d{1,}\..*?_proj)", path));
  EXPECT_FALSE(matches(R"(model\.layers\.\d{3,4}\..*)", path));
  EXPECT_TRUE(matches(R"(model\.layers\.(1[0-5]|[2-9])\..*)", path));
  EXPECT_TRUE(matches(R"((?:.*?(?:self_attn|mlp).*?(?:\bq_proj\b|\bk_proj\b).*?))", path));
  EXPECT_FALSE(matches(R"((?:.*?(?:self_attn|mlp).*?(?:\bproj\b).*?))", path));
  EXPECT_TRUE(matches(R"(^(?!.*visual).*(?:q_proj|v_proj)$)", path));
  EXPECT_FALSE(matches(R"(^(?!.*self_attn).*(?:q_proj|v_proj)$)", path));
  EXPECT_TRUE(matches(R"((?=.*attn)model.*)", path));
  EXPECT_TRUE(matches(R"((?P<stem>model)[^x]+)", path));
  EXPECT_TRUE(matches("", ""));
  EXPECT_TRUE(matches("a|", ""));
  EXPECT_TRUE(matches("a{0,2}", "aa"));
  EXPECT_TRUE(matches("a{x}", "a{x}"));
  EXPECT_TRUE(matches(R"([\w.-]+)", "a-b.c_1"));
  EXPECT_TRUE(matches("[]a]+", "]a"));
  EXPECT_FALSE(matches("(a*)*b", "aaaaac"));
  EXPECT_TRUE(matches(R"(\Aab\Z)", "ab"));
  EXPECT_TRUE(matches("a|ab", "ab"));
  EXPECT_TRUE(matches(R"((q|v)_\1)", "v_v"));
  EXPECT_FALSE(matches(R"((q|v)_\1)", "q_v"));
  EXPECT_TRUE(matches("(?i)Q_PROJ", "q_proj"));
  EXPECT_TRUE(matches(R"(.*(?<!mlp\.)q_proj)", path));
  EXPECT_FALSE(matches(R"(.*(?<!self_attn\.)q_proj)", path));
}

TEST(PatternTest, RefusesByName) {
  const auto code = [](const char* pattern) { return Pattern::compile(pattern).status().code(); };
  EXPECT_EQ(code("(a"), Code::kInvalidArgument);
  EXPECT_EQ(code("a)"), Code::kInvalidArgument);
  EXPECT_EQ(code("*a"), Code::kInvalidArgument);
  EXPECT_EQ(code("a**"), Code::kInvalidArgument);
  EXPECT_EQ(code("[a"), Code::kInvalidArgument);
  EXPECT_EQ(code("[z-a]"), Code::kInvalidArgument);
  EXPECT_EQ(code("a{3,2}"), Code::kInvalidArgument);
  EXPECT_EQ(code("a\\"), Code::kInvalidArgument);
  EXPECT_EQ(code("a{,2}"), Code::kUnsupported);
  EXPECT_EQ(code("a{99999}"), Code::kTooLong);
  EXPECT_EQ(code(std::string(5000, 'a').c_str()), Code::kTooLong);
  EXPECT_EQ(code("((((a{99}){99}){99}){99})"), Code::kTooLong);
  EXPECT_EQ(code(std::string(100, '(').c_str()), Code::kTooLong);
}

// Patterns that take exponential time in a matcher that goes back: the limit ends them, with an error that says so.
TEST(PatternTest, CatastrophicPatternsEnd) {
  const std::string text(200, 'a');
  int stopped = 0;
  for (const char* pattern : {"(a+)+b", "(a|a)*b", "(a*)*(a*)*(a*)*b", "(a|aa)+$b", "(.*)(.*)(.*)(.*)(.*)x", "(a|a)*[bc]",
                              "((?=.*(?=.*(?=.*(?=.*b)))).)*c"}) {
    Result<Pattern> compiled = Pattern::compile(pattern);
    ASSERT_TRUE(compiled.ok()) << pattern;
    Result<bool> result = compiled->full_match(text);
    if (result.ok()) {
      EXPECT_FALSE(*result) << pattern;
    } else {
      EXPECT_EQ(result.status().code(), Code::kTooLong) << pattern;
      ++stopped;
    }
  }
  EXPECT_GT(stopped, 0);
}

}  // namespace
}  // namespace umbel
