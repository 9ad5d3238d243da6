#include "io/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <new>

#include "base/growth_testing.h"
#include "base/printable.h"
#include "base/random.h"
#include "base/sanitized_testing.h"
#include "io/test_folder.h"

namespace umbel {
namespace {

std::string error_of(std::string_view text, JsonKeys keys = JsonKeys::kLastCounts) {
  const Result<Json> json = parse_json(text, "body", keys);
  if (json.ok()) return "";
  EXPECT_EQ(json.status().code(), Code::kInvalidArgument);
  const std::string& message = json.status().message();
  EXPECT_EQ(printable(message), message);
  return message;
}

std::string nested(int depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST(Json, BuildsWhatTheTextSays) {
  const std::string text = R"( {"a": [1, -2, 3.5, true, null, "\u00e9\ud83d\ude00"], "b": {"c": {}, "d": []}, "e": 18446744073709551615} )";
  EXPECT_EQ(parse_json(text, "t").value(), Json::parse(text));
  for (const char* scalar : {"1", "\"x\"", "null", "false", "1e3"}) {
    EXPECT_EQ(parse_json(scalar, "t").value(), Json::parse(scalar));
  }
}

// The same value as the library's own builder for random documents.
TEST(Json, EqualsThePlainParserOnRandomDocuments) {
  Random random(7);
  const auto make = [&](const auto& self, int depth) -> Json {
    const uint64_t pick = random.next_below(depth > 4 ? 4 : 6);
    if (pick == 0) return random.next_u64();
    if (pick == 1) return random.next_normal();
    if (pick == 2) return std::string(random.next_below(5), 'q') + "\"\n";
    if (pick == 3) return nullptr;
    Json made = pick == 4 ? Json::array() : Json::object();
    for (uint64_t i = random.next_below(5); i > 0; --i) {
      if (pick == 4) made.push_back(self(self, depth + 1));
      else made["k" + std::to_string(random.next_below(9))] = self(self, depth + 1);
    }
    return made;
  };
  for (int i = 0; i < 500; ++i) {
    const Json made = make(make, 0);
    EXPECT_EQ(parse_json(made.dump(), "t", JsonKeys::kUnique).value(), made);
  }
}

TEST(Json, DepthIsLimitedWithoutRecursion) {
  EXPECT_TRUE(parse_json(nested(kJsonDepthMax), "t").ok());
  EXPECT_NE(error_of(nested(kJsonDepthMax + 1)).find("nested deeper than 100"), std::string::npos);
  EXPECT_NE(error_of(std::string(20'000'000, '[')).find("nested deeper"), std::string::npos);
  std::string objects;
  for (int i = 0; i < 1'000'000; ++i) objects += "{\"a\":";
  EXPECT_NE(error_of(objects).find("nested deeper"), std::string::npos);
}

TEST(Json, ErrorsNameSourceAndPosition) {
  const std::string message = error_of("{\n  \"a\": tru }");
  EXPECT_NE(message.find("body: "), std::string::npos) << message;
  EXPECT_NE(message.find("line 2, column"), std::string::npos) << message;
  for (const char* bad : {"", " ", "{", "[1,]", "{\"a\" 1}", "nan", "1e999", "'a'", "{} {}", "\"\x01\"", "[1e]", "\"\\ud800\""}) {
    EXPECT_NE(error_of(bad), "") << bad;
  }
  EXPECT_NE(error_of(std::string_view("\"\0\"", 3)), "");
  EXPECT_NE(error_of(std::string_view("{}\0trailing", 11)), "");
}

TEST(Json, TextThatIsNotUtf8IsRefusedInPrintableWords) {
  for (const char* bad : {"\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "\"\xe2\x82\""}) {
    EXPECT_NE(error_of(bad), "") << bad;
  }
}

TEST(Json, TheSameNameTwice) {
  EXPECT_EQ(parse_json(R"({"a": 1, "a": 2})", "t").value(), Json::parse(R"({"a": 2})"));
  EXPECT_NE(error_of(R"({"a": 1, "a": 2})", JsonKeys::kUnique).find("\"a\" stands twice"), std::string::npos);
  EXPECT_NE(error_of(R"([{"x": {"b": 1, "\u0062": 2}}])", JsonKeys::kUnique).find("\"b\" stands twice"), std::string::npos);
  EXPECT_TRUE(parse_json(R"({"a": {"a": 1}, "b": {"a": 1}})", "t", JsonKeys::kUnique).ok());
}

TEST(Json, Utf8IsJudgedLikeTheParserDoes) {
  // Every sequence of 2 bytes, and many of 3 and 4, against the parser's own validation.
  Random random(3);
  for (int i = 0; i < 200'000; ++i) {
    std::string text;
    const uint64_t length = 1 + random.next_below(4);
    for (uint64_t k = 0; k < length; ++k) {
      char c = static_cast<char>(random.next_u32());
      if (k > 0 && random.next_below(2) == 0) c = static_cast<char>(0x80 | (c & 0x3f));
      if (static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\') c = 'x';
      text += c;
    }
    EXPECT_EQ(is_utf8(text), Json::accept("\"" + text + "\"")) << i;
  }
  EXPECT_TRUE(is_utf8(""));
}

TEST(Json, FieldsAreTypedAndNamed) {
  const Json object = Json::parse(
      R"({"t": true, "i": -3, "whole": 3.0, "big": 18446744073709551615, "x": 2.5, "s": "hi", "n": null, "huge": 1e300})");
  EXPECT_EQ(json_field<bool>(object, "t").value(), true);
  EXPECT_EQ(json_field<int64_t>(object, "i").value(), -3);
  EXPECT_EQ(json_field<int64_t>(object, "whole").value(), 3);
  EXPECT_EQ(json_field<double>(object, "i").value(), -3.0);
  EXPECT_EQ(json_field<double>(object, "x").value(), 2.5);
  EXPECT_EQ(json_field<std::string>(object, "s").value(), "hi");
  EXPECT_EQ(json_field_or<int64_t>(object, "n", 9).value(), 9);
  EXPECT_EQ(json_field_or<std::string>(object, "absent", "z").value(), "z");
  for (const char* name : {"t", "big", "x", "s", "n", "huge", "absent"}) {
    const auto field = json_field<int64_t>(object, name);
    ASSERT_FALSE(field.ok()) << name;
    EXPECT_EQ(field.status().code(), Code::kInvalidArgument);
    EXPECT_NE(field.status().message().find("\"" + std::string(name) + "\""), std::string::npos);
  }
  EXPECT_FALSE(json_field<bool>(object, "i").ok());
  EXPECT_FALSE(json_field<std::string>(object, "i").ok());
  EXPECT_FALSE(json_field<double>(object, "s").ok());
  EXPECT_FALSE(json_field_or<bool>(object, "s", true).ok());
  EXPECT_FALSE(json_field<bool>(Json::array(), "t").ok());
}

TEST(Json, OrderedKeepsTheOrderOfNames) {
  const std::string text = R"({"z":{"b":1,"a":[{"y":null,"x":true}]},"a":-1,"m":{}})";
  EXPECT_EQ(parse_ordered_json(text, "t").value().dump(), text);
  EXPECT_EQ(Json(parse_ordered_json(text, "t").value()), parse_json(text, "t").value());
}

TEST(Json, OrderedNamesThatStandTwiceKeepTheFirstPlaceAndTheLastValue) {
  const char* text = R"({"b":1,"a":{"x":1,"x":[2],"w":0,"x":{"y":3,"y":4}},"b":2,"c":3,"b":4})";
  EXPECT_EQ(parse_ordered_json(text, "t").value().dump(), R"({"b":4,"a":{"x":{"y":4},"w":0},"c":3})");
  EXPECT_EQ(parse_ordered_json(text, "t").value(), OrderedJson::parse(text));
}

TEST(Json, OrderedRefusesWhatPlainRefuses) {
  const std::string nested = std::string(101, '[') + std::string(101, ']');
  for (const std::string& text : {std::string("{\"a\":1,}"), std::string("[1e999]"), nested, std::string("\xff"),
                                  std::string("1\0", 2), std::string()}) {
    EXPECT_EQ(parse_ordered_json(text, "t").status().message(), parse_json(text, "t").status().message());
    EXPECT_EQ(parse_ordered_json(text, "t").status().code(), Code::kInvalidArgument);
  }
}

TEST(Json, ValuesAndNamesOfATextAreLimited) {
  const JsonLimits limits = {.values_max = 5, .names_max = 2};
  const auto code = [&](const char* text) {
    const auto plain = parse_json(text, "body", JsonKeys::kLastCounts, limits);
    const auto ordered = parse_ordered_json(text, "body", limits);
    EXPECT_EQ(plain.status().code(), ordered.status().code()) << text;
    if (!plain.ok()) EXPECT_EQ(plain.status().message(), ordered.status().message());
    return plain.status().code();
  };
  EXPECT_EQ(code("[1,2,3,4]"), Code::kOk);
  EXPECT_EQ(code("[1,2,3,4,5]"), Code::kTooLong);
  EXPECT_EQ(code("[[],[],[],[],[]]"), Code::kTooLong);
  EXPECT_EQ(code(R"({"a":1,"b":2})"), Code::kOk);
  EXPECT_EQ(code(R"({"a":{"b":{"c":0}}})"), Code::kTooLong);
  EXPECT_EQ(code(R"({"a":1,"a":2,"a":3})"), Code::kTooLong) << "doubled names count";
  EXPECT_THAT(parse_json("[1,2,3,4,5]", "body", JsonKeys::kLastCounts, limits).status().message(),
              ::testing::HasSubstr("body: more than 5 values"));
}

// Names of one object, once each and all twice; names around a large child that is there first.
std::string many_names(size_t count) {
  std::string text = "{";
  for (size_t i = 0; i < count; ++i) text += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":1";
  return text + "}";
}
std::string doubled_names(size_t count) {
  const std::string once = many_names(count / 2);
  return once.substr(0, once.size() - 1) + "," + once.substr(1);
}
std::string child_first(size_t count) {
  std::string text = many_names(count);
  for (int level = 0; level < 90; ++level) text = "{\"child\":" + text + R"(,"a":1,"b":2,"c":3,"d":4,"e":5})";
  return text;
}

TEST(Json, CostGrowsWithTheText) {
  for (const auto& text : {many_names, doubled_names, child_first}) {
    const auto ordered = [](const std::string& input) { EXPECT_TRUE(parse_ordered_json(input, "t").ok()); };
    const auto plain = [](const std::string& input) { EXPECT_TRUE(parse_json(input, "t").ok()); };
    EXPECT_LT(testing::growth_of_doubling(1500, text, ordered), testing::kGrowthMax);
    EXPECT_LT(testing::growth_of_doubling(1500, text, plain), testing::kGrowthMax);
  }
  const auto parsed = [](size_t count) { return parse_ordered_json(many_names(count), "t").value(); };
  EXPECT_LT(testing::growth_of_doubling(1500, parsed, [](const OrderedJson& input) { (void)Json(input); }),
            testing::kGrowthMax);
}

TEST(Json, ReadsFiles) {
  const TestFolder folder;
  ASSERT_TRUE(write_file_atomic(folder / "a.json", "{\"a\": 1}").ok());
  EXPECT_EQ(read_json(folder / "a.json").value()["a"], 1);
  EXPECT_EQ(read_json(folder / "b.json").status().code(), Code::kNotFound);
  EXPECT_EQ(read_json(folder / "a.json", 3).status().code(), Code::kTooLong);
}

// Bytes of this process's address space.
rlim_t address_space() {
  rlim_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE));
}

// A text that needs more memory than there is ends its parsing, not the process: what was built is given back without asking for more.
TEST(Json, OutOfMemoryIsAnExceptionAndNotTheEnd) {
  if (testing::kSanitized) GTEST_SKIP() << "sanitizers need the address space themselves";
  std::string lists = "[";
  for (int i = 0; i < 400'000; ++i) lists += "[{\"a\":[1,2]}],";
  lists += "1]";
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit{address_space() + (rlim_t{24} << 20), RLIM_INFINITY};
    setrlimit(RLIMIT_AS, &limit);
    int caught = 0;
    for (int i = 0; i < 2; ++i) {
      try {
        (void)(i == 0 ? parse_json(lists, "x").ok() : parse_ordered_json(lists, "x").ok());
      } catch (const std::bad_alloc&) {
        ++caught;
      }
    }
    _exit(caught == 2 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << "ended by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace umbel
