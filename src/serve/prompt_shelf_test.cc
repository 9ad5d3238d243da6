// Adapters' own prompt templates on the completions routes, and chats to adapters that know none.
#include <fstream>

#include "io/test_folder.h"
#include "serve/serve_testing.h"

namespace umbel::serve {
namespace {

class PromptShelfTest : public ServeTest {
 protected:
  // An adapter whose folder holds this file.
  void add(const std::string& name, const std::string& prompt_file) {
    std::filesystem::create_directory(folder_ / name);
    std::ofstream(folder_ / name / "umbel_prompt.json") << prompt_file;
    library_.add(name, (folder_ / name).string());
  }
  Received ask(const std::string& model, Json more) {
    more["model"] = model;
    more["max_tokens"] = 2;
    return post("/v1/completions", more);
  }
  std::vector<TokenId> asked() { return engine_->requests().back().prompt; }
  std::vector<TokenId> ids(const std::string& text) { return seedling_tokenizer()->encode(text, true).value(); }

  TestFolder folder_;
};

constexpr const char* kIntents =
    R"({"version": 1, "format": "template", "prompt": "Q: {text}\nA:", "completion": " {intent}", "fields": ["text"]})";
constexpr const char* kTwo = R"({"version": 1, "format": "template", "prompt": "{a} and {b}:", "completion": " {c}", "fields": ["a", "b"]})";

TEST_F(PromptShelfTest, FieldsFillTheAdaptersTemplate) {
  add("intents", kIntents);
  start();
  ASSERT_EQ(ask("intents", {{"prompt_fields", {{"text", "I lost {my} card"}}}}).status, 200);
  EXPECT_EQ(asked(), ids("Q: I lost {my} card\nA:"));
  const Received two = ask("intents", {{"prompt_fields", {{{"text", "one"}}, {{"text", "two"}}}}});
  ASSERT_EQ(two.status, 200) << two.body;
  EXPECT_EQ(two.json()["choices"].size(), 2u);
  ASSERT_EQ(ask("intents", {{"prompt", "I lost {my} card"}, {"template", true}}).status, 200);
  EXPECT_EQ(asked(), ids("Q: I lost {my} card\nA:"));
  ASSERT_EQ(ask("intents", {{"prompt", "I lost {my} card"}}).status, 200);  // a prompt alone is taken as it is
  EXPECT_EQ(asked(), ids("I lost {my} card"));
}

TEST_F(PromptShelfTest, WhatCantBeFilledIsRefusedByName) {
  add("intents", kIntents);
  add("two", kTwo);
  add("later", R"({"version": 2})");
  start();
  const auto refused = [&](const std::string& model, const Json& more) {
    const Received reply = ask(model, more);
    EXPECT_GE(reply.status, 400) << reply.body;
    return reply.json()["error"]["message"].get<std::string>();
  };
  const Json text = {{"text", "x"}};
  EXPECT_NE(refused("intents", {{"prompt_fields", {{"txt", "x"}}}}).find("field \"text\" is missing (the row has: txt)"), std::string::npos);
  EXPECT_NE(refused("two", {{"prompt", "x"}, {"template", true}}).find("made of `a`, `b`: give them as `prompt_fields`"), std::string::npos);
  EXPECT_NE(refused("poet", {{"prompt_fields", text}}).find("`poet` has none"), std::string::npos);
  EXPECT_NE(refused("seedling", {{"prompt_fields", text}}).find("the base has no template"), std::string::npos);
  EXPECT_NE(refused("intents", {{"prompt_fields", text}, {"prompt", "x"}}).find("together with"), std::string::npos);
  EXPECT_NE(refused("intents", {{"prompt_fields", {1, 2}}}).find("must be an object"), std::string::npos);
  EXPECT_NE(refused("intents", {{"prompt", {1, 2}}, {"template", true}}).find("not token ids"), std::string::npos);
  const Received later = ask("later", {{"prompt_fields", text}});
  EXPECT_EQ(later.status, 422) << later.body;
  EXPECT_EQ(later.body.find(folder_.path().string()), std::string::npos) << later.body;
  EXPECT_EQ(ask("later", {{"prompt", "x"}}).status, 200);  // nobody asked for its template
}

// A stranger's template may name one field a hundred thousand times.
TEST_F(PromptShelfTest, ATemplateThatGrowsIsRefusedBeforeItIsFilled) {
  const auto bomb = [](int count) {
    std::string places;
    for (int i = 0; i < count; ++i) places += "{t}";
    return Json({{"version", 1}, {"format", "template"}, {"prompt", places}, {"completion", "{c}"}}).dump();
  };
  add("bomb", bomb(1000));
  add("bombs", bomb(100'000));
  start();
  const Received more = ask("bombs", {{"prompt_fields", {{"t", "x"}}}});
  EXPECT_EQ(more.status, 422) << more.body;
  const Received reply = ask("bomb", {{"prompt_fields", {{"t", std::string(1'000'000, 'x')}}}});
  EXPECT_EQ(reply.status, 400) << reply.body;
  EXPECT_EQ(reply.json()["error"]["code"], "context_length_exceeded");
}

TEST_F(PromptShelfTest, AChatToAnAdapterOfPlainPromptsSaysSo) {
  add("intents", kIntents);
  add("pairs", R"({"version": 1, "format": "prompt-completion", "prompts": "text", "fields": ["prompt"]})");
  add("talks", R"({"version": 1, "format": "messages", "fields": ["messages"]})");
  add("older", R"({"version": 1, "format": "prompt-completion", "fields": ["prompt"]})");
  start();
  Json chat = {{"messages", {{{"role", "user"}, {"content", "hello"}}}}, {"max_tokens", 2}};
  for (const char* name : {"intents", "pairs"}) {
    chat["model"] = name;
    const Received reply = post("/v1/chat/completions", chat);
    EXPECT_EQ(reply.status, 400);
    EXPECT_NE(reply.body.find("was trained on plain prompts, not on chats: use /v1/completions"), std::string::npos) << reply.body;
    Json insisting = chat;
    insisting["template"] = false;
    EXPECT_EQ(post("/v1/chat/completions", insisting).status, 200);
    const Json lorax = {{"inputs", "hello"}, {"parameters", {{"adapter_id", name}, {"max_new_tokens", 2}, {"apply_chat_template", true}}}};
    EXPECT_EQ(post("/generate", lorax).status, 422);
  }
  for (const char* name : {"talks", "older", "poet", "seedling"}) {
    chat["model"] = name;
    EXPECT_EQ(post("/v1/chat/completions", chat).status, 200) << name;
  }
}

TEST_F(PromptShelfTest, AnAdapterOfChatsTakesMessagesAsFields) {
  add("talks", R"({"version": 1, "format": "messages", "fields": ["messages"]})");
  start();
  const Json messages = {{{"role", "user"}, {"content", "hello"}}};
  ASSERT_EQ(ask("talks", {{"prompt_fields", {{"messages", messages}}}}).status, 200);
  const std::vector<TokenId> by_fields = asked();
  ASSERT_EQ(post("/v1/chat/completions", {{"model", "talks"}, {"messages", messages}, {"max_tokens", 2}}).status, 200);
  EXPECT_EQ(asked(), by_fields);
}

}  // namespace
}  // namespace umbel::serve
