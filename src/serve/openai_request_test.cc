#include "serve/openai_request.h"

#include "base/random.h"
#include "serve/failure.h"
#include "serve/lorax_request.h"
#include "serve/serve_testing.h"

namespace umbel::serve {
namespace {

struct Refused {
  std::string param;
  Code code = Code::kOk;
};

Refused parse(const Json& body, bool chat) {
  Fields fields(body);
  const ServeParts parts;
  const ServeOptions options;
  if (chat)
    (void)parse_chat(fields, OrderedJson(body), parts, options);
  else
    (void)parse_completion(fields, parts, options);
  return {fields.param(), fields.status().code()};
}

// One wrong field in a body that is right otherwise.
Refused completion_with(const char* name, const Json& value) {
  Json body = {{"prompt", "x"}};
  body[name] = value;
  return parse(body, false);
}
Refused chat_with(const char* name, const Json& value) {
  Json body = {{"messages", {{{"role", "user"}, {"content", "x"}}}}};
  body[name] = value;
  return parse(body, true);
}

TEST(OpenAiRequest, AsManyChoicesAreMadeAsAreReturned) {
  const Json body = {{"messages", {{{"role", "user"}, {"content", "x"}}}}, {"prompt", "x"}, {"n", 3}};
  Fields chat(body);
  EXPECT_EQ(parse_chat(chat, OrderedJson(body), ServeParts(), ServeOptions()).best_of, 3);
  Fields completion(body);
  EXPECT_EQ(parse_completion(completion, ServeParts(), ServeOptions()).best_of, 3);
}

TEST(OpenAiRequest, WrongTypesAndRangesNameTheField) {
  const std::pair<const char*, Json> cases[] = {{"model", 5},
                                                {"temperature", "hot"},
                                                {"temperature", -0.1},
                                                {"temperature", 1e300},
                                                {"top_p", 1.5},
                                                {"top_p", -1},
                                                {"top_k", 1.5},
                                                {"top_k", -2},
                                                {"min_p", 2},
                                                {"typical_p", 0},
                                                {"repetition_penalty", 0},
                                                {"presence_penalty", 2.5},
                                                {"frequency_penalty", -3},
                                                {"n", 0},
                                                {"n", 100000},
                                                {"n", "two"},
                                                {"seed", 1.5},
                                                {"seed", "x"},
                                                {"seed", 1e30},
                                                {"stop", 5},
                                                {"stop", {1}},
                                                {"stop", std::vector<std::string>(100, "a")},
                                                {"stop", std::string(5000, 'a')},
                                                {"stop", {"a", std::string(5000, 'a')}},
                                                {"stop", std::vector<std::string>(30, std::string(4000, 'a'))},
                                                {"stop_token_ids", "x"},
                                                {"stop_token_ids", {-1}},
                                                {"stop_token_ids", {1e12}},
                                                {"logit_bias", {1, 2}},
                                                {"logit_bias", {{"x", 1}}},
                                                {"logit_bias", {{"1", 101}}},
                                                {"logit_bias", {{"1", "x"}}},
                                                {"ignore_eos", 1},
                                                {"min_tokens", -1},
                                                {"stream", "yes"},
                                                {"return_token_ids", "yes"},
                                                {"skip_special_tokens", 0},
                                                {"cache_salt", 5},
                                                {"cache_salt", ""},
                                                {"cache_salt", std::string(5000, 's')},
                                                {"max_tokens", -1},
                                                {"max_tokens", 1e300},
                                                {"max_tokens", "many"},
                                                {"max_tokens", true},
                                                {"stream_options", {{"include_usage", true}}}};
  for (const auto& [name, value] : cases) {
    EXPECT_EQ(completion_with(name, value).param, name) << value;
    EXPECT_EQ(chat_with(name, value).param, name) << value;
    EXPECT_EQ(completion_with(name, value).code, Code::kInvalidArgument) << name;
    EXPECT_EQ(completion_with(name, nullptr).code, Code::kOk) << name;  // null = absent
  }
}

TEST(OpenAiRequest, FieldsOfOneRouteAreNamedToo) {
  for (const auto& [name, value] : std::initializer_list<std::pair<const char*, Json>>{{"logprobs", true},
                                                                                       {"logprobs", 21},
                                                                                       {"echo", "x"},
                                                                                       {"best_of", 0},
                                                                                       {"prompt", 5},
                                                                                       {"prompt", Json::array()},
                                                                                       {"prompt", {1, "x"}},
                                                                                       {"prompt", {-1}},
                                                                                       {"prompt", {1.5}}}) {
    EXPECT_EQ(completion_with(name, value).param, name) << value;
  }
  EXPECT_EQ(completion_with("prompt", {"x", 5}).param, "prompt[1]");
  EXPECT_EQ(completion_with("prompt", {{1}, {"x"}}).param, "prompt[1]");
  EXPECT_EQ(completion_with("prompt", {{1}, Json::array()}).param, "prompt[1]");
  for (const auto& [name, value] : std::initializer_list<std::pair<const char*, Json>>{{"logprobs", 1},
                                                                                       {"top_logprobs", 2},
                                                                                       {"max_tokens", 0},
                                                                                       {"max_completion_tokens", 0},
                                                                                       {"chat_template_kwargs", {1}},
                                                                                       {"documents", "x"},
                                                                                       {"messages", "x"},
                                                                                       {"messages", Json::array()}}) {
    EXPECT_EQ(chat_with(name, value).param, name) << value;
  }
  EXPECT_EQ(parse(Json::object(), false).param, "prompt");
  EXPECT_EQ(parse(Json::object(), true).param, "messages");
  EXPECT_EQ(parse({{"prompt", "x"}, {"stream", true}, {"stream_options", {{"include_usage", 1}}}}, false).param,
            "stream_options.include_usage");
  EXPECT_EQ(parse({{"prompt", "x"}, {"n", 3}, {"best_of", 2}}, false).param, "best_of");
  EXPECT_EQ(parse({{"prompt", "x"}, {"min_tokens", 9}, {"max_tokens", 8}}, false).param, "min_tokens");
  for (const Json& body : {Json(5), Json::array(), Json("x"), Json(nullptr)})
    EXPECT_EQ(parse(body, false).code, Code::kInvalidArgument);
}

TEST(OpenAiRequest, MessagesAreCheckedToTheirParts) {
  const auto param = [](const Json& message) { return chat_with("messages", Json::array({message})).param; };
  EXPECT_EQ(param("x"), "messages[0]");
  EXPECT_EQ(param({{"content", "x"}}), "messages[0].role");
  EXPECT_EQ(param({{"role", "user"}}), "messages[0].content");
  EXPECT_EQ(param({{"role", "user"}, {"content", 5}}), "messages[0].content");
  EXPECT_EQ(param({{"role", "user"}, {"content", {"x"}}}), "messages[0].content[0]");
  EXPECT_EQ(param({{"role", "user"}, {"content", {{{"type", "text"}}}}}), "messages[0].content[0].text");
  EXPECT_EQ(param({{"role", "user"}, {"content", {{{"type", "image_url"}, {"image_url", {{"url", "x"}}}}}}}),
            "messages[0].content[0].type");
  EXPECT_EQ(param({{"role", "assistant"}, {"tool_calls", {{{"id", "1"}}}}}), "messages[0].tool_calls");
  EXPECT_EQ(param({{"role", "assistant"}, {"content", nullptr}}), "");
}

TEST(OpenAiRequest, KnownButUnsupportedFieldsAreRefusedByName) {
  const std::pair<const char*, Json> cases[] = {
      {"tools", {{{"type", "function"}}}}, {"functions", {{{"name", "f"}}}},
      {"tool_choice", "required"},         {"response_format", {{"type", "json_object"}}},
      {"response_format", "json"},         {"modalities", {"audio"}},
      {"guided_json", {{"a", 1}}},         {"audio", {{"voice", "x"}}},
      {"use_beam_search", true},           {"reasoning_effort", "low"}};
  for (const auto& [name, value] : cases) {
    const Refused refused = chat_with(name, value);
    EXPECT_EQ(refused.param, name);
    EXPECT_EQ(refused.code, Code::kUnsupported);
    EXPECT_EQ(failure_of(Status(refused.code, "x")).http, 400);
  }
  for (const auto& [name, value] :
       std::initializer_list<std::pair<const char*, Json>>{{"tools", Json::array()},
                                                           {"tool_choice", "none"},
                                                           {"response_format", {{"type", "text"}}},
                                                           {"modalities", {"text"}},
                                                           {"user", "me"},
                                                           {"use_beam_search", false},
                                                           {"store", true}}) {
    EXPECT_EQ(chat_with(name, value).code, Code::kOk) << name;
  }
  EXPECT_EQ(completion_with("suffix", "end").param, "suffix");
  EXPECT_EQ(completion_with("suffix", "").code, Code::kOk);
}

TEST(OpenAiRequest, UnknownFieldsAreListedNotRefused) {
  const Json body = {{"prompt", "x"}, {"frobnicate", 1}, {"line\nbreak", 2}};
  Fields fields(body);
  (void)parse_completion(fields, {}, {});
  EXPECT_TRUE(fields.ok());
  EXPECT_EQ(fields.unknown(), (std::vector<std::string>{"frobnicate", "line?break"}));
}

TEST(OpenAiRequest, SeedsOfAnySign) {
  const Json negative = {{"prompt", "x"}, {"seed", -1}};
  Fields fields(negative);
  const Ask ask = parse_completion(fields, {}, {});
  EXPECT_TRUE(ask.seeded);
  EXPECT_EQ(ask.sampling.seed, ~uint64_t{0});
}

TEST(OpenAiRequest, ZeroTopPMeansTheLikeliestToken) {
  const Json body = {{"prompt", "x"}, {"top_p", 0}};
  Fields fields(body);
  const Ask ask = parse_completion(fields, {}, {});
  EXPECT_EQ(ask.sampling.top_k, 1);
  EXPECT_EQ(ask.sampling.top_p, 1.0f);
}

// ---- any bytes ------------------------------------------------------------------------------------------------------

const char* const kSeeds[] = {
    R"({"model":"poet","prompt":["a","b"],"max_tokens":3,"temperature":0.5,"stop":["x"],"logit_bias":{"5":1},"stream":true,"stream_options":{"include_usage":true}})",
    R"({"messages":[{"role":"user","content":[{"type":"text","text":"h\u00e9"}]}],"logprobs":true,"top_logprobs":3,"n":2,"seed":-5,"chat_template_kwargs":{"a":[1,{"b":null}]}})",
    R"({"inputs":"x","parameters":{"adapter_id":"poet","best_of":2,"do_sample":true,"stop":["a"],"truncate":4,"details":true,"return_k_alternatives":2}})",
    R"({"prompt":[[1,2,3],[4]],"echo":true,"logprobs":5,"max_tokens":0,"ignore_eos":true,"stop_token_ids":[7],"return_token_ids":true,"min_p":0.1})",
    R"({"lora_name":"a","lora_path":"../../x","lora_int_id":5})"};
const char* const kPieces[] = {"null",
                               "true",
                               "-1",
                               "1e999",
                               "1e308",
                               "-0.0",
                               "99999999999999999999",
                               "NaN",
                               "\"\"",
                               "\"\\ud800\"",
                               "[]",
                               "{}",
                               "[[[[",
                               "}",
                               "\xff\xfe",
                               "\xed\xa0\x80",
                               "\"a\":",
                               ",",
                               "\\u0000",
                               "0x10",
                               "\"role\":5",
                               "[[],[]]",
                               "{\"type\":\"text\"}"};

std::string mutate(Random& random) {
  std::string text = kSeeds[random.next_below(std::size(kSeeds))];
  const uint64_t changes = 1 + random.next_below(4);
  for (uint64_t i = 0; i < changes; ++i) {
    const size_t at = random.next_below(text.size() + 1);
    switch (random.next_below(5)) {
      case 0:
        text.insert(at, kPieces[random.next_below(std::size(kPieces))]);
        break;
      case 1:
        text.erase(at, random.next_below(12));
        break;
      case 2:
        if (at < text.size()) text[at] = static_cast<char>(random.next_below(256));
        break;
      case 3: {  // a value for a value
        const size_t colon = text.find(':', at);
        if (colon == std::string::npos) break;
        const size_t end = text.find_first_of(",}", colon);
        text.replace(colon + 1, end == std::string::npos ? 0 : end - colon - 1,
                     kPieces[random.next_below(std::size(kPieces))]);
        break;
      }
      default:
        text.insert(at, text.substr(random.next_below(text.size() + 1), random.next_below(40)));
        break;
    }
    if (text.empty()) text = "{";
  }
  return text;
}

TEST(OpenAiRequest, AnyBytesGiveATypedAnswer) {
  Random random(20261124);
  int parsed = 0;
  for (int round = 0; round < 30000; ++round) {
    const std::string text = mutate(random);
    const Result<Json> body = parse_json(text, "request body");
    if (!body.ok()) continue;
    ++parsed;
    for (const bool chat : {false, true}) {
      const Refused refused = parse(*body, chat);
      EXPECT_FALSE(refused.code != Code::kOk && body->is_object() && refused.param.empty()) << text;
    }
    for (const LoraxStream stream : {LoraxStream::kAlways, LoraxStream::kField}) {
      const Outcome<LoraxAsk> asked = parse_lorax(*body, stream, {});
      EXPECT_TRUE(asked.ok() || failure_of(asked.refusal()).http == 400) << text;
    }
  }
  EXPECT_GT(parsed, 3000);
}

class FuzzedServer : public ServeTest {};

TEST_F(FuzzedServer, AStrangersBodyIsNeverA500) {
  start();
  Random random(7);
  const char* const paths[] = {
      "/v1/completions",       "/v1/chat/completions",   "/", "/generate", "/generate_stream", "/tokenize",
      "/v1/load_lora_adapter", "/v1/unload_lora_adapter"};
  auto client = std::make_unique<TestClient>(server_->port());
  int answered = 0;
  for (int round = 0; round < 600; ++round) {
    const std::string path = paths[random.next_below(std::size(paths))];
    const std::string body = mutate(random);
    const Received answer = client->request("POST", path, body);
    EXPECT_TRUE(answer.status == 200 || answer.status / 100 == 4) << path << " " << answer.status << " " << body;
    answered += answer.status == 200;
    EXPECT_TRUE(answer.status == 200 || answer.json().contains("error")) << answer.body;
    if (answer.headers.at("connection") != "keep-alive") client = std::make_unique<TestClient>(server_->port());
  }
  EXPECT_GT(answered, 10);
  const std::string deep = "{\"prompt\":" + std::string(100000, '[') + std::string(100000, ']') + "}";
  EXPECT_EQ(TestClient(server_->port()).request("POST", "/v1/completions", deep).status, 400);
  for (const char* odd : {"{\"prompt\":\"\xff\"}", "{\"prompt\":NaN}", "{\"prompt\":\"x\",\"temperature\":1e999}", "",
                          "[]", "{\"prompt\":\"\\ud800\"}"}) {
    EXPECT_EQ(TestClient(server_->port()).request("POST", "/v1/completions", odd).status, 400) << odd;
  }
}

}  // namespace
}  // namespace umbel::serve
