#include "serve/openai.h"

#include <set>

#include "serve/serve_testing.h"

namespace umbel::serve {
namespace {

class OpenAiTest : public ServeTest {};

std::string joined_text(const std::vector<Json>& events, int index = 0) {
  std::string text;
  for (const Json& event : events) {
    if (!event.is_object()) continue;
    for (const Json& choice : event["choices"]) {
      if (choice["index"] != index) continue;
      if (choice.contains("text"))
        text += choice["text"].get<std::string>();
      else
        text += choice["delta"].value("content", "");
    }
  }
  return text;
}

TEST_F(OpenAiTest, ACompletionHasTextUsageAndFinishReason) {
  start();
  const Received answer = post("/v1/completions", {{"model", "seedling"}, {"prompt", "Hello"}, {"max_tokens", 50}});
  ASSERT_EQ(answer.status, 200) << answer.body;
  const Json body = answer.json();
  EXPECT_EQ(body["object"], "text_completion");
  EXPECT_EQ(body["model"], "seedling");
  EXPECT_EQ(body["choices"].size(), 1u);
  EXPECT_EQ(body["choices"][0]["text"], " pay the bill.");
  EXPECT_EQ(body["choices"][0]["finish_reason"], "stop");
  EXPECT_TRUE(body["id"].get<std::string>().starts_with("cmpl-"));
  const size_t prompt = seedling_tokenizer()->encode("Hello", true).value().size();
  const size_t made = seedling_tokenizer()->encode(" pay the bill.", false).value().size() + 1;  // and EOS
  EXPECT_EQ(body["usage"]["prompt_tokens"], prompt);
  EXPECT_EQ(body["usage"]["completion_tokens"], made);
  EXPECT_EQ(body["usage"]["total_tokens"], prompt + made);
}

// Who may not know what others asked isn't told how much of a prompt was there already, in any form of answer.
TEST_F(OpenAiTest, CachedTokensAreShownOnlyWhenTheOperatorSaysSo) {
  const Json whole = {{"prompt", "Hello"}};
  const Json streamed = {{"prompt", "Hello"}, {"stream", true}, {"stream_options", {{"continuous_usage_stats", true}}}};
  const Json chat = {{"messages", {{{"role", "user"}, {"content", "Hello"}}}}};
  start();
  for (const std::string& body : {post("/v1/completions", whole).body, post("/v1/completions", streamed).body,
                                  post("/v1/chat/completions", chat).body}) {
    EXPECT_NE(body.find("prompt_tokens"), std::string::npos) << body;
    EXPECT_EQ(body.find("cached"), std::string::npos) << body;
  }
  TearDown();
  options_.show_cached_tokens = true;
  start();
  EXPECT_EQ(post("/v1/completions", whole).json()["usage"]["prompt_tokens_details"]["cached_tokens"], 1);
}

TEST_F(OpenAiTest, ACacheSaltReachesTheEngineAsADigest) {
  start();
  for (const char* salt : {"mine", "another's", "mine"}) {
    ASSERT_EQ(post("/v1/completions", {{"prompt", "Hello"}, {"cache_salt", salt}}).status, 200);
  }
  ASSERT_EQ(post("/v1/completions", {{"prompt", "Hello"}}).status, 200);
  const std::vector<Request> requests = engine_->requests();
  EXPECT_EQ(requests[0].cache_salt.size(), kCacheSaltBytesMax);
  EXPECT_EQ(requests[0].cache_salt, requests[2].cache_salt);
  EXPECT_NE(requests[0].cache_salt, requests[1].cache_salt);
  EXPECT_EQ(requests[3].cache_salt, "");
}

TEST_F(OpenAiTest, SixteenTokensUnlessTold) {
  start({.text = std::string(200, '?')});
  const Json body = post("/v1/completions", {{"prompt", "Hello"}, {"ignore_eos", true}}).json();
  EXPECT_EQ(body["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(body["usage"]["completion_tokens"], 16);
  EXPECT_EQ(engine_->requests()[0].max_tokens, 16);
}

TEST_F(OpenAiTest, TheModelFieldChoosesTheAdapter) {
  start({.by_adapter = {{"poet", " O rose"}}});
  EXPECT_EQ(post("/v1/completions", {{"model", "poet"}, {"prompt", "x"}}).json()["choices"][0]["text"], " O rose");
  EXPECT_EQ(post("/v1/completions", {{"model", "seedling"}, {"prompt", "x"}}).json()["choices"][0]["text"],
            " pay the bill.");
  const Received unknown = post("/v1/completions", {{"model", "nobody"}, {"prompt", "x"}});
  EXPECT_EQ(unknown.status, 404);
  const Json error = unknown.json()["error"];
  EXPECT_EQ(error["param"], "model");
  EXPECT_EQ(error["code"], "model_not_found");
}

TEST_F(OpenAiTest, AnUnknownNameIsToldItsNearMissAndNoOther) {
  start();
  for (const char* route : {"/v1/completions", "/generate"}) {
    const auto refused = [&](const std::string& name) {
      const Received answer = post(route, {{"model", name}, {"prompt", "x"}, {"inputs", "x"}, {"parameters", {{"adapter_id", name}}}});
      EXPECT_EQ(answer.status, 404);
      EXPECT_LT(answer.body.size(), 500u);
      return answer.body;
    };
    const std::string near = refused("bankin");
    EXPECT_NE(near.find("banking"), std::string::npos) << near;
    EXPECT_EQ(near.find("poet"), std::string::npos) << near;
    for (const std::string& name : {std::string("nobody"), std::string(100000, 'b')}) {
      const std::string far = refused(name);
      for (const char* known : {"banking", "poet", "seedling"}) EXPECT_EQ(far.find(known), std::string::npos) << far;
    }
  }
}

TEST_F(OpenAiTest, UnusableAdaptersAre422WhateverIsWrongWithThem) {
  for (const Code code : {Code::kInvalidArgument, Code::kFailedPrecondition, Code::kUnsupported, Code::kDataLoss,
                          Code::kOutOfMemory}) {
    start({.fail = Status(code, "its file is not right")});
    for (const bool stream : {false, true}) {
      const Received answer = post("/v1/completions", {{"model", "poet"}, {"prompt", "x"}, {"stream", stream}});
      EXPECT_EQ(answer.status, 422) << code_name(code);
      EXPECT_EQ(answer.json()["error"]["param"], "model");
      EXPECT_EQ(post(stream ? "/generate_stream" : "/generate", {{"inputs", "x"}, {"parameters", {{"adapter_id", "poet"}}}}).status, 424);
    }
    TearDown();
  }
}

TEST_F(OpenAiTest, EveryAnswerSaysWhatAnswered) {
  start();
  for (const bool stream : {false, true}) {
    const Received answer = post("/v1/completions", {{"model", "poet"}, {"prompt", "x"}, {"stream", stream}});
    EXPECT_EQ(answer.headers.at("x-adapter-id"), "poet");
    EXPECT_EQ(answer.headers.at("x-adapter-version"), "1");
    EXPECT_EQ(answer.headers.at("x-adapter-digest"), std::string(64, 'a'));
  }
  const Received base = post("/v1/completions", {{"prompt", "x"}});
  EXPECT_EQ(base.headers.at("x-model-id"), "seedling");
  EXPECT_FALSE(base.headers.contains("x-adapter-id"));
  const auto fingerprint = [&](const char* model) {
    return post("/v1/completions", {{"model", model}, {"prompt", "x"}}).json()["system_fingerprint"].get<std::string>();
  };
  EXPECT_EQ(fingerprint("seedling"), fingerprint("seedling"));
  EXPECT_NE(fingerprint("seedling"), fingerprint("poet"));
}

TEST(Identity, TheFingerprintIsOfAllThatAnAnswerDependsOn) {
  const ServedModel base{.dtype = "bf16", .arithmetic = "f32-fma", .version = "1", .digest = "d"};
  const Identity poet{.adapter = "poet", .version = 1, .digest = "aa"};
  std::set<std::string> prints = {system_fingerprint(base, poet), system_fingerprint(base, {})};
  for (const auto field : {&ServedModel::dtype, &ServedModel::arithmetic, &ServedModel::version, &ServedModel::digest}) {
    ServedModel other = base;
    other.*field = "other";
    prints.insert(system_fingerprint(other, poet));
  }
  EXPECT_EQ(prints.size(), 6u);
  EXPECT_EQ(system_fingerprint(base, {.adapter = "renamed", .version = 7, .digest = "aa"}), system_fingerprint(base, poet));
}

TEST_F(OpenAiTest, AnAdaptersOwnEndTokenEndsItsAnswers) {
  const Path dir = testing::TempDir() + "/own_end";
  std::filesystem::create_directories(dir);
  std::ofstream(dir / "generation_config.json") << R"({"eos_token_id": [17, 2]})";
  library_.add("own", dir.string());
  start();
  ASSERT_EQ(post("/v1/completions", {{"model", "own"}, {"prompt", "x"}}).status, 200);
  ASSERT_EQ(post("/v1/completions", {{"model", "poet"}, {"prompt", "x"}}).status, 200);
  EXPECT_EQ(engine_->requests()[0].eos_ids, (std::vector<int32_t>{2, 17}));
  EXPECT_EQ(engine_->requests()[1].eos_ids, std::vector<int32_t>{2});
}

TEST_F(OpenAiTest, AStopTextThatIsASpecialTokenStops) {
  start({.text = " one<s> two"});
  const Json body = post("/v1/completions", {{"prompt", "x"}, {"stop", "<s>"}}).json();
  EXPECT_EQ(body["choices"][0]["text"], " one");
  EXPECT_EQ(body["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(body["choices"][0]["stop_reason"], "<s>");
  const Json lorax =
      post("/generate", {{"inputs", "x"}, {"parameters", {{"stop", {"e<s>"}}, {"details", true}}}}).json();
  EXPECT_EQ(lorax["generated_text"], " one");
  EXPECT_EQ(lorax["details"]["finish_reason"], "stop_sequence");
  EXPECT_EQ(post("/v1/completions", {{"prompt", "x"}, {"stop", "e t"}}).json()["choices"][0]["text"], " on");
}

TEST_F(OpenAiTest, ADeveloperIsASystemToATemplateThatKnowsNone) {
  start();
  const auto ask = [&](const char* role) {
    return post("/v1/chat/completions", {{"messages", {{{"role", role}, {"content", "Be kind."}}, {{"role", "user"}, {"content", "a"}}}}}).status;
  };
  ASSERT_EQ(ask("system"), 200);
  ASSERT_EQ(ask("developer"), 200);
  EXPECT_EQ(engine_->requests()[0].prompt, engine_->requests()[1].prompt);
}

TEST_F(OpenAiTest, TheBaseAnswersToAllItsNames) {
  aliases_ = {"gpt-4o", "default"};
  start();
  for (const char* name : {"seedling", "gpt-4o", "default"}) {
    const Json body = post("/v1/completions", {{"model", name}, {"prompt", "x"}}).json();
    EXPECT_EQ(body["model"], name);
    EXPECT_EQ(get(std::string("/v1/models/") + name).json()["id"], name);
  }
  EXPECT_EQ(get("/v1/models").json()["data"].size(), 5u);
}

TEST_F(OpenAiTest, WholeNumbersAreSeedsHoweverTheyAreWritten) {
  start();
  for (const char* seed : {"5", "5.0"}) {
    const std::string body = std::string("{\"prompt\": \"x\", \"seed\": ") + seed + "}";
    ASSERT_EQ(TestClient(server_->port()).request("POST", "/v1/completions", body).status, 200);
  }
  EXPECT_EQ(engine_->requests()[0].sampling.seed, 5u);
  EXPECT_EQ(engine_->requests()[1].sampling.seed, 5u);
}

TEST_F(OpenAiTest, TextOffsetsPointIntoTheReturnedText) {
  start();
  const auto check = [](const Json& choice) {
    const std::string text = choice["text"];
    const Json& logprobs = choice["logprobs"];
    size_t last = 0;
    for (size_t i = 0; i < logprobs["tokens"].size(); ++i) {
      const std::string token = logprobs["tokens"][i];
      const size_t offset = logprobs["text_offset"][i];
      EXPECT_GE(offset, last);
      last = offset;
      if (token.starts_with("<")) continue;  // special: no text of its own
      const std::string bare = token.substr(i == 0 || logprobs["tokens"][i - 1] == "<s>" ? token.find_first_not_of(' ') : 0);
      EXPECT_EQ(text.substr(offset, bare.size()), bare) << token << " at " << offset << " of " << text;
    }
  };
  const Json ask = {{"prompt", "Hello the bill"}, {"echo", true}, {"logprobs", 1}, {"max_tokens", 20}};
  const Json of_text = post("/v1/completions", ask).json()["choices"][0];
  EXPECT_EQ(of_text["logprobs"]["tokens"][0], "<s>");
  EXPECT_EQ(of_text["logprobs"]["text_offset"][0], 0);
  EXPECT_EQ(of_text["logprobs"]["text_offset"][1], 0);
  check(of_text);
  Json by_ids = ask;
  by_ids["prompt"] = seedling_tokenizer()->encode("Hello the bill", true).value();
  check(post("/v1/completions", by_ids).json()["choices"][0]);
  Json streamed = ask;
  streamed["stream"] = true;
  Json joined = {{"text", ""}, {"logprobs", {{"tokens", Json::array()}, {"text_offset", Json::array()}}}};
  for (const Json& event : post("/v1/completions", streamed).events()) {
    if (!event.is_object()) continue;
    const Json& choice = event["choices"][0];
    joined["text"] = joined["text"].get<std::string>() + choice["text"].get<std::string>();
    for (const char* name : {"tokens", "text_offset"}) {
      for (const Json& entry : choice["logprobs"][name]) joined["logprobs"][name].push_back(entry);
    }
  }
  EXPECT_EQ(joined["logprobs"]["text_offset"], of_text["logprobs"]["text_offset"]);
  check(joined);
}

TEST_F(OpenAiTest, AStreamSaysTheSameAndEndsWithDone) {
  start();
  const Received answer =
      post("/v1/completions", {{"prompt", "Hello"}, {"stream", true}, {"stream_options", {{"include_usage", true}}}});
  ASSERT_EQ(answer.status, 200);
  EXPECT_TRUE(answer.headers.at("content-type").starts_with("text/event-stream"));
  const std::vector<Json> events = answer.events();
  EXPECT_EQ(joined_text(events), " pay the bill.");
  EXPECT_EQ(events.back(), "[DONE]");
  const Json& usage = events[events.size() - 2];
  EXPECT_TRUE(usage["choices"].empty());
  EXPECT_GT(usage["usage"]["completion_tokens"], 0);
  const Json& last = events[events.size() - 3];
  EXPECT_EQ(last["choices"][0]["finish_reason"], "stop");
  EXPECT_TRUE(last["usage"].is_null());
  for (size_t i = 0; i + 3 < events.size(); ++i) EXPECT_TRUE(events[i]["choices"][0]["finish_reason"].is_null());
}

TEST_F(OpenAiTest, SeveralChoicesAndPromptsKeepTheirIndex) {
  start();
  const Json body = post("/v1/completions", {{"prompt", {"one", "two"}}, {"n", 2}, {"seed", 7}}).json();
  ASSERT_EQ(body["choices"].size(), 4u);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(body["choices"][i]["index"], i);
  const std::vector<Request> requests = engine_->requests();
  ASSERT_EQ(requests.size(), 4u);
  EXPECT_EQ(requests[0].sampling.seed, 7u);
  EXPECT_NE(requests[1].sampling.seed, 7u);
  EXPECT_EQ(requests[1].sampling.seed, requests[3].sampling.seed);
  EXPECT_EQ(requests[0].prompt, requests[1].prompt);
  EXPECT_NE(requests[0].prompt, requests[2].prompt);
  const std::vector<Json> events =
      post("/v1/completions", {{"prompt", {"one", "two"}}, {"n", 2}, {"stream", true}}).events();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(joined_text(events, i), " pay the bill.");
}

TEST_F(OpenAiTest, TokenIdsAreUsedAsTheyAre) {
  start();
  ASSERT_EQ(post("/v1/completions", {{"prompt", {40, 1219, 271}}}).status, 200);
  ASSERT_EQ(post("/v1/completions", {{"prompt", {{5, 6}, {7}}}}).status, 200);
  const std::vector<Request> requests = engine_->requests();
  EXPECT_EQ(requests[0].prompt, (std::vector<int32_t>{40, 1219, 271}));
  EXPECT_EQ(requests[1].prompt, (std::vector<int32_t>{5, 6}));
  EXPECT_EQ(requests[2].prompt, (std::vector<int32_t>{7}));
  const Json body = post("/v1/completions", {{"prompt", {40, 1219}}, {"return_token_ids", true}}).json();
  EXPECT_EQ(body["choices"][0]["prompt_token_ids"], Json({40, 1219}));
  EXPECT_EQ(body["choices"][0]["token_ids"].size(), body["usage"]["completion_tokens"].get<size_t>());
}

TEST_F(OpenAiTest, StopStringsAreCutAndNeverLeak) {
  start({.text = " one two three four"});
  const Json body = post("/v1/completions", {{"prompt", "x"}, {"stop", "two th"}, {"logprobs", 0}}).json();
  EXPECT_EQ(body["choices"][0]["text"], " one ");
  EXPECT_EQ(body["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(body["choices"][0]["stop_reason"], "two th");
  const Received streamed = post("/v1/completions", {{"prompt", "x"}, {"stop", {"zebra", "two th"}}, {"stream", true}});
  EXPECT_EQ(joined_text(streamed.events()), " one ");
  for (const Json& event : streamed.events()) {
    if (!event.is_object()) continue;
    EXPECT_EQ(event["choices"][0]["text"].get<std::string>().find("two"), std::string::npos);
  }
  const Json kept =
      post("/v1/completions", {{"prompt", "x"}, {"stop", "two th"}, {"include_stop_str_in_output", true}}).json();
  EXPECT_EQ(kept["choices"][0]["text"], " one two th");
}

TEST_F(OpenAiTest, StopStringsCountOnlyAfterMinTokens) {
  start({.text = " one two three four"});
  const size_t all = seedling_tokenizer()->encode(" one two three four", false).value().size();
  const Json body =
      post("/v1/completions", {{"prompt", "x"}, {"stop", "two"}, {"min_tokens", all}, {"max_tokens", all + 1}}).json();
  EXPECT_EQ(body["choices"][0]["text"], " one two three four");
}

TEST_F(OpenAiTest, NoEventHoldsHalfACodePoint) {
  const std::string text = " caf\u00e9 \u4f60\u597d \U0001F33C\U0001F44D\U0001F3FD end";
  start({.text = text});
  const std::vector<Json> events =
      post("/v1/chat/completions", {{"messages", {{{"role", "user"}, {"content", "hi"}}}}, {"stream", true}}).events();
  EXPECT_EQ(joined_text(events), text);
  for (const Json& event : events) {
    if (!event.is_object()) continue;
    const std::string piece = event["choices"][0]["delta"].value("content", "");
    EXPECT_TRUE(is_utf8(piece));
    EXPECT_EQ(piece.find("\uFFFD"), std::string::npos);
  }
}

TEST_F(OpenAiTest, EchoWithLogprobsScoresThePrompt) {
  start();
  const Json body =
      post("/v1/completions", {{"prompt", {40, 1219, 271}}, {"echo", true}, {"logprobs", 2}, {"max_tokens", 0}}).json();
  const Json& choice = body["choices"][0];
  EXPECT_EQ(choice["text"], seedling_tokenizer()->decode(std::vector<TokenId>{40, 1219, 271}, true).value());
  const Json& logprobs = choice["logprobs"];
  ASSERT_EQ(logprobs["tokens"].size(), 3u);
  EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
  EXPECT_TRUE(logprobs["top_logprobs"][0].is_null());
  EXPECT_EQ(logprobs["token_logprobs"][1], -0.5);
  EXPECT_EQ(logprobs["token_logprobs"][2], -0.75);
  EXPECT_TRUE(logprobs["top_logprobs"][1].contains(logprobs["tokens"][1].get<std::string>()));
  EXPECT_EQ(logprobs["text_offset"][0], 0);
  EXPECT_EQ(body["usage"]["completion_tokens"], 0);
  EXPECT_EQ(choice["finish_reason"], "length");
  EXPECT_EQ(engine_->requests()[0].max_tokens, 0);
  EXPECT_EQ(engine_->requests()[0].prompt_logprobs, 2);
}

TEST_F(OpenAiTest, EchoStreamsThePromptFirst) {
  start();
  const std::vector<Json> events =
      post("/v1/completions", {{"prompt", "Hello"}, {"echo", true}, {"logprobs", 0}, {"stream", true}}).events();
  EXPECT_EQ(events[0]["choices"][0]["text"], "Hello");
  EXPECT_TRUE(events[0]["choices"][0]["logprobs"]["token_logprobs"][0].is_null());
  EXPECT_EQ(joined_text(events), "Hello pay the bill.");
}

TEST_F(OpenAiTest, BothShapesOfLogprobs) {
  start();
  const Json completion = post("/v1/completions", {{"prompt", "x"}, {"logprobs", 3}}).json()["choices"][0]["logprobs"];
  const size_t count = completion["tokens"].size();
  EXPECT_EQ(completion["token_logprobs"].size(), count);
  EXPECT_EQ(completion["text_offset"].size(), count);
  EXPECT_GE(completion["top_logprobs"][0].size(), 3u);
  const Json chat =
      post("/v1/chat/completions",
           {{"messages", {{{"role", "user"}, {"content", "x"}}}}, {"logprobs", true}, {"top_logprobs", 2}})
          .json();
  const Json& content = chat["choices"][0]["logprobs"]["content"];
  ASSERT_EQ(content.size(), count);
  std::string text;
  for (size_t i = 0; i + 1 < count; ++i) {
    for (const Json& byte : content[i]["bytes"]) text += static_cast<char>(byte.get<int>());
  }
  EXPECT_EQ(text, " pay the bill.");
  EXPECT_EQ(content[0]["top_logprobs"].size(), 2u);
  EXPECT_EQ(content[0]["logprob"], -0.25);
  std::vector<Json> streamed;
  const Json ask = {{"messages", {{{"role", "user"}, {"content", "x"}}}}, {"logprobs", true}, {"stream", true}};
  for (const Json& event : post("/v1/chat/completions", ask).events()) {
    if (!event.is_object() || event["choices"][0]["logprobs"].is_null()) continue;
    for (const Json& entry : event["choices"][0]["logprobs"]["content"]) streamed.push_back(entry["token"]);
  }
  EXPECT_EQ(streamed.size(), count);
}

TEST_F(OpenAiTest, BestOfReturnsTheLikeliest) {
  start();
  const Json body = post("/v1/completions", {{"prompt", "x"}, {"best_of", 3}, {"n", 1}}).json();
  EXPECT_EQ(body["choices"].size(), 1u);
  EXPECT_EQ(engine_->requests().size(), 3u);
  EXPECT_EQ(engine_->requests()[0].logprobs, 0);
  EXPECT_EQ(post("/v1/completions", {{"prompt", "x"}, {"best_of", 3}, {"stream", true}}).status, 400);
}

TEST_F(OpenAiTest, AChatUsesTheTemplateAndTheRestOfTheContext) {
  start();
  const Json messages = {
      {{"role", "system"}, {"content", "Be kind."}},
      {{"role", "user"}, {"content", {{{"type", "text"}, {"text", "a"}}, {{"type", "text"}, {"text", "b"}}}}}};
  const Received answer = post("/v1/chat/completions", {{"messages", messages}});
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.json()["choices"][0]["message"]["content"], " pay the bill.");
  EXPECT_EQ(answer.json()["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(answer.json()["object"], "chat.completion");
  const Request request = engine_->requests()[0];
  EXPECT_EQ(request.prompt,
            seedling_tokenizer()->encode("<s><|system|>Be kind.<|user|>a\nb<|assistant|>", false).value());
  EXPECT_EQ(request.max_tokens + static_cast<int>(request.prompt.size()), 256);
}

TEST_F(OpenAiTest, DefaultsOfTheCheckpointApplyUntilTold) {
  defaults_.temperature = 0.25;
  defaults_.top_k = 7;
  start();
  post("/v1/completions", {{"prompt", "x"}});
  post("/v1/completions",
       {{"prompt", "x"}, {"temperature", 0}, {"top_k", -1}, {"top_p", 0.5}, {"logit_bias", {{"12", -100}}}});
  const std::vector<Request> requests = engine_->requests();
  EXPECT_FLOAT_EQ(requests[0].sampling.temperature, 0.25f);
  EXPECT_EQ(requests[0].sampling.top_k, 7);
  EXPECT_FLOAT_EQ(requests[1].sampling.temperature, 0.0f);
  EXPECT_EQ(requests[1].sampling.top_k, 0);
  EXPECT_FLOAT_EQ(requests[1].sampling.top_p, 0.5f);
  ASSERT_EQ(requests[1].sampling.logit_bias.size(), 1u);
  EXPECT_EQ(requests[1].sampling.logit_bias[0].first, 12);
}

TEST_F(OpenAiTest, TooLongNamesBothNumbers) {
  start();
  const Json error =
      post("/v1/completions", {{"prompt", std::vector<int>(250, 40)}, {"max_tokens", 10}}).json()["error"];
  EXPECT_EQ(error["code"], "context_length_exceeded");
  EXPECT_EQ(error["param"], "max_tokens");
  EXPECT_NE(error["message"].get<std::string>().find("256"), std::string::npos);
  EXPECT_NE(error["message"].get<std::string>().find("260"), std::string::npos);
  const Received prompt_alone = post("/v1/completions", {{"prompt", std::vector<int>(256, 40)}});
  EXPECT_EQ(prompt_alone.status, 400);
  EXPECT_EQ(prompt_alone.json()["error"]["param"], "prompt");
  const Received endless = post("/v1/completions", {{"prompt", std::string(1 << 20, 'x')}});
  EXPECT_EQ(endless.json()["error"]["code"], "context_length_exceeded");
}

TEST_F(OpenAiTest, OverloadIs429WithRetryAfter) {
  start({.refuse = Status(Code::kOverloaded, "the queue is full")});
  const Received answer = post("/v1/completions", {{"prompt", "x"}});
  EXPECT_EQ(answer.status, 429);
  EXPECT_EQ(answer.headers.at("retry-after"), "3");
  EXPECT_EQ(answer.json()["error"]["type"], "rate_limit_error");
}

TEST_F(OpenAiTest, AnErrorBeforeTheFirstTokenKeepsItsStatusInAStream) {
  start({.fail = Status(Code::kDataLoss, "the adapter's file is cut off")});
  const Received answer = post("/v1/completions", {{"prompt", "x"}, {"stream", true}});
  EXPECT_EQ(answer.status, 422);
  EXPECT_EQ(answer.json()["error"]["message"], "the adapter's file is cut off");
}

TEST_F(OpenAiTest, AnErrorLaterIsAnEventOfTheStream) {
  start({.fail = Status(Code::kDeadlineExceeded, "too late"), .fail_after = 2});
  const Received answer = post("/v1/completions", {{"prompt", "x"}, {"stream", true}});
  EXPECT_EQ(answer.status, 200);
  const std::vector<Json> events = answer.events();
  EXPECT_EQ(events[events.size() - 2]["error"]["message"], "too late");
  EXPECT_EQ(events.back(), "[DONE]");
  EXPECT_EQ(post("/v1/completions", {{"prompt", "x"}}).status, 504);
}

TEST_F(OpenAiTest, AStreamThatFailsLateIsCountedAsWhatWentOverTheWire) {
  start({.fail = Status(Code::kDeadlineExceeded, "too late"), .fail_after = 2});
  const Received reply = post("/v1/completions", {{"prompt", "x"}, {"max_tokens", 8}, {"stream", true}});
  EXPECT_EQ(reply.status, 200);
  const char* const wanted[] = {"umbel_requests_total{adapter=\"base\",route=\"/v1/completions\",status=\"200\"} 1",
                                "umbel_stream_failures_total{adapter=\"base\"} 1", "lorax_request_failure{err=\"generation\"} 1"};
  for (const char* line : wanted) {
    EXPECT_TRUE(soon([&] { return get("/metrics").body.find(line) != std::string::npos; })) << line << "\n" << get("/metrics").body;
  }
}

}  // namespace
}  // namespace umbel::serve
