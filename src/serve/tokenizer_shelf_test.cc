#include "serve/tokenizer_shelf.h"

#include <gmock/gmock.h>

#include <fstream>

#include "serve/serve_testing.h"

namespace umbel::serve {
namespace {

using ::testing::HasSubstr;

// Adapters whose folders bring tokenizers of their own.
class TokenizerShelfTest : public ServeTest {
 protected:
  void TearDown() override {
    ServeTest::TearDown();
    std::filesystem::remove_all(dir_);
  }
  void add(const std::string& name, const std::string& file, const std::string& text) {
    std::filesystem::create_directories(dir_ / name);
    std::ofstream(dir_ / name / file) << text;
    library_.add(name, (dir_ / name).string());
  }
  AdapterInfo info(const std::string& name) { return library_.info(library_.resolve(name).value()); }

  const TokenId next_ = static_cast<TokenId>(seedling_tokenizer()->vocab_size());
  const Path dir_ = Path(::testing::TempDir()) / ("umbel_tokenizer_shelf" + std::to_string(::getpid()));
};

TEST_F(TokenizerShelfTest, AnAdaptersAddedTokensAreReadAndWrittenOnEveryRoute) {
  add("caller", "added_tokens.json", Json{{"<CALL>", next_}}.dump());
  add("plain", "tokenizer_config.json", "{}");
  start();
  const auto tokens = [this](const std::string& model, const std::string& text) {
    return post("/tokenize", {{"model", model}, {"prompt", text}, {"add_special_tokens", false}}).json()["tokens"];
  };
  EXPECT_EQ(tokens("caller", "<CALL>"), Json::array({next_}));
  EXPECT_EQ(tokens("plain", "<CALL>"), tokens("seedling", "<CALL>"));
  EXPECT_NE(tokens("seedling", "<CALL>"), Json::array({next_}));
  EXPECT_EQ(post("/tokenize", {{"adapter_id", "caller"}, {"inputs", "<CALL>"}, {"add_special_tokens", false}}).json()[0]["id"], next_);
  EXPECT_EQ(post("/detokenize", {{"model", "caller"}, {"tokens", {next_}}}).json()["prompt"], "<CALL>");
  EXPECT_EQ(post("/detokenize", {{"model", "plain"}, {"tokens", {next_}}}).status, 400);

  const Received answer = post("/v1/completions", {{"model", "caller"}, {"prompt", "a<CALL>"}, {"max_tokens", 1}, {"echo", true}, {"logprobs", 1}});
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(engine_->requests().back().prompt.back(), next_);
  EXPECT_THAT(answer.json()["choices"][0]["text"].get<std::string>(), HasSubstr("a<CALL>"));
  EXPECT_THAT(answer.json()["choices"][0]["logprobs"]["tokens"].get<std::vector<std::string>>(), ::testing::Contains("<CALL>"));
  ASSERT_EQ(post("/generate", {{"inputs", "<CALL>"}, {"parameters", {{"adapter_id", "caller"}, {"max_new_tokens", 1}}}}).status, 200);
  EXPECT_EQ(engine_->requests().back().prompt.back(), next_);
  ASSERT_EQ(post("/v1/chat/completions", {{"model", "caller"}, {"messages", {{{"role", "user"}, {"content", "<CALL>"}}}}, {"max_tokens", 1}}).status, 200);
  EXPECT_THAT(engine_->requests().back().prompt, ::testing::Contains(next_));
}

TEST_F(TokenizerShelfTest, StopTextsAndEndTokensAreReadByIt) {
  add("caller", "added_tokens.json", Json{{"<CALL>", next_}}.dump());
  add("ender", "added_tokens.json", Json{{"<END>", next_}}.dump());
  add("ender", "tokenizer_config.json", Json{{"eos_token", "<END>"}}.dump());
  start();
  const Received answer = post("/v1/completions", {{"model", "caller"}, {"prompt", "x"}, {"stop", "<CALL>"}, {"max_tokens", 1}});
  EXPECT_EQ(answer.status, 200) << answer.body;
  ASSERT_EQ(post("/v1/completions", {{"model", "ender"}, {"prompt", "x"}, {"max_tokens", 1}}).status, 200);
  EXPECT_THAT(engine_->requests().back().eos_ids, ::testing::Contains(next_)) << "its own end token, by its own tokenizer";
}

TEST_F(TokenizerShelfTest, OneThatCannotBeUsedIsRefusedByNameAtLoadAndAfter) {
  add("swapped", "added_tokens.json", Json{{"<CALL>", 4095}}.dump());
  add("broken", "tokenizer.json", "{\"added_tokens\": [");
  add("large", "tokenizer.json", "{\"x\": \"" + std::string(8 << 20, 'x') + "\"}");
  start();
  for (const char* name : {"swapped", "broken", "large"}) {
    EXPECT_EQ(get("/v1/models/" + std::string(name)).json().value("error", ""), "") << "nobody has asked yet";
    for (int again = 0; again < 2; ++again) {
      const Received answer = post("/v1/completions", {{"model", name}, {"prompt", "x"}, {"max_tokens", 1}});
      EXPECT_EQ(answer.status, 422) << answer.body;
      EXPECT_THAT(answer.json()["error"]["message"].get<std::string>(), HasSubstr("adapter \"" + std::string(name) + "\""));
    }
    EXPECT_EQ(post("/generate", {{"inputs", "x"}, {"parameters", {{"adapter_id", name}}}}).status, 424);
    EXPECT_EQ(post("/tokenize", {{"model", name}, {"prompt", "x"}}).status, 422);
    EXPECT_NE(get("/v1/models/" + std::string(name)).json().value("error", ""), "");
  }
  EXPECT_THAT(post("/tokenize", {{"model", "swapped"}, {"prompt", "x"}}).body, HasSubstr("<CALL>"));
  EXPECT_TRUE(engine_->requests().empty());
  EXPECT_EQ(post("/v1/completions", {{"model", "poet"}, {"prompt", "x"}, {"max_tokens", 1}}).status, 200);
}

TEST_F(TokenizerShelfTest, FewAreKeptAndThoseInUseStay) {
  constexpr size_t kMore = TokenizerShelf::kOwnMax + 1;
  for (size_t i = 0; i < kMore; ++i) {
    add("own" + std::to_string(i), "added_tokens.json", Json{{"<T" + std::to_string(i) + ">", next_}}.dump());
  }
  const ServeParts parts{.tokenizer = seedling_tokenizer()};
  TokenizerShelf shelf(parts);
  std::vector<std::shared_ptr<const TokenTexts>> held;
  for (size_t i = 0; i < TokenizerShelf::kOwnMax; ++i) held.push_back(shelf.find(info("own" + std::to_string(i))).value());
  EXPECT_EQ(shelf.find(info("own" + std::to_string(kMore - 1))).status().code(), Code::kUnavailable);
  EXPECT_EQ(shelf.find(info("own0")).value(), held[0]) << "not read again";
  held[3].reset();
  EXPECT_EQ(shelf.find(info("own" + std::to_string(kMore - 1))).value()->text(next_), "<T" + std::to_string(kMore - 1) + ">");
  EXPECT_EQ(shelf.find(info("own0")).value(), held[0]);
}

}  // namespace
}  // namespace umbel::serve
