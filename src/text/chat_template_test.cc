#include "text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>

#include "base/growth_testing.h"
#include "text/text_testing.h"

namespace umbel {
namespace {

using testing::Folder;
using ::testing::HasSubstr;
using testing::text_of;

std::string fnv1a(std::string_view text) {
  uint64_t value = 0xCBF29CE484222325ULL;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  char digits[17];
  std::snprintf(digits, sizeof(digits), "%016llx", static_cast<unsigned long long>(value));
  return digits;
}

std::shared_ptr<const ChatTemplate> make(const std::string& source) {
  auto made = ChatTemplate::from_source(source, {{"bos_token", "<s>"}, {"eos_token", "</s>"}});
  EXPECT_TRUE(made.ok()) << made.status().message();
  return made.value();
}

ChatInput input_of(const OrderedJson& row, const OrderedJson& goldens) {
  ChatInput input;
  input.messages = row["messages"];
  input.tools = row["tools"];
  input.documents = row["documents"];
  input.add_generation_prompt = row["add_generation_prompt"].get<bool>();
  input.extra = row["extra"];
  input.now = goldens["now"].get<int64_t>();
  return input;
}

// The goldens were recorded in UTC; strftime_now speaks local time.
class ChatTemplateGoldens : public ::testing::Test {
 protected:
  void SetUp() override {
    ::setenv("TZ", "UTC", 1);
    ::tzset();
  }
  const OrderedJson cases_ = testing::golden("chat_cases.json");
};

TEST_F(ChatTemplateGoldens, EveryFamilyEqualsTransformersOrBothRefuse) {
  const Path data = testing::data_dir();
  if (data.empty()) GTEST_SKIP() << testing::kNoData;
  const OrderedJson goldens = testing::golden("chat_families.json");
  const Json tokens = goldens["special_tokens"];
  size_t rendered = 0;
  size_t refused = 0;
  for (const auto& [name, family] : goldens["templates"].items()) {
    SCOPED_TRACE(name);
    const std::string source = read_file(data / "templates" / name).value();
    ASSERT_EQ(fnv1a(source), text_of(family["source_fnv1a"])) << "another version of the template: record again";
    const auto chat = ChatTemplate::from_source(source, tokens);
    ASSERT_TRUE(chat.ok()) << chat.status().message();
    for (const OrderedJson& row : cases_["cases"]) {
      SCOPED_TRACE(text_of(row["name"]));
      const OrderedJson& expected = family["results"][text_of(row["name"])];
      const auto result = (*chat)->render(input_of(row, goldens));
      if (expected.is_string()) {
        EXPECT_FALSE(result.ok()) << "transformers refuses: " << expected;
        ++refused;
        continue;
      }
      ASSERT_TRUE(result.ok()) << result.status().message();
      EXPECT_THAT(result->text, ::testing::StartsWith(text_of(expected[2])));
      EXPECT_EQ(result->text.size(), expected[0].get<size_t>()) << result->text;
      EXPECT_EQ(fnv1a(result->text), text_of(expected[1])) << result->text;
      ++rendered;
    }
  }
  EXPECT_GE(goldens["templates"].size(), 46u);
  EXPECT_GT(rendered, 1400u);
  EXPECT_GT(refused, 50u);
}

TEST_F(ChatTemplateGoldens, OwnTemplatesEqualTransformersToTheLastByte) {
  const OrderedJson goldens = testing::golden("chat_own.json");
  const Json tokens = goldens["special_tokens"];
  ASSERT_GE(goldens["templates"].size(), 6u);
  size_t spans = 0;
  for (const auto& [name, results] : goldens["templates"].items()) {
    SCOPED_TRACE(name);
    const auto chat = ChatTemplate::from_source(read_file(testing::goldens_dir() / "templates" / name).value(), tokens);
    ASSERT_TRUE(chat.ok()) << chat.status().message();
    for (const OrderedJson& row : cases_["cases"]) {
      SCOPED_TRACE(text_of(row["name"]));
      const OrderedJson& expected = results[text_of(row["name"])];
      const auto result = (*chat)->render(input_of(row, goldens));
      if (expected.contains("error")) {
        ASSERT_FALSE(result.ok()) << result->text;
        EXPECT_EQ(result.status().code(), Code::kInvalidArgument);
        const std::string words = text_of(expected["error"]);
        EXPECT_THAT(result.status().message(), words.empty() ? HasSubstr("") : HasSubstr(words));
        continue;
      }
      ASSERT_TRUE(result.ok()) << result.status().message();
      EXPECT_EQ(result->text, text_of(expected["text"]));
      OrderedJson generation = OrderedJson::array();
      for (const ChatText::Span& span : result->generation) generation.push_back({span.begin, span.end});
      EXPECT_EQ(generation, expected.value("generation", OrderedJson::array()));
      spans += generation.size();
    }
  }
  EXPECT_GT(spans, 10u);
}

std::string render(const std::string& source, OrderedJson messages = {{{"role", "user"}, {"content", "hi"}}}) {
  ChatInput input;
  input.messages = std::move(messages);
  const auto text = make(source)->render(input);
  return text.ok() ? text->text : "error: " + text.status().message();
}

TEST(ChatTemplate, SeedlingsTemplate) {
  const auto chat = ChatTemplate::load(testing::source_dir() / "assets/seedling").value();
  ChatInput input;
  input.messages = {{{"role", "system"}, {"content", "Be brief."}}, {{"role", "user"}, {"content", " Hi \n"}}};
  EXPECT_EQ(chat->render(input)->text, "<s><|system|>Be brief.<|user|>Hi<|assistant|>");
  input.add_generation_prompt = false;
  EXPECT_EQ(chat->render(input)->text, "<s><|system|>Be brief.<|user|>Hi");
  input.messages.push_back({{"role", "narrator"}, {"content", "x"}});
  EXPECT_EQ(chat->render(input).status().message(), "unknown role: narrator");
}

TEST(ChatTemplate, GenerationSpansAreByteRanges) {
  const std::string source =
      "{% for m in messages %}{% if m.role == 'assistant' %}A:{% generation %}{{ m.content }};{% endgeneration %}"
      "{% else %}U:{{ m.content }};{% endif %}{% endfor %}{# {% generation %} #}{{ '{% generation %}' }}";
  ChatInput input;
  input.messages = {{{"role", "user"}, {"content", "ü"}},
                    {{"role", "assistant"}, {"content", "東京"}},
                    {{"role", "assistant"}, {"content", ""}}};
  const ChatText text = make(source)->render(input).value();
  EXPECT_EQ(text.text, "U:ü;A:東京;A:;{% generation %}");
  ASSERT_EQ(text.generation.size(), 2u);
  const auto part = [&](size_t i) {
    return text.text.substr(text.generation[i].begin, text.generation[i].end - text.generation[i].begin);
  };
  EXPECT_EQ(part(0), "東京;");
  EXPECT_EQ(part(1), ";");
}

// Every marker that the first design could have chosen, whole, halved and in pieces that the template joins.
TEST(ChatTemplate, TextThatLooksLikeOurMarkersIsLeftAlone) {
  const std::string source =
      "{% generation %}{{ messages[0].content }}{{ messages[1].content }}{% endgeneration %}tail";
  for (const std::string& text : {std::string("\uFDD0" "0" "\uFDD1"), std::string("\uFDD0" "0" "\uFDD2"),
                                  std::string("\uFDD0"), std::string("\uFDD1\uFDD2"), std::string("\uFDD2\uFDD0")}) {
    for (size_t cut = 0; cut <= text.size(); cut += 3) {
      ChatInput input;
      input.messages = {{{"role", "user"}, {"content", text.substr(0, cut)}},
                        {{"role", "user"}, {"content", text.substr(cut)}}};
      if (!is_utf8(text.substr(0, cut))) continue;
      const ChatText rendered = make(source)->render(input).value();
      EXPECT_EQ(rendered.text, text + "tail");
      ASSERT_EQ(rendered.generation.size(), 1u);
      EXPECT_EQ(rendered.generation[0].begin, 0u);
      EXPECT_EQ(rendered.generation[0].end, text.size());
    }
  }
}

TEST(ChatTemplate, WhatAnEarlierRenderingShowedIsNoMarkerInTheNext) {
  // A template that looks at what its own block produced sees the markers; the next rendering has others.
  const auto chat = make("{% set seen %}{% generation %}x{% endgeneration %}{% endset %}{{ seen | tojson(ensure_ascii=true) }}"
                         "{% generation %}{{ messages[0].content }}{% endgeneration %}");
  ChatInput input;
  input.messages = {{{"role", "user"}, {"content", "y"}}};
  const std::string first = chat->render(input).value().text;
  const std::string second = chat->render(input).value().text;
  EXPECT_EQ(first.size(), second.size());
  EXPECT_NE(first, second);
}

TEST(ChatTemplate, CostGrowsWithTheMessages) {
  const auto with_markers = [](size_t count) {
    std::string text;
    for (size_t i = 0; i < count; ++i) text += "\uFDD0" + std::to_string(i) + "\uFDD1";
    ChatInput input;
    input.messages = {{{"role", "user"}, {"content", text}}};
    return input;
  };
  const auto with_names = [](size_t count) {
    std::string text = "{\"role\": \"user\", \"content\": \"x\"";
    for (size_t i = 0; i < count; ++i) text += ", \"n" + std::to_string(i) + "\": 1";
    ChatInput input;
    input.messages = OrderedJson::array({parse_ordered_json(text + "}", "message").value()});
    return input;
  };
  const auto plain = make("{{ messages[0].content }}");
  const auto generating = make("{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}");
  for (const auto& chat : {plain, generating}) {
    const auto render = [&](const ChatInput& input) { EXPECT_TRUE(chat->render(input).ok()); };
    EXPECT_LT(testing::growth_of_doubling(4000, with_markers, render), testing::kGrowthMax);
    EXPECT_LT(testing::growth_of_doubling(2000, with_names, render), testing::kGrowthMax);
  }
}

TEST(ChatTemplate, KeysKeepTheirOrder) {
  const OrderedJson messages =
      parse_ordered_json(R"([{"role": "user", "content": {"zeta": 1, "alpha": {"y": [], "x": 1.0}}}])", "test").value();
  EXPECT_EQ(render("{{ messages[0].content | tojson }}", messages), R"({"zeta": 1, "alpha": {"y": [], "x": 1.0}})");
  EXPECT_EQ(render("{{ messages[0].content | tojson(indent=1, sort_keys=true) }}", messages),
            "{\n \"alpha\": {\n  \"x\": 1.0,\n  \"y\": []\n },\n \"zeta\": 1\n}");
}

TEST(ChatTemplate, JsonAsPythonWritesIt) {
  const OrderedJson content =
      parse_ordered_json(
          R"(["é\"\\/\n\u0001\u007f<&'>", 1e16, 1.5e-7, 123456789012345680.0, 0.1, -0.0, 12345678901234567890, true, null])",
          "test")
          .value();
  const OrderedJson messages = {{{"role", "user"}, {"content", content}}};
  EXPECT_EQ(render("{{ messages[0].content | tojson }}", messages),
            "[\"é\\\"\\\\/\\n\\u0001\x7f<&'>\", 1e+16, 1.5e-07, 1.2345678901234568e+17, 0.1, -0.0, "
            "12345678901234567890, true, null]");
  EXPECT_EQ(render("{{ 'é😀' | tojson(ensure_ascii=true) }}"), "\"\\u00e9\\ud83d\\ude00\"");
  EXPECT_EQ(render("{{ {'a': 1, 'b': 2} | tojson(separators=(',', ':')) }}"), "{\"a\":1,\"b\":2}");
}

TEST(ChatTemplate, NoneCannotBeLoopedOver) {
  EXPECT_THAT(render("{% for tool in tools %}x{% endfor %}"), HasSubstr("error: "));
  EXPECT_EQ(render("{% for tool in nothing %}x{% endfor %}y"), "y");
  EXPECT_EQ(render("{{ tools is iterable }} {{ nothing is iterable }} {{ 'x' is sequence }}"), "False True True");
}

TEST(ChatTemplate, LoopsWithConditionsAndRecursion) {
  EXPECT_EQ(render("{% for x in [1, 2, 3, 4] if x % 2 == 0 %}{{ loop.index }}{{ x }} {% endfor %}"), "12 24 ");
  EXPECT_EQ(render("{% for a, b in {'k': 'v', 'in': ' if '}.items() %}{{ a }}={{ b }};{% endfor %}"), "k=v;in= if ;");
  EXPECT_EQ(render("{% for x in [1, [2, [3]]] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}"
                   "{% endif %}{% endfor %}"),
            "1(2(3))");
  EXPECT_EQ(render("{%- for x in (range(9) | list)[2:5] -%} {{ x }} {%- break -%} {%- endfor -%}"), "2");
}

TEST(ChatTemplate, PythonStringMethods) {
  EXPECT_EQ(render("{{ ' a  b c '.split() }}{{ 'a,b,c'.split(',', 1) }}{{ 'a,b,c'.rsplit(',', maxsplit=1) }}"),
            "['a', 'b', 'c']['a', 'b,c']['a,b', 'c']");
  EXPECT_EQ(render("{{ 'xxabxx'.strip('x') }}{{ 'abab'.removeprefix('ab') }}{{ 'abab'.removesuffix('ab') }}"),
            "ababab");
  EXPECT_EQ(render("{{ 'a-b-c'.partition('-') }}{{ 'a-b-c'.rpartition('-')[2] }}"), "('a', '-', 'b-c')c");
  EXPECT_EQ(render("{{ 'ab\ncd\r\n'.splitlines() }}{{ '7'.zfill(3) }}{{ 'x'.center(4, '*') }}"), "['ab', 'cd']007*x**");
  EXPECT_EQ(render("{{ 'hELLO wORLD'.title() }} {{ 'abc'.upper() }} {{ 'a b'.replace(' ', '_') }}"),
            "Hello World ABC a_b");
  EXPECT_EQ(render("{{ '-'.join(['a', 'b']) }} {{ '{} {x}'.format(1, x=2) }} {{ 'aXa'.find('X') }}"), "a-b 1 2 1");
}

TEST(ChatTemplate, WhatPythonRefuses) {
  EXPECT_THAT(render("{{ [].append(1) }}"), HasSubstr("append"));
  EXPECT_THAT(render("{{ 'x'.no_such_method() }}"), HasSubstr("no_such_method"));
  EXPECT_THAT(render("{{ nothing.field }}"), HasSubstr("error: "));
  EXPECT_THAT(render("{{ '-'.join([1]) }}"), HasSubstr("not a string"));
  EXPECT_THAT(render("{{ [1] | map('string') | tojson }}"), HasSubstr("not JSON serializable"));
}

TEST(ChatTemplate, MessagesAreCheckedAndPrepared) {
  EXPECT_THAT(render("x", OrderedJson::array()), HasSubstr("messages is empty"));
  EXPECT_THAT(render("x", OrderedJson("hi")), HasSubstr("messages must be an array"));
  EXPECT_THAT(render("x", OrderedJson::array({1})), HasSubstr("must be an object"));
  const OrderedJson messages = {{{"role", "assistant"}, {"content", nullptr}, {"reasoning", "why"}}};
  EXPECT_EQ(render("{{ messages[0] | tojson }}", messages),
            R"({"thinking": "why", "role": "assistant", "reasoning": "why", "reasoning_content": "why"})");
}

TEST(ChatTemplate, BrokenTemplatesNameTheLine) {
  const auto made = ChatTemplate::from_source("line one\n{% if %}", Json::object());
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.status().code(), Code::kInvalidArgument);
  EXPECT_THAT(made.status().message(), HasSubstr("line 2"));
  EXPECT_FALSE(ChatTemplate::from_source("{% generation %}never ends", Json::object()).ok());
}

TEST(ChatTemplate, EndlessTemplatesEnd) {
  EXPECT_THAT(render("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), HasSubstr("error: "));
  EXPECT_THAT(render("{% for a in range(99999) %}{% for b in range(99999) %}{{ b }}{% endfor %}{% endfor %}"),
              HasSubstr("error: "));
}

TEST(ChatTemplate, StrftimeNow) {
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  ChatInput input;
  input.messages = {{{"role", "user"}, {"content", "hi"}}};
  input.now = 1721995200;
  EXPECT_EQ(make("{{ strftime_now('%d %b %Y|%-d %B|%H:%M:%S%z%Z') }}")->render(input)->text,
            "26 Jul 2024|26 July|12:00:00");
  input.now.reset();
  const std::time_t now = std::time(nullptr);
  char year[8];
  std::strftime(year, sizeof(year), "%Y", std::localtime(&now));
  EXPECT_EQ(make("{{ strftime_now('%Y') }}")->render(input)->text, year);
}

TEST(ChatTemplate, WhereTemplatesAreFound) {
  const Folder folder("chat");
  EXPECT_EQ(ChatTemplate::load(folder.path()).status().code(), Code::kNotFound);
  folder.write("tokenizer_config.json",
               R"({"bos_token": {"content": "<b>"}, "eos_token": "<e>", "chat_template": "c{{ bos_token }}"})");
  ChatInput input;
  input.messages = {{{"role", "user"}, {"content", "hi"}}};
  EXPECT_EQ(ChatTemplate::load(folder.path()).value()->render(input)->text, "c<b>");
  folder.write("tokenizer_config.json", R"({"eos_token": "<e>", "chat_template":
      [{"name": "default", "template": "d{{ eos_token }}"}, {"name": "tool_use", "template": "t"}]})");
  EXPECT_EQ(ChatTemplate::load(folder.path()).value()->render(input)->text, "d<e>");
  EXPECT_EQ(ChatTemplate::load(folder.path()).value()->source(), "d{{ eos_token }}");
  input.tools = OrderedJson::array();
  EXPECT_EQ(ChatTemplate::load(folder.path()).value()->render(input)->text, "t");
  folder.write("chat_template.jinja", "file{{ eos_token }}");
  EXPECT_EQ(ChatTemplate::load(folder.path()).value()->render(input)->text, "file<e>");
  folder.write("tokenizer_config.json", R"({"chat_template": [{"name": 1}]})");
  EXPECT_EQ(ChatTemplate::load(folder.path()).status().code(), Code::kInvalidArgument);
}

TEST(ChatTemplate, ExtraVariables) {
  ChatInput input;
  input.messages = {{{"role", "user"}, {"content", "hi"}}};
  input.extra = {{"enable_thinking", false}, {"bos_token", "<other>"}};
  EXPECT_EQ(make("{{ bos_token }}{{ enable_thinking }}{{ eos_token }}")->render(input)->text, "<other>False</s>");
}

}  // namespace
}  // namespace umbel
