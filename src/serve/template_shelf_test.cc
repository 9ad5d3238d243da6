#include "serve/template_shelf.h"

#include <gmock/gmock.h>

#include <fstream>

#include "serve/serve_testing.h"
#include "text/template_worker_testing.h"

namespace umbel::serve {
namespace {

using ::testing::HasSubstr;

class TemplateShelfTest : public ServeTest {
 protected:
  void SetUp() override {
    dir_ = Path(::testing::TempDir()) / ("umbel_template_shelf" + std::to_string(::getpid()));
    TemplateWorkersOptions options;  // with the patience that a slow machine needs
    options.start_max = options.wait_max = options.wait_untrusted_max = from_seconds(60);
    options.render_max = from_seconds(10);
    options.record.quick = from_seconds(5);
    template_workers_ = TemplateWorkers::create(options);
  }
  void TearDown() override {
    ServeTest::TearDown();
    std::filesystem::remove_all(dir_);
  }
  // An adapter with one file of its own.
  void add(const std::string& name, const std::string& file, const std::string& text) {
    std::filesystem::create_directories(dir_ / name);
    std::ofstream(dir_ / name / file) << text;
    library_.add(name, (dir_ / name).string());
  }
  Received chat(const std::string& model) {
    return post("/v1/chat/completions", {{"model", model},
                                         {"messages", {{{"role", "user"}, {"content", "why"}}}},
                                         {"chat_template_kwargs", {{"mood", "calm"}}}});
  }
  // The prompt of the last request, as text.
  std::string prompt() const {
    return seedling_tokenizer()->decode(engine_->requests().back().prompt, false).value();
  }

  Path dir_;
};

TEST_F(TemplateShelfTest, AnAdaptersOwnTemplateWinsWhereverItStands) {
  add("file", "chat_template.jinja", "{{ bos_token }}Q: {{ messages[0]['content'] }} ({{ mood }})\nA:");
  add("text", "tokenizer_config.json",
      Json{{"bos_token", "<pad>"}, {"chat_template", "{{ bos_token }}T {{ messages[0].content }}{{ eos_token }}"}}.dump());
  add("list", "tokenizer_config.json",
      Json{{"chat_template", {{{"name", "default"}, {"template", "L {{ messages[0].content }}"}}}}}.dump());
  add("none", "tokenizer_config.json", R"({"bos_token": "<pad>"})");
  start();
  ASSERT_EQ(chat("file").status, 200);
  EXPECT_EQ(prompt(), "<s>Q: why (calm)\nA:");
  ASSERT_EQ(chat("text").status, 200);
  EXPECT_EQ(prompt(), "<pad>T why</s>") << "its own BOS, the base's EOS";
  ASSERT_EQ(chat("list").status, 200);
  EXPECT_EQ(prompt(), "L why");
  ASSERT_EQ(chat("none").status, 200);
  EXPECT_EQ(prompt(), "<s><|user|>why<|assistant|>") << "the base's";
}

TEST_F(TemplateShelfTest, WhereAdaptersTemplatesAreOffTheBasesIsUsed) {
  template_workers_ = nullptr;
  add("own", "chat_template.jinja", "own");
  start();
  ASSERT_EQ(chat("own").status, 200);
  EXPECT_EQ(prompt(), "<s><|user|>why<|assistant|>");
}

TEST_F(TemplateShelfTest, AHostileTemplateIsAnErrorOfItsAdapterOnly) {
  std::string nested = "{{ ";
  for (int i = 0; i < 20000; ++i) nested += "not ";
  add("deep", "chat_template.jinja", nested + "1 }}");
  add("cycle", "chat_template.jinja", "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}");
  add("broken", "chat_template.jinja", "{% if %}");
  add("innocent", "chat_template.jinja", "ok {{ messages[0].content }}");
  start();
  for (const char* name : {"deep", "cycle", "broken", "deep"}) {
    const Received reply = chat(name);
    EXPECT_EQ(reply.status, 422) << reply.body;
    EXPECT_THAT(reply.json()["error"]["message"].get<std::string>(),
                HasSubstr("adapter \"" + std::string(name) + "\"'s chat template"));
    ASSERT_EQ(chat("innocent").status, 200);
    EXPECT_EQ(prompt(), "ok why");
    ASSERT_EQ(chat("seedling").status, 200);
  }
}

}  // namespace
}  // namespace umbel::serve
