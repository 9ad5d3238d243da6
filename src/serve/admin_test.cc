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
}

TEST_F(AdminTest, MetricsCountRequestsByAdapterUpToACap) {
  options_.adapter_labels_max = 2;
  library_.add("third");
  start();
  int answered = 0;
  for (const char* model : {"seedling", "poet", "third"}) {
    ASSERT_EQ(post("/v1/completions", {{"model", model}, {"prompt", "x"}}).status, 200);
    const std::string counted = "umbel_request_seconds_count " + std::to_string(++answered);
    ASSERT_TRUE(
        soon([&] { return get("/metrics").body.find(counted) != std::string::npos; }));  // right after the answer
  }
  post("/v1/completions", {{"model", "nobody-knows-this"}, {"prompt", "x"}});
  const std::string text = get("/metrics").body;
  for (const char* line :
       {"umbel_requests_total{adapter=\"base\",route=\"/v1/completions\",status=\"200\"} 1",
        "umbel_requests_total{adapter=\"poet\",route=\"/v1/completions\",status=\"200\"} 1",
        "umbel_requests_total{adapter=\"other\",route=\"/v1/completions\",status=\"200\"} 1",
        "umbel_time_to_first_token_seconds_count 3", "umbel_request_seconds_count 3",
        "umbel_inter_token_seconds_bucket", "umbel_queue_seconds_count 3", "umbel_kv_blocks_total 64",
        "umbel_adapters{state=\"known\"} 3", "umbel_adapter_resident_bytes 4096"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << "\n" << text;
  }
  EXPECT_EQ(text.find("nobody"), std::string::npos);
  EXPECT_NE(text.find("umbel_adapter_bytes{adapter=\"banking\"}"), std::string::npos) << text;
  ASSERT_TRUE(library_.unload("banking").ok());
  EXPECT_EQ(get("/metrics").body.find("umbel_adapter_bytes{adapter=\"banking\"}"), std::string::npos);
  EXPECT_EQ(text.find("adapter=\"third\",route"), std::string::npos);
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
