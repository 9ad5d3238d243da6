#include "serve/admin.h"

#include "serve/serve_testing.h"

namespace umbel::serve {
namespace {

class AdminTest : public ServeTest {};

TEST_F(AdminTest, ModelsListsTheBaseAndEveryAdapter) {
  start();
  const Json list = get("/v1/models").json();
  EXPECT_EQ(list["object"], "list");
  ASSERT_EQ(list["data"].size(), 3u);
  EXPECT_EQ(list["data"][0]["id"], "seedling");
  EXPECT_TRUE(list["data"][0]["parent"].is_null());
  const Json& adapter = list["data"][1];
  EXPECT_EQ(adapter["id"], "banking");
  EXPECT_EQ(adapter["parent"], "seedling");
  EXPECT_EQ(adapter["state"], "known");
  EXPECT_EQ(adapter["version"], 1);
  EXPECT_EQ(adapter["digest"], std::string(64, 'a'));
  EXPECT_EQ(get("/v1/models/poet").json()["id"], "poet");
  EXPECT_EQ(get("/v1/models/nobody").status, 404);
}

TEST_F(AdminTest, AdaptersAreLoadedAndUnloaded) {
  start();
  const Received loaded = post("/v1/load_lora_adapter", {{"lora_name", "new"}, {"lora_path", "new"}});
  EXPECT_EQ(loaded.status, 200) << loaded.body;
  EXPECT_EQ(loaded.body, "Success: LoRA adapter 'new' added successfully.");
  EXPECT_EQ(post("/v1/completions", {{"model", "new"}, {"prompt", "x"}}).status, 200);
  EXPECT_EQ(post("/v1/unload_lora_adapter", {{"lora_name", "new"}}).status, 200);
  EXPECT_EQ(post("/v1/completions", {{"model", "new"}, {"prompt", "x"}}).status, 404);
  EXPECT_EQ(post("/v1/unload_lora_adapter", {{"lora_name", "new"}}).status, 404);
  const Received outside = post("/v1/load_lora_adapter", {{"lora_name", "evil"}, {"lora_path", "../../etc"}});
  EXPECT_EQ(outside.status, 400);
  EXPECT_EQ(outside.json()["error"]["param"], "lora_path");
  EXPECT_EQ(post("/v1/load_lora_adapter", {{"lora_path", "new"}}).json()["error"]["param"], "lora_name");
  EXPECT_EQ(post("/v1/load_lora_adapter", {{"lora_name", "seedling"}, {"lora_path", "new"}}).status, 400);
  for (const char* name : {"team/new", ".new", "a b"}) {
    const Received refused = post("/v1/load_lora_adapter", {{"lora_name", name}, {"lora_path", "new"}});
    EXPECT_EQ(refused.status, 400);
    EXPECT_EQ(refused.json()["error"]["param"], "lora_name") << refused.body;
    EXPECT_NE(refused.body.find("letters, digits"), std::string::npos) << refused.body;
  }
}

TEST_F(AdminTest, RollingBackNamesTheVersionThatAnswersNow) {
  start();
  const Received back = post("/v1/adapters/poet/rollback", Json::object());
  EXPECT_EQ(back.status, 200) << back.body;
  EXPECT_EQ(back.json(), (Json{{"id", "poet"}, {"version", 1}, {"digest", "d1"}}));
  EXPECT_EQ(post("/v1/adapters/poet/rollback", {{"version", 7}}).status, 409);
  EXPECT_EQ(post("/v1/adapters/poet/rollback", {{"version", "x"}}).json()["error"]["param"], "version");
  EXPECT_EQ(post("/v1/adapters/nobody/rollback", Json::object()).json()["error"]["code"], "model_not_found");
  EXPECT_EQ(post("/v1/adapters//rollback", Json::object()).status, 404);
  EXPECT_EQ(post("/v1/adapters/poet/rollback/x", Json::object()).status, 404);
  const char* const counted = "umbel_requests_total{adapter=\"\",route=\"/v1/adapters/*/rollback\",status=\"409\"} 1";
  EXPECT_NE(get("/metrics").body.find(counted), std::string::npos);
}

TEST_F(AdminTest, MetricsCountRequestsByAdapterUpToACap) {
  options_.adapter_labels_max = 2;
  library_.add("third");
  start();
  const std::pair<const char*, const char*> models[] = {{"seedling", "base"}, {"poet", "poet"}, {"third", "other"}};
  for (const auto& [model, label] : models) {
    ASSERT_EQ(post("/v1/completions", {{"model", model}, {"prompt", "x"}}).status, 200);
    const std::string counted = std::string("umbel_request_seconds_count{adapter=\"") + label + "\"} 1";
    ASSERT_TRUE(
        soon([&] { return get("/metrics").body.find(counted) != std::string::npos; }));  // right after the answer
  }
  post("/v1/completions", {{"model", "nobody-knows-this"}, {"prompt", "x"}});
  const std::string text = get("/metrics").body;
  for (const char* line :
       {"umbel_requests_total{adapter=\"base\",route=\"/v1/completions\",status=\"200\"} 1",
        "umbel_requests_total{adapter=\"poet\",route=\"/v1/completions\",status=\"200\"} 1",
        "umbel_requests_total{adapter=\"other\",route=\"/v1/completions\",status=\"200\"} 1",
        "umbel_time_to_first_token_seconds_count{adapter=\"poet\"} 1", "umbel_build_info{", "process_open_fds ",
        "umbel_inter_token_seconds_bucket", "umbel_queue_seconds_count 3", "umbel_kv_blocks 64",
        "umbel_adapter_loads_total 5", "umbel_adapter_load_failures_total 1", "umbel_adapter_evictions_total 2",
        "umbel_adapter_load_seconds_total 1.5", "vllm:num_requests_waiting{model_name=\"seedling\"} 0",
        "vllm:kv_cache_usage_perc{model_name=\"seedling\"} 0", "lorax_request_count 4", "lorax_request_success 3",
        "lorax_request_failure{err=\"load_adapter\"} 1",
        "umbel_adapters{state=\"known\"} 3", "umbel_adapter_resident_bytes 4096"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << "\n" << text;
  }
  EXPECT_EQ(text.find("nobody"), std::string::npos);
  EXPECT_NE(text.find("umbel_adapter_bytes{adapter=\"banking\"}"), std::string::npos) << text;
  ASSERT_TRUE(library_.unload("banking").ok());
  EXPECT_EQ(get("/metrics").body.find("umbel_adapter_bytes{adapter=\"banking\"}"), std::string::npos);
  EXPECT_EQ(text.find("adapter=\"third\",route"), std::string::npos);
}

// Prometheus' naming rules: counters end in _total, and nothing else does.
TEST_F(AdminTest, MetricsAreNamedByPrometheusRules) {
  options_.metric_names = ServeOptions::MetricNames::kOwn;  // the peers' names can't follow them
  start();
  post("/v1/completions", {{"prompt", "x"}});
  std::istringstream lines(get("/metrics").body);
  int counters = 0;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string hash, kind, name, type;
    words >> hash >> kind >> name >> type;
    if (hash != "#" || kind != "TYPE") continue;
    EXPECT_TRUE(name.starts_with("umbel_") || name.starts_with("process_")) << line;
    for (const char* suffix : {"_count", "_sum", "_bucket", "_milliseconds", "_counter", "_gauge"}) EXPECT_FALSE(name.ends_with(suffix)) << line;
    EXPECT_EQ(name.ends_with("_total"), type == "counter") << line;
    counters += type == "counter" ? 1 : 0;
  }
  EXPECT_GT(counters, 10);
}

// The picker of the Gateway API takes the newest label set: older ones must not stay.
TEST_F(AdminTest, AdaptersInUseAreOneLabelSet) {
  start({.text = std::string(400, '?'), .token_time = std::chrono::milliseconds(5)});
  TestClient client(server_->port());
  const std::string body = Json{{"model", "poet"}, {"prompt", "x"}, {"max_tokens", 200}, {"ignore_eos", true}}.dump();
  client.send("POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Length: " + std::to_string(body.size()) +
              "\r\n\r\n" + body);
  ASSERT_TRUE(soon([&] { return get("/metrics").body.find("running_lora_adapters=\"poet\"") != std::string::npos; }));
  client.close();
  ASSERT_TRUE(soon([&] { return get("/metrics").body.find("running_lora_adapters=\"poet\"") == std::string::npos; }));
  const std::string text = get("/metrics").body;
  const size_t first = text.find("\nvllm:lora_requests_info{");
  ASSERT_NE(first, std::string::npos);
  EXPECT_EQ(text.find("\nvllm:lora_requests_info{", first + 1), std::string::npos);
}

TEST_F(AdminTest, PlainRoutesAreCountedUnderTheirOwnPath) {
  start();
  get("/v1/models");
  get("/v1/models/poet");
  get("/v1/models/nobody");
  get("/info");
  post("/tokenize", {{"inputs", "x"}});
  const std::string text = get("/metrics").body;
  for (const char* line : {"route=\"/v1/models\",status=\"200\"} 1", "route=\"/v1/models/*\",status=\"200\"} 1",
                           "route=\"/v1/models/*\",status=\"404\"} 1", "route=\"/info\",status=\"200\"} 1",
                           "route=\"/tokenize\",status=\"200\"} 1"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << "\n" << text;
  }
}

TEST(Refusal, FoldersOfThisMachineStayOutOfMessages) {
  Refusal refusal{.status = data_loss("/srv/a/b/c.json is broken, /srv/a/ too, not /srv/ab/d")};
  EXPECT_EQ(without_folders(refusal, {"/srv/a", "", "/"}).status.message(), "b/c.json is broken,  too, not /srv/ab/d");
  EXPECT_EQ(without_folders(refusal, {"/srv/a"}).status.code(), Code::kDataLoss);
  const Refusal relative{.status = data_loss("data/x and a/x")};
  EXPECT_EQ(without_folders(relative, {"a"}).status.message(), "data/x and x");
}

TEST(HealthWatch, SaysWhenTheEngineIsStuck) {
  HealthWatch watch(from_seconds(10));
  const auto at = [](double seconds) { return TimePoint(from_seconds(seconds)); };
  EngineStats stats;
  EXPECT_EQ(watch.verdict(stats, at(100), false), "");
  stats.running = 1;
  EXPECT_EQ(watch.verdict(stats, at(105), false), "");
  EXPECT_NE(watch.verdict(stats, at(120), false), "");
  stats.steps = 1;
  EXPECT_EQ(watch.verdict(stats, at(121), false), "");
  stats.running = 0;
  EXPECT_EQ(watch.verdict(stats, at(900), false), "");
  EXPECT_NE(watch.verdict(stats, at(901), true), "");
}

}  // namespace
}  // namespace umbel::serve
