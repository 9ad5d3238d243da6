#include "serve/tokenize.h"

#include "serve/serve_testing.h"

namespace umbel::serve {
namespace {

class TokenizeTest : public ServeTest {};

TEST_F(TokenizeTest, VllmsFormBesideLoraxs) {
  start();
  const std::vector<TokenId> ids = seedling_tokenizer()->encode("pay the bill", true).value();
  const Json plain = post("/tokenize", {{"model", "poet"}, {"prompt", "pay the bill"}}).json();
  EXPECT_EQ(plain["tokens"], Json(ids));
  EXPECT_EQ(plain["count"], ids.size());
  EXPECT_EQ(plain["max_model_len"], 256);
  EXPECT_TRUE(plain["token_strs"].is_null());
  const Json bare =
      post("/tokenize", {{"prompt", "pay"}, {"add_special_tokens", false}, {"return_token_strs", true}}).json();
  EXPECT_EQ(bare["tokens"], Json(seedling_tokenizer()->encode("pay", false).value()));
  EXPECT_EQ(bare["token_strs"].size(), bare["tokens"].size());
  EXPECT_TRUE(post("/tokenize", {{"inputs", "pay the bill"}}).json().is_array());
}

TEST_F(TokenizeTest, MessagesAreWhatAChatSees) {
  start();
  const Json messages = Json::array({Json{{"role", "user"}, {"content", "hi"}}});
  ASSERT_EQ(post("/v1/chat/completions", {{"messages", messages}}).status, 200);
  EXPECT_EQ(post("/tokenize", {{"messages", messages}}).json()["tokens"], Json(engine_->requests()[0].prompt));
  EXPECT_LT(post("/tokenize", {{"messages", messages}, {"add_generation_prompt", false}}).json()["count"],
            engine_->requests()[0].prompt.size());
}

TEST_F(TokenizeTest, DetokenizeTurnsItBack) {
  start();
  const std::string text = "caf\u00e9 \U0001F33C pays";
  const Json tokens = post("/tokenize", {{"prompt", text}, {"add_special_tokens", false}}).json()["tokens"];
  EXPECT_EQ(post("/detokenize", {{"tokens", tokens}}).json()["prompt"], text);
  EXPECT_EQ(post("/detokenize", {{"tokens", Json::array()}}).json()["prompt"], "");
}

TEST_F(TokenizeTest, InfoNamesTheTokenizer) {
  start();
  const Json info = get("/tokenizer_info").json();
  EXPECT_EQ(info["bos_token"], "<s>");
  EXPECT_EQ(info["vocab_size"], seedling_tokenizer()->vocab_size());
  EXPECT_TRUE(info["chat_template"].is_string());
}

TEST_F(TokenizeTest, RefusalsNameTheFieldInTheFormsOwnDialect) {
  start();
  const auto refused = [&](const char* route, const Json& body) {
    const Received answer = post(route, body);
    EXPECT_EQ(answer.status / 100, 4) << body;
    return answer.json()["error"].is_object() ? answer.json()["error"]["param"].dump() : answer.json()["error_type"].dump();
  };
  EXPECT_EQ(refused("/tokenize", {{"prompt", 5}}), "\"prompt\"");
  EXPECT_EQ(refused("/tokenize", {{"messages", "x"}}), "\"messages\"");
  EXPECT_EQ(refused("/tokenize", {{"prompt", "x"}, {"model", "nobody"}}), "\"model\"");
  EXPECT_EQ(refused("/tokenize", {{"prompt", std::string(70000, 'x')}}), "\"prompt\"");
  EXPECT_EQ(refused("/tokenize", {{"inputs", 5}}), "\"validation\"");
  EXPECT_EQ(refused("/tokenize", Json::array()), "\"validation\"");
  EXPECT_EQ(refused("/tokenize", {{"inputs", std::string(70000, 'x')}}), "\"validation\"");
  EXPECT_EQ(refused("/detokenize", {{"model", "seedling"}}), "\"tokens\"");
  EXPECT_EQ(refused("/detokenize", {{"tokens", {99999}}}), "\"tokens\"");
  EXPECT_EQ(refused("/detokenize", {{"tokens", std::vector<int>(300, 5)}}), "\"tokens\"");
}

}  // namespace
}  // namespace umbel::serve
