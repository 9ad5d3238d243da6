#include "text/template_workers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <string>
#include <thread>
#include <vector>

#include "base/process_memory.h"
#include "text/template_worker_testing.h"

namespace umbel {
namespace {

using ::testing::HasSubstr;

TemplateSources sources_of(const std::string& source) {
  return {.by_name = {{"default", source}}, .special_tokens = {{"bos_token", "<s>"}}};
}

ChatInput hello() {
  ChatInput input;
  input.messages = {{{"role", "user"}, {"content", "hi"}}};
  return input;
}

// Limits of time that a slow, busy machine keeps for templates that do nothing wrong.
TemplateWorkersOptions patient() {
  TemplateWorkersOptions options;
  options.start_max = from_seconds(60);
  options.render_max = from_seconds(20);
  options.wait_max = options.wait_untrusted_max = from_seconds(60);
  options.record.quick = from_seconds(5);
  return options;
}

// The same, but bad ones end soon.
TemplateWorkersOptions strict() {
  TemplateWorkersOptions options = patient();
  options.render_max = from_seconds(2);
  options.worker.memory_bytes = size_t{64} << 20;
  return options;
}

TEST(TemplateWorkers, RenderAsThisProcessDoes) {
  const auto workers = TemplateWorkers::create(patient());
  for (const char* source :
       {"{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content | tojson }}{% endfor %}{{ extra_word }}",
        "{% for m in messages %}a{% generation %}{{ m.content }}\u00e9{% endgeneration %}b{% endfor %}",
        "{{ raise_exception('no \u00e9') }}", "{{ messages[0].nothing.at_all }}"}) {
    ChatInput input = hello();
    input.extra = {{"extra_word", "w"}};
    const auto here = ChatTemplate::make(sources_of(source)).value();
    const auto there = workers->make("x's", sources_of(source));
    const auto expected = here->render(input);
    const auto got = there->render(input);
    ASSERT_EQ(got.ok(), expected.ok()) << source;
    EXPECT_EQ(there->digest(), here->digest());
    if (!got.ok()) {
      EXPECT_EQ(got.status().code(), Code::kInvalidArgument);
      EXPECT_EQ(got.status().message(), expected.status().message());
      continue;
    }
    EXPECT_EQ(got->text, expected->text);
    ASSERT_EQ(got->generation.size(), expected->generation.size());
    for (size_t i = 0; i < got->generation.size(); ++i) {
      EXPECT_EQ(got->generation[i].begin, expected->generation[i].begin);
      EXPECT_EQ(got->generation[i].end, expected->generation[i].end);
    }
  }
}

TEST(TemplateWorkers, ToolsHaveTheirOwnTemplate) {
  const auto workers = TemplateWorkers::create(patient());
  const auto chat = workers->make("x's", {.by_name = {{"default", "plain"}, {"tool_use", "tools"}}});
  ChatInput input = hello();
  EXPECT_EQ(chat->render(input).value().text, "plain");
  input.tools = OrderedJson::array();
  EXPECT_EQ(chat->render(input).value().text, "tools");
}

TEST(TemplateWorkers, WhatIsNoTemplateIsSaidOfTheFile) {
  const auto chat = TemplateWorkers::create(patient())->make("adapter \"a\"'s", sources_of("one\n{% if %}"));
  const auto text = chat->render(hello());
  ASSERT_FALSE(text.ok());
  EXPECT_EQ(text.status().code(), Code::kDataLoss);
  EXPECT_THAT(text.status().message(), HasSubstr("adapter \"a\"'s chat template"));
  EXPECT_THAT(text.status().message(), HasSubstr("line 2"));
}

std::string repeated(const std::string& text, size_t count) {
  std::string result;
  for (size_t i = 0; i < count; ++i) result += text;
  return result;
}

// One of each way to hurt a process: memory, time, stack, in rendering, in compiling and in dropping.
std::vector<std::string> hostile_templates() {
  const std::string grow = "{% set ns = namespace(x=[0,0], y=[0,0]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}"
                           "{% set ns.y = [ns.y, ns.y] %}{% endfor %}";
  const std::string deep = "{% set ns = namespace(x=[]) %}{% for i in range(90000) %}{% set ns.x = [ns.x] %}{% endfor %}";
  return {"{% set s = 'a' * 10000000 %}{{ s.join('b' * 1000000) }}",
          "{% set ns = namespace(x='a' * 1000) %}{% for a in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
          grow + "{{ ns.x == ns.y }}",
          grow + "{{ ns.x | tojson | length }}",
          deep + "{{ ns.x | string }}",
          deep + "done",
          "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}",
          "{{ " + repeated("not ", 20000) + "1 }}",
          "{{ 1" + repeated("+1", 60000) + " }}",
          "{{ 'a' * 200000000 }}"};
}

TEST(TemplateWorkers, HostileTemplatesAreErrorsAndNobodyElseNotices) {
  const auto workers = TemplateWorkers::create(strict());
  const auto innocent = workers->make("innocent's", sources_of("{{ messages[0].content }}"));
  ASSERT_TRUE(innocent->render(hello()).ok());
  const size_t before = peak_resident_bytes();
  for (const std::string& source : hostile_templates()) {
    const auto chat = workers->make("hostile's", sources_of(source));
    const auto text = chat->render(hello());
    if (!text.ok()) {
      EXPECT_THAT(text.status().message(), HasSubstr("template")) << source.substr(0, 100);
    }
    EXPECT_EQ(innocent->render(hello()).value().text, "hi") << source.substr(0, 100);
  }
  EXPECT_LT(peak_resident_bytes(), before + (size_t{64} << 20)) << "what they eat is not ours";
}

TEST(TemplateWorkers, ATemplateThatDiedIsRefusedForAWhileAtNoCost) {
  const auto workers = TemplateWorkers::create(strict());
  const auto chat = workers->make("x's", sources_of("{{ " + repeated("not ", 20000) + "1 }}"));
  const auto first = chat->render(hello());
  ASSERT_FALSE(first.ok());
  EXPECT_EQ(first.status().code(), Code::kDataLoss);
  const auto again = chat->render(hello());
  ASSERT_FALSE(again.ok());
  EXPECT_THAT(again.status().message(), HasSubstr("not tried again"));
  EXPECT_THAT(again.status().message(), HasSubstr(first.status().message()));
}

TEST(TemplateWorkers, WordsAndTextsAreBounded) {
  TemplateWorkersOptions options = patient();
  options.worker.output_bytes_max = 1000;
  const auto workers = TemplateWorkers::create(options);
  const auto words = workers->make("x's", sources_of("{{ raise_exception('\u00e9' * 100000) }}"))->render(hello());
  ASSERT_FALSE(words.ok());
  EXPECT_LE(words.status().message().size(), 2100u);
  const auto text = workers->make("x's", sources_of("{{ 'a' * 1001 }}"))->render(hello());
  EXPECT_EQ(text.status().code(), Code::kTooLong);
  EXPECT_EQ(workers->make("x's", sources_of("{{ 'a' * 1000 }}"))->render(hello()).value().text.size(), 1000u);
}

TEST(TemplateWorkers, AWorkerThatGrewGivesWayToAFreshOne) {
  const auto workers = TemplateWorkers::create(patient());
  const auto large = workers->make("x's", sources_of("{{ ('a' * 9000000) | length }}{{ messages[0].content | length }}"));
  ChatInput input = hello();
  input.messages[0]["content"] = std::string(8'000'000, 'm');
  for (int i = 0; i < 4; ++i) EXPECT_EQ(large->render(input).value().text, "90000008000000");
}

TEST(TemplateWorkers, ManyThreadsManyTemplates) {
  const auto workers = TemplateWorkers::create(patient());
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&, i] {
      const std::string word = "word" + std::to_string(i);
      const auto chat = workers->make(word, sources_of(word + "{{ messages[0].content }}"));
      for (int round = 0; round < 10; ++round) EXPECT_EQ(chat->render(hello()).value().text, word + "hi");
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(TemplateWorkers, AProgramThatIsNoWorkerIsAnError) {
  TemplateWorkersOptions options = patient();
  options.command = {.program = "/bin/true"};
  const auto text = TemplateWorkers::create(options)->make("x's", sources_of("x"))->render(hello());
  ASSERT_FALSE(text.ok());
  EXPECT_EQ(text.status().code(), Code::kUnavailable);
}

// Any bytes as a message: refused, or what they say.
TEST(TemplateWorkerMessages, AreReadBackAndNothingElseIs) {
  const RenderAnswer answer{.text = {.text = "some text", .generation = {{0, 4}, {5, 9}}}, .cost = from_seconds(1)};
  const std::string message = encode(answer);
  const auto read = decode_answer(message);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->text.text, "some text");
  ASSERT_EQ(read->text.generation.size(), 2u);
  EXPECT_EQ(read->text.generation[1].end, 9u);
  for (size_t size = 0; size < message.size(); ++size) {
    EXPECT_FALSE(decode_answer(message.substr(0, size)).ok());
    std::string broken = message;
    broken[size] = static_cast<char>(broken[size] ^ 0xff);
    (void)decode_answer(broken).ok();
    EXPECT_FALSE(decode_order(message.substr(0, size)).ok());
  }
  EXPECT_FALSE(decode_answer(message + "x").ok());
}

}  // namespace
}  // namespace umbel
