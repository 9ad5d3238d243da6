// What a key may do, see and use, over HTTP.
#include <fstream>

#include "base/utc.h"
#include "io/test_folder.h"
#include "serve/keys/audit_log.h"
#include "serve/keys/key_file.h"
#include "serve/serve_testing.h"

namespace umbel::serve {
namespace {

class KeysHttpTest : public ServeTest {
 protected:
  static KeySpec key(const std::string& name) {
    return {.name = name, .sha256 = key_digest("umbel_" + name), .scopes = {Scope::kGenerate}};
  }
  void start_with(const std::vector<KeySpec>& keys, FakeScript script = {}) {
    options_.keys_file = folder_ / "keys.json";
    options_.audit_file = folder_ / "audit.jsonl";
    options_.keys_watch_interval = std::chrono::milliseconds(10);
    ASSERT_TRUE(write_file_atomic(options_.keys_file, key_file_text(keys)).ok());
    start(std::move(script));
  }
  static std::string header(const std::string& name) { return "Authorization: Bearer umbel_" + name + "\r\n"; }
  Received get_as(const std::string& name, const std::string& path) {
    return TestClient(server_->port()).request("GET", path, "", header(name));
  }
  Received post_as(const std::string& name, const std::string& path, const Json& body) {
    return TestClient(server_->port()).post(path, body, header(name));
  }
  Received complete(const std::string& name, const std::string& model, int max_tokens = 4) {
    return post_as(name, "/v1/completions", {{"model", model}, {"prompt", "x"}, {"max_tokens", max_tokens}});
  }
  // The audit log's lines once there are so many.
  std::vector<Json> audit(size_t lines) {
    std::vector<Json> records;
    EXPECT_TRUE(soon([&] {
      std::ifstream file(options_.audit_file);
      records.clear();
      for (std::string line; std::getline(file, line);) records.push_back(Json::parse(line, nullptr, false));
      return records.size() >= lines;
    })) << records.size();
    EXPECT_EQ(records.size(), lines);
    return records;
  }

  const TestFolder folder_;
};

TEST_F(KeysHttpTest, OnlyKeysThatCountComeIn) {
  KeySpec old = key("old");
  old.expires_s = utc_now_ms() / 1000 - 1;
  start_with({key("alice"), old});
  EXPECT_EQ(complete("alice", "poet").status, 200);
  EXPECT_EQ(get("/v1/models").status, 401);
  const Received wrong = complete("mallory", "poet");
  EXPECT_EQ(wrong.status, 401);
  EXPECT_EQ(wrong.json()["error"]["code"], "invalid_api_key");
  EXPECT_EQ(complete("old", "poet").status, 401);
  EXPECT_EQ(get("/health").status, 200);
  EXPECT_EQ(TestClient(server_->port()).request("GET", "/v1/models", "", "Authorization: Bearer \r\n").status, 401);
  EXPECT_EQ(TestClient(server_->port()).request("GET", "/v1/models", "", header("alice") + header("mallory")).status, 401);
  EXPECT_EQ(TestClient(server_->port()).request("GET", "/v1/models", "", "authorization: bEARER umbel_alice\r\n").status, 200);
}

TEST_F(KeysHttpTest, AScopeOpensItsRoutesAndNoOthers) {
  KeySpec metrics = key("metrics"), admin = key("admin"), none = key("none");
  metrics.scopes = {Scope::kMetrics};
  admin.scopes = {Scope::kAdmin};
  none.scopes = {};
  start_with({key("alice"), metrics, admin, none});
  const Json load = {{"lora_name", "new"}, {"lora_path", "new"}};
  EXPECT_EQ(get_as("alice", "/metrics").status, 403);
  EXPECT_EQ(post_as("alice", "/v1/load_lora_adapter", load).status, 403);
  EXPECT_EQ(post_as("alice", "/v1/unload_lora_adapter", {{"lora_name", "poet"}}).status, 403);
  EXPECT_EQ(get_as("metrics", "/metrics").status, 200);
  EXPECT_EQ(complete("metrics", "poet").status, 403);
  EXPECT_EQ(post_as("metrics", "/generate", {{"inputs", "x"}}).status, 403);
  EXPECT_EQ(post_as("metrics", "/tokenize", {{"inputs", "x"}}).status, 403);
  EXPECT_EQ(post_as("admin", "/v1/load_lora_adapter", load).status, 200);
  EXPECT_EQ(get_as("admin", "/metrics").status, 403);
  EXPECT_EQ(get_as("none", "/v1/models").status, 200);
  EXPECT_EQ(complete("none", "poet").json()["error"]["code"], "insufficient_scope");
}

TEST_F(KeysHttpTest, ACallerSeesOnlyWhatItsKeyMayUse) {
  KeySpec alice = key("alice");
  alice.adapters = {"po*"};
  alice.base = false;
  alice.scopes = {Scope::kGenerate, Scope::kMetrics, Scope::kAdmin};
  start_with({alice, key("bob")});
  const Json models = get_as("alice", "/v1/models").json();
  ASSERT_EQ(models["data"].size(), 1u);
  EXPECT_EQ(models["data"][0]["id"], "poet");
  EXPECT_EQ(get_as("bob", "/v1/models").json()["data"].size(), 3u);
  EXPECT_EQ(get_as("alice", "/v1/models/poet").status, 200);
  EXPECT_EQ(get_as("alice", "/info").json()["adapters"], 1);
  EXPECT_EQ(complete("alice", "poet").status, 200);
  ASSERT_EQ(complete("bob", "banking").status, 200);
  ASSERT_TRUE(soon([&] { return get_as("alice", "/metrics").body.find("adapter=\"poet\"") != std::string::npos; }));
  const std::string metrics = get_as("alice", "/metrics").body;
  EXPECT_EQ(metrics.find("banking"), std::string::npos);
  EXPECT_EQ(post_as("alice", "/v1/unload_lora_adapter", {{"lora_name", "banking"}}).status, 403);
  EXPECT_EQ(post_as("alice", "/v1/load_lora_adapter", {{"lora_name", "poet2"}, {"lora_path", "banking"}}).status, 403);
  EXPECT_EQ(complete("bob", "banking").status, 200);
}

// The same status and text, but for the name that the client itself gave.
TEST_F(KeysHttpTest, AForbiddenAdapterAnswersAsOneThatIsNotThere) {
  KeySpec alice = key("alice");
  alice.adapters = {"po*"};
  alice.base = false;
  start_with({alice});
  const auto told = [&](const Received& received, const std::string& name) {
    std::string text = std::to_string(received.status) + " " + received.body;
    for (size_t at = 0; (at = text.find(name)) != std::string::npos;) text.replace(at, name.size(), "NAME");
    return text;
  };
  EXPECT_EQ(told(complete("alice", "banking"), "banking"), told(complete("alice", "ranking"), "ranking"));
  EXPECT_EQ(told(complete("alice", "seedling"), "seedling"), told(complete("alice", "weedling"), "weedling"));
  EXPECT_EQ(told(get_as("alice", "/v1/models/banking"), "banking"), told(get_as("alice", "/v1/models/ranking"), "ranking"));
  EXPECT_EQ(told(get_as("alice", "/v1/models/seedling"), "seedling"), told(get_as("alice", "/v1/models/weedling"), "weedling"));
  EXPECT_EQ(complete("alice", "banking").status, 404);
  EXPECT_EQ(complete("alice", "poets").body.find("banking"), std::string::npos);
  const Json lorax = {{"inputs", "x"}, {"parameters", {{"adapter_id", "banking"}}}};
  const Json absent = {{"inputs", "x"}, {"parameters", {{"adapter_id", "ranking"}}}};
  EXPECT_EQ(told(post_as("alice", "/generate", lorax), "banking"), told(post_as("alice", "/generate", absent), "ranking"));
  EXPECT_EQ(post_as("alice", "/generate", {{"inputs", "x"}}).status, 404);  // the base, which it may not use
}

TEST_F(KeysHttpTest, RequestsAMinuteEndIn429WithOpenAisHeaders) {
  KeySpec alice = key("alice");
  alice.limits.requests_per_minute = 2;
  start_with({alice, key("bob")});
  const Received first = complete("alice", "poet");
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(first.headers.at("x-ratelimit-limit-requests"), "2");
  EXPECT_EQ(first.headers.at("x-ratelimit-remaining-requests"), "1");
  EXPECT_EQ(complete("alice", "poet").status, 200);
  const Received refused = complete("alice", "poet");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.json()["error"]["type"], "rate_limit_error");
  EXPECT_EQ(refused.headers.at("x-ratelimit-remaining-requests"), "0");
  EXPECT_GE(std::atoi(refused.headers.at("retry-after").c_str()), 1);
  EXPECT_EQ(complete("bob", "poet").status, 200);
  EXPECT_FALSE(complete("bob", "poet").headers.contains("x-ratelimit-limit-requests"));
}

TEST_F(KeysHttpTest, TokensAMinuteAreTakenByEstimateAndSettledByUse) {
  KeySpec alice = key("alice");
  alice.limits.tokens_per_minute = 100;
  start_with({alice});
  const Received first = complete("alice", "poet", 90);  // the fake stops after a few
  ASSERT_EQ(first.status, 200);
  EXPECT_EQ(first.headers.at("x-ratelimit-limit-tokens"), "100");
  const int64_t used = first.json()["usage"]["total_tokens"].get<int64_t>();
  ASSERT_LT(used, 20);
  ASSERT_TRUE(soon([&] { return std::atoi(get_as("alice", "/v1/models").headers["x-ratelimit-remaining-tokens"].c_str()) >= 100 - used; }));
  for (int64_t left = 100 - used; left > 50;) {
    const Received more = complete("alice", "poet", 40);
    if (more.status != 200) break;
    left -= more.json()["usage"]["total_tokens"].get<int64_t>();
    (void)soon([&] { return engine_->running() == 0; });
  }
  EXPECT_EQ(complete("alice", "poet", 99).status, 429);
}

TEST_F(KeysHttpTest, ABodyLargerThanTheKeysLimitIsRefused) {
  KeySpec alice = key("alice");
  alice.limits.body_bytes = 200;
  start_with({alice});
  EXPECT_EQ(complete("alice", "poet").status, 200);
  EXPECT_EQ(post_as("alice", "/v1/completions", {{"model", "poet"}, {"prompt", std::string(300, 'x')}}).status, 413);
}

TEST_F(KeysHttpTest, UsageIsCountedByKeyAndShownToItself) {
  KeySpec admin = key("admin");
  admin.scopes = {Scope::kAdmin, Scope::kMetrics};
  start_with({key("alice"), admin});
  const Json usage = complete("alice", "poet").json()["usage"];
  Json mine;
  ASSERT_TRUE(soon([&] {
    mine = get_as("alice", "/v1/usage").json()["data"];
    return mine[0]["total_tokens"] == usage["total_tokens"];
  })) << mine.dump();
  ASSERT_EQ(mine.size(), 1u);
  EXPECT_EQ(mine[0]["key"], "alice");
  EXPECT_EQ(mine[0]["prompt_tokens"], usage["prompt_tokens"]);
  EXPECT_EQ(get_as("admin", "/v1/usage").json()["data"].size(), 2u);
  const std::string metrics = get_as("admin", "/metrics").body;
  EXPECT_NE(metrics.find("umbel_key_prompt_tokens_total{key=\"alice\"} " + usage["prompt_tokens"].dump()), std::string::npos);
}

TEST_F(KeysHttpTest, EveryRequestLeavesOneAuditLine) {
  start_with({key("alice")});
  const Json usage = complete("alice", "poet").json()["usage"];
  (void)audit(1);
  EXPECT_EQ(complete("mallory", "poet").status, 401);
  (void)audit(2);
  EXPECT_EQ(complete("alice", "nobody").status, 404);
  (void)audit(3);
  EXPECT_EQ(get_as("alice", "/v1/models").status, 200);
  const std::vector<Json> lines = audit(4);
  EXPECT_EQ(lines[0]["key"], "alice");
  EXPECT_EQ(lines[0]["client"], "127.0.0.1");
  EXPECT_EQ(lines[0]["route"], "/v1/completions");
  EXPECT_EQ(lines[0]["adapter"], "poet");
  EXPECT_EQ(lines[0]["status"], 200);
  EXPECT_EQ(lines[0]["prompt_tokens"], usage["prompt_tokens"]);
  EXPECT_EQ(lines[0]["answer_tokens"], usage["completion_tokens"]);
  EXPECT_FALSE(lines[0].contains("prompts"));
  EXPECT_EQ(lines[1]["status"], 401);
  EXPECT_FALSE(lines[1].contains("key"));
  EXPECT_EQ(lines[2]["status"], 404);
  EXPECT_EQ(lines[3]["route"], "/v1/models");
  EXPECT_EQ(read_file(options_.audit_file).value().find("umbel_alice"), std::string::npos);
}

TEST_F(KeysHttpTest, PromptsStandInTheAuditLogOnlyWhenAskedFor) {
  options_.audit_prompts = true;
  start_with({key("alice")});
  ASSERT_EQ(post_as("alice", "/v1/completions", {{"model", "poet"}, {"prompt", "a secret"}}).status, 200);
  EXPECT_EQ(audit(1)[0]["prompts"], Json({"a secret"}));
}

TEST_F(KeysHttpTest, ARevokedKeyIsRefusedAndItsRunningAnswerEnds) {
  start_with({key("alice"), key("bob")}, {.token_time = from_seconds(0.02)});
  TestClient stream(server_->port());
  const std::string body = R"({"model": "poet", "prompt": "x", "max_tokens": 30, "ignore_eos": true})";
  stream.send("POST /v1/completions HTTP/1.1\r\nHost: test\r\n" + header("alice") +
              "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  ASSERT_TRUE(soon([&] { return engine_->running() == 1; }));
  ASSERT_TRUE(write_file_atomic(options_.keys_file, key_file_text({key("bob")})).ok());
  const bool refused = soon([&] { return get_as("alice", "/v1/models").status == 401; });
  EXPECT_TRUE(refused);
  EXPECT_EQ(stream.receive().status, 200);
  EXPECT_EQ(complete("bob", "poet").status, 200);
}

TEST_F(KeysHttpTest, TheEngineIsToldWhoAsks) {
  KeySpec alice = key("alice");
  alice.limits.running = 3;
  alice.limits.queued = 7;
  start_with({alice, key("bob")});
  ASSERT_EQ(complete("alice", "poet").status, 200);
  ASSERT_EQ(complete("bob", "poet").status, 200);
  const std::vector<Request> requests = engine_->requests();
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_NE(requests[0].tenant, requests[1].tenant);
  EXPECT_EQ(requests[0].tenant_caps.running_max, 3);
  EXPECT_EQ(requests[0].tenant_caps.queue_max, 7);
  EXPECT_EQ(requests[1].tenant_caps.running_max, 0);
  EXPECT_NE(requests[0].cache_salt, requests[1].cache_salt);
}

}  // namespace
}  // namespace umbel::serve
