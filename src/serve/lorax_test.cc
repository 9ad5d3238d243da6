#include "serve/lorax.h"

#include <gmock/gmock.h>

#include "base/growth_testing.h"
#include "serve/serve_testing.h"
#include "serve/unicode.h"

namespace umbel::serve {
namespace {

class LoraxTest : public ServeTest {};

TEST_F(LoraxTest, GenerateHasTextDetailsAndHeaders) {
  start();
  const Received answer = post(
      "/generate",
      {{"inputs", "Hello"}, {"parameters", {{"adapter_id", "banking"}, {"details", true}, {"max_new_tokens", 50}}}});
  ASSERT_EQ(answer.status, 200) << answer.body;
  const Json body = answer.json();
  EXPECT_EQ(body["generated_text"], " pay the bill.");
  const Json& details = body["details"];
  EXPECT_EQ(details["finish_reason"], "eos_token");
  EXPECT_EQ(details["generated_tokens"], details["tokens"].size());
  EXPECT_TRUE(details["seed"].is_null());
  EXPECT_TRUE(details["prefill"].empty());
  std::string text;
  for (const Json& token : details["tokens"]) {
    EXPECT_FALSE(token["skipped"].get<bool>());
    if (!token["special"].get<bool>()) text += token["text"].get<std::string>();
  }
  EXPECT_EQ(text, " pay the bill.");
  EXPECT_TRUE(details["tokens"].back()["special"].get<bool>());
  EXPECT_EQ(answer.headers.at("x-adapter-id"), "banking");
  EXPECT_EQ(answer.headers.at("x-model-id"), "seedling");
  EXPECT_EQ(answer.headers.at("x-generated-tokens"), std::to_string(details["tokens"].size()));
  for (const char* name : {"x-compute-type", "x-compute-time", "x-total-time", "x-validation-time", "x-queue-time",
                           "x-inference-time", "x-time-per-token", "x-time-to-first-token"}) {
    EXPECT_TRUE(answer.headers.contains(name)) << name;
  }
}

TEST_F(LoraxTest, TheRootWrapsWholeAnswersInAList) {
  start();
  const Json body = post("/", {{"inputs", "Hello"}, {"stream", false}, {"parameters", nullptr}}).json();
  ASSERT_TRUE(body.is_array());
  EXPECT_EQ(body[0]["generated_text"], " pay the bill.");
  EXPECT_TRUE(body[0]["details"].is_null());
}

TEST_F(LoraxTest, StreamsEndWithTheWholeTextAndNoDone) {
  start();
  for (const char* path : {"/generate_stream", "/"}) {
    const Received answer = post(
        path, {{"inputs", "Hello"}, {"stream", true}, {"parameters", {{"details", true}, {"return_full_text", true}}}});
    ASSERT_EQ(answer.status, 200);
    const std::vector<Json> events = answer.events();
    std::string text;
    for (const Json& event : events) {
      ASSERT_TRUE(event.is_object());
      EXPECT_TRUE(event["token"]["logprob"].is_number());
      if (!event["token"]["special"].get<bool>()) text += event["token"]["text"].get<std::string>();
    }
    EXPECT_EQ(text, " pay the bill.");
    EXPECT_EQ(events.back()["generated_text"], "Hello pay the bill.");
    EXPECT_EQ(events.back()["details"]["finish_reason"], "eos_token");
    EXPECT_TRUE(events.front()["generated_text"].is_null());
  }
}

TEST_F(LoraxTest, StopStringsStayInTheText) {
  start({.text = " one two three four"});
  const Json body =
      post("/generate", {{"inputs", "x"}, {"parameters", {{"stop", {"two th"}}, {"details", true}}}}).json();
  EXPECT_EQ(body["generated_text"], " one two th");
  EXPECT_EQ(body["details"]["finish_reason"], "stop_sequence");
  const std::vector<Json> events =
      post("/generate_stream", {{"inputs", "x"}, {"parameters", {{"stop", {"two"}}}}}).events();
  EXPECT_EQ(events.back()["generated_text"], " one two");
}

TEST_F(LoraxTest, GreedyUnlessSamplingIsAskedFor) {
  defaults_.temperature = 0.7;  // of the checkpoint; LoRAX's own defaults win here
  start();
  post("/generate", {{"inputs", "x"}});
  post("/generate", {{"inputs", "x"}, {"parameters", {{"temperature", 1.0}}}});
  post("/generate", {{"inputs", "x"}, {"parameters", {{"temperature", 0.5}, {"seed", 3}, {"details", true}}}});
  post("/generate", {{"inputs", "x"}, {"parameters", {{"do_sample", true}}}});
  post("/generate", {{"inputs", "x"}, {"parameters", {{"top_k", 4}, {"temperature", 0}}}});
  const std::vector<Request> requests = engine_->requests();
  EXPECT_EQ(requests[0].sampling.temperature, 0.0f);
  EXPECT_EQ(requests[1].sampling.temperature, 0.0f);
  EXPECT_EQ(requests[2].sampling.temperature, 0.5f);
  EXPECT_EQ(requests[2].sampling.seed, 3u);
  EXPECT_EQ(requests[3].sampling.temperature, 1.0f);
  EXPECT_EQ(requests[4].sampling.temperature, 0.0f);
  EXPECT_EQ(requests[0].max_tokens, 256 - static_cast<int>(requests[0].prompt.size()));
}

TEST_F(LoraxTest, PrefillAlternativesAndTruncation) {
  start();
  const Json parameters = {
      {"decoder_input_details", true}, {"return_k_alternatives", 2}, {"truncate", 3}, {"details", true}};
  const Json details =
      post("/generate", {{"inputs", "a long prompt of several tokens"}, {"parameters", parameters}}).json()["details"];
  ASSERT_EQ(details["prefill"].size(), 3u);
  EXPECT_TRUE(details["prefill"][0]["logprob"].is_null());
  EXPECT_EQ(details["prefill"][1]["logprob"], -0.5);
  EXPECT_EQ(details["tokens"][0]["alternative_tokens"].size(), 2u);
  EXPECT_EQ(details["prompt_tokens"], 3);
}

TEST_F(LoraxTest, BestOfShowsTheOthers) {
  start();
  const Json details =
      post("/generate", {{"inputs", "x"}, {"parameters", {{"best_of", 3}, {"do_sample", true}, {"details", true}}}})
          .json()["details"];
  EXPECT_EQ(details["best_of_sequences"].size(), 2u);
  EXPECT_EQ(details["best_of_sequences"][0]["generated_text"], " pay the bill.");
  EXPECT_TRUE(details["seed"].is_number());
}

TEST_F(LoraxTest, RefusalsHaveLoraxShapes) {
  start();
  struct Case {
    Json body;
    int status;
    const char* type;
    const char* words;
  };
  const Case cases[] = {
      {{{"inputs", ""}}, 422, "validation", "inputs"},
      {{{"input", "x"}}, 422, "validation", "inputs"},
      {{{"inputs", 5}}, 422, "validation", "inputs"},
      {{{"inputs", "x"}, {"parameters", {1}}}, 422, "validation", "parameters"},
      {{{"inputs", "x"}, {"parameters", {{"temperature", -1}}}}, 422, "validation", "parameters.temperature"},
      {{{"inputs", "x"}, {"parameters", {{"top_p", 0}}}}, 422, "validation", "parameters.top_p"},
      {{{"inputs", "x"}, {"parameters", {{"max_new_tokens", 0}}}}, 422, "validation", "parameters.max_new_tokens"},
      {{{"inputs", "x"}, {"parameters", {{"max_new_tokens", 9000}}}}, 422, "validation", "256"},
      {{{"inputs", "x"}, {"parameters", {{"best_of", 2}}}}, 422, "validation", "best_of"},
      {{{"inputs", "x"}, {"parameters", {{"best_of", 2}, {"do_sample", true}, {"seed", 1}}}},
       422,
       "validation",
       "best_of"},
      {{{"inputs", "x"}, {"parameters", {{"watermark", true}}}}, 422, "validation", "watermark"},
      {{{"inputs", "x"}, {"parameters", {{"grammar", {{"type", "regex"}, {"value", "a"}}}}}}, 422, "validation", "grammar"},
      {{{"inputs", "x"}, {"parameters", {{"adapter_source", "hub"}}}}, 422, "validation", "adapter_source"},
      {{{"inputs", "x"}, {"parameters", {{"merged_adapters", {{"ids", {"a"}}}}}}},
       422,
       "validation",
       "merged_adapters"},
      {{{"inputs", "x"}, {"parameters", {{"response_format", {{"type", "json_object"}}}}}},
       422,
       "validation",
       "response_format"},
      {{{"inputs", "x"}, {"parameters", {{"adapter_id", "nobody"}}}}, 404, "not_found", "nobody"},
  };
  for (const Case& bad : cases) {
    const Received answer = post("/generate", bad.body);
    EXPECT_EQ(answer.status, bad.status) << bad.body;
    const Json body = answer.json();
    EXPECT_EQ(body["error_type"], bad.type) << bad.body;
    EXPECT_NE(body["error"].get<std::string>().find(bad.words), std::string::npos) << body;
  }
  EXPECT_EQ(post("/generate_stream", {{"inputs", "x"}, {"parameters", {{"decoder_input_details", true}}}}).status, 422);
  EXPECT_EQ(TestClient(server_->port()).request("POST", "/generate", "{not json").status, 422);
  EXPECT_EQ(
      post("/generate",
           {{"inputs", "x"}, {"parameters", {{"watermark", false}, {"response_format", nullptr}, {"api_token", "t"}}}})
          .status,
      200);
}

TEST_F(LoraxTest, MetricsCountTheStatusThatWasSent) {
  start();
  EXPECT_EQ(post("/generate", {{"inputs", 5}}).status, 422);
  EXPECT_NE(get("/metrics").body.find("route=\"/generate\",status=\"422\"} 1"), std::string::npos);
}

TEST_F(LoraxTest, ABrokenAdapterIs424) {
  start({.fail = Status(Code::kDataLoss, "adapter_model.safetensors is cut off")});
  const Received answer = post("/generate_stream", {{"inputs", "x"}, {"parameters", {{"adapter_id", "poet"}}}});
  EXPECT_EQ(answer.status, 424);
  EXPECT_EQ(answer.json()["error_type"], "generation");
}

TEST_F(LoraxTest, AnErrorInAStreamIsAnEvent) {
  start({.fail = Status(Code::kDeadlineExceeded, "too late"), .fail_after = 2});
  const std::vector<Json> events = post("/generate_stream", {{"inputs", "x"}}).events();
  EXPECT_EQ(events.size(), 3u);
  EXPECT_EQ(events.back()["error"], "too late");
  EXPECT_EQ(events.back()["error_type"], "timeout");
}

TEST_F(LoraxTest, TokenizeGivesOffsetsInCodePoints) {
  start();
  const std::string text = "caf\u00e9 \U0001F33C pays";
  const Json tokens = post("/tokenize", {{"inputs", text}, {"add_special_tokens", false}}).json();
  const std::vector<TokenId> ids = seedling_tokenizer()->encode(text, false).value();
  ASSERT_EQ(tokens.size(), ids.size());
  for (size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(tokens[i]["id"], ids[i]);
  EXPECT_EQ(tokens[0]["start"], 0);
  EXPECT_EQ(tokens.back()["stop"], 11);
  const Json with_bos = post("/tokenize", {{"inputs", text}}).json();
  EXPECT_EQ(with_bos.size(), ids.size() + 1);
  EXPECT_EQ(post("/tokenize", {{"inputs", 3}}).status, 422);
}

TEST_F(LoraxTest, TokensOfOneCharacterShareItsOffsets) {
  start();
  const Json tokens = post("/tokenize", {{"inputs", "\U0001F9FFa\U0001F9FF"}, {"add_special_tokens", false}}).json();
  ASSERT_GT(tokens.size(), 4u);  // the character has several tokens
  int64_t last = 0;
  for (const Json& token : tokens) {
    EXPECT_EQ(token["stop"], token["start"].get<int64_t>() + 1) << token;
    EXPECT_GE(token["start"], last);
    last = token["start"].get<int64_t>();
  }
  EXPECT_EQ(last, 2);
}

TEST_F(LoraxTest, TokenizeCostGrowsWithTheText) {
  start();
  const auto text = [](size_t count) {
    std::string emoji;
    for (size_t i = 0; i < count; ++i) emoji += "\U0001F9FF";
    return emoji;
  };
  const auto offsets = [](const std::string& emoji) {
    const auto spans = seedling_tokenizer()->encode_spans(emoji, false).value();
    const CodePointIndex points(emoji);
    size_t sum = 0;
    for (const TokenSpan& span : spans) sum += points.before(span.begin) + points.before(span.end);
    EXPECT_GT(sum, 0u);
  };
  EXPECT_LT(umbel::testing::growth_of_doubling(500, text, offsets), umbel::testing::kGrowthMax);
}

TEST_F(LoraxTest, TokenizeRefusesWhatCanNotFitTheContext) {
  start();
  const size_t context = static_cast<size_t>(engine_->limits().context_max);
  const Received reply = post("/tokenize", {{"inputs", std::string(context * 256 + 1, ' ')}});
  EXPECT_EQ(reply.status, 422);
  EXPECT_THAT(reply.json()["error"].get<std::string>(), ::testing::HasSubstr("can't fit"));
}

TEST_F(LoraxTest, InfoNamesTheLimits) {
  start();
  const Json info = get("/info").json();
  EXPECT_EQ(info["model_id"], "seedling");
  EXPECT_EQ(info["model_device_type"], "cpu");
  EXPECT_EQ(info["max_total_tokens"], 256);
  EXPECT_EQ(info["max_input_length"], 255);
  for (const char* path : {"/", "/health", "/ping", "/startup"}) EXPECT_EQ(get(path).status, 200) << path;
}

}  // namespace
}  // namespace umbel::serve
