// The main job on real input, through the real program: a server with all adapters, the demo's clients, an adapter trained and
// picked up without a restart, the load generator, a graceful end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "program.h"

namespace umbel::testing {
namespace {

using ::testing::HasSubstr;

class EndToEnd : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = Path(::testing::TempDir()) / "umbel_end_to_end";
    std::filesystem::remove_all(dir_);
    std::filesystem::copy(project_dir() / "assets/adapters", dir_, std::filesystem::copy_options::recursive);
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  Path dir_;
};

std::string complete(const std::string& url, const std::string& model, const std::string& prompt) {
  load::Client client(url, "", from_seconds(60));
  return client.run({.model = model, .prompt_text = prompt, .max_tokens = 16, .ignore_eos = false}, RealClock().now()).text;
}

TEST_F(EndToEnd, SixteenStreamingClientsOverElevenNamesGetWhatTheyGetAlone) {
  ServerProcess server(dir_.string());
  ASSERT_FALSE(server.url().empty()) << server.greeting();
  const Finished demo = run_program("demo --json --rows 4 --clients 16 --url " + server.url());
  ASSERT_EQ(demo.status, 0) << demo.error << demo.out;
  const Json json = Json::parse(demo.out);
  EXPECT_EQ(json["models"].size(), 11u);
  EXPECT_EQ(json["all_same"], true);
  for (const auto& [name, tally] : json["models"].items()) EXPECT_EQ(tally["same_tokens_as_alone"], 4) << name;
  EXPECT_EQ(server.stop(), 0);
}

TEST_F(EndToEnd, ASecondSignalEndsAServerThatIsStillAnswering) {
  ServerProcess server(dir_.string());
  ASSERT_FALSE(server.url().empty()) << server.greeting();
  std::vector<std::thread> clients;  // 24000 tokens: seconds of work on any machine
  for (int i = 0; i < 24; ++i) {
    clients.emplace_back([&] {
      load::Client client(server.url(), "", from_seconds(60));
      (void)client.run({.prompt_text = "Once", .max_tokens = 1000, .ignore_eos = true}, RealClock().now());
    });
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(server.stop_at_once(), 130);
  for (std::thread& client : clients) client.join();
}

// A terminal that goes away says so twice.
TEST_F(EndToEnd, AHangupDrainsAsATermDoes) {
  ServerProcess server(dir_.string());
  ASSERT_FALSE(server.url().empty()) << server.greeting();
  load::Record record;
  std::thread reader([&] {
    load::Client client(server.url(), "", from_seconds(60));
    record = client.run({.prompt_text = "Once", .max_tokens = 400, .ignore_eos = true}, RealClock().now());
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  kill(server.pid(), SIGHUP);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(server.stop(SIGHUP), 0);
  reader.join();
  EXPECT_TRUE(record.ok || record.error.find("503") != std::string::npos) << record.error;  // begun before it, or refused after it
  if (record.ok) EXPECT_EQ(record.tokens, 400);
}

TEST_F(EndToEnd, AnIgnoredHangupStaysIgnored) {
  const auto before = std::signal(SIGHUP, SIG_IGN);  // as nohup does; children inherit it
  ServerProcess server(dir_.string());
  std::signal(SIGHUP, before);
  ASSERT_FALSE(server.url().empty()) << server.greeting();
  kill(server.pid(), SIGHUP);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_FALSE(complete(server.url(), "", "Once").empty());
  EXPECT_EQ(server.stop(), 0);
}

// 200 GB of holes: hashing them would take minutes, and memory for them there is none.
TEST_F(EndToEnd, AGiantFolderHoldsUpNeitherStartNorAnswersNorTheEnd) {
  std::filesystem::copy(dir_ / "clinc150-ia3", dir_ / "giant");
  std::filesystem::resize_file(dir_ / "giant/adapter_model.safetensors", uint64_t{200} << 30);
  ServerProcess server(dir_.string());
  ASSERT_FALSE(server.url().empty()) << server.greeting();
  EXPECT_EQ(complete(server.url(), "clinc150-lora-r3", "Query: please clear my calendar\nIntent:"), " calendar update");
  EXPECT_EQ(server.stop(), 0);
}

TEST_F(EndToEnd, ATrainedAdapterIsPickedUpByARunningServer) {
  ServerProcess server(dir_.string());
  ASSERT_FALSE(server.url().empty()) << server.greeting();
  const Path rows = dir_ / "rows.jsonl";
  {
    std::ofstream file(rows);
    for (int i = 0; i < 64; ++i) file << Json{{"prompt", "Number " + std::to_string(i) + ":"}, {"completion", " plum pudding"}}.dump() << "\n";
  }
  const Finished train = run_program("train --json --base seedling --dtype f32 --kind lora --lr 1e-2 --epochs 8 --batch 16 --data " + rows.string() +
                                " --eval-data " + rows.string() + " --out " + (dir_ / "pudding").string());
  ASSERT_EQ(train.status, 0) << train.error;
  const Json job = Json::parse(train.out)["jobs"][0];
  EXPECT_LT(job["eval_loss"].get<double>(), 0.2);
  EXPECT_GT(job["base_eval_loss"].get<double>(), 2.0);
  std::string answer;
  for (int tenth = 0; tenth < 600 && answer.empty(); ++tenth) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    answer = complete(server.url(), "pudding", "Number 7:");
  }
  EXPECT_EQ(answer, " plum pudding");
  EXPECT_EQ(server.stop(), 0);
}

TEST_F(EndToEnd, TheLoadGeneratorReportsEveryRequest) {
  ServerProcess server(dir_.string());
  ASSERT_FALSE(server.url().empty()) << server.greeting();
  const Path page = dir_ / "report.html";
  const std::string load = "bench --json --requests 12 --clients 4 --prompt-tokens 8 --max-tokens 6 --mix zipf --slo-ttft 60 --url " + server.url();
  const Finished closed = run_program(load + " --html " + page.string());
  ASSERT_EQ(closed.status, 0) << closed.error;
  const Json report = Json::parse(closed.out);
  EXPECT_EQ(report["requests"], 12);
  EXPECT_EQ(report["failed"], 0);
  EXPECT_EQ(report["output_tokens"], 72);
  EXPECT_EQ(report["popularity"].size(), 11u);
  EXPECT_GT(report["goodput_requests_per_s"].get<double>(), 0);
  EXPECT_THAT(read_file(page).value(), HasSubstr("<svg"));
  const Finished open = run_program(load + " --rate 50 --arrival-cv 2");
  EXPECT_EQ(Json::parse(open.out)["failed"], 0) << open.error;
}

TEST_F(EndToEnd, ABrokenAdapterFailsByItselfAndIsMendedWithoutARestart) {
  const Path broken = dir_ / "broken";
  std::filesystem::create_directories(broken);
  std::filesystem::copy(dir_ / "clinc150-ia3", broken, kReplace);
  std::filesystem::resize_file(broken / "adapter_model.safetensors", 1000);
  ServerProcess server(dir_.string());
  ASSERT_FALSE(server.url().empty()) << server.greeting();
  load::Client client(server.url(), "", from_seconds(60));
  const std::string prompt = "Query: please clear my calendar\nIntent:";
  const load::Record refused = client.run({.model = "broken", .prompt_text = prompt, .max_tokens = 4}, RealClock().now());
  EXPECT_FALSE(refused.ok);
  EXPECT_THAT(refused.error, ::testing::Not(HasSubstr("HTTP 500"))) << refused.error;
  const std::string good = complete(server.url(), "clinc150-ia3", prompt);
  EXPECT_FALSE(good.empty());
  std::filesystem::copy(dir_ / "clinc150-ia3", broken, kReplace);
  std::string mended;
  for (int tenth = 0; tenth < 600 && mended.empty(); ++tenth) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    mended = complete(server.url(), "broken", prompt);
  }
  EXPECT_EQ(mended, good);
}

// Half a copy, then another adapter's files: the name goes on with the old version, then leads to the new one; the old one answers by number.
TEST_F(EndToEnd, ANewVersionTakesOverOnlyWhenItIsWhole) {
  const Path live = dir_ / "live", tensors = live / "adapter_model.safetensors";
  std::filesystem::copy(dir_ / "clinc150-ia3", live);
  ServerProcess server(dir_.string(), {"--keep-versions", "1"});
  ASSERT_FALSE(server.url().empty()) << server.greeting();
  const std::string prompt = "Query: please clear my calendar\nIntent:";
  const std::string before = complete(server.url(), "live", prompt);
  const auto shown = [&] { return Json::parse(load::Client(server.url(), "", from_seconds(60)).get("/v1/models/live").value()); };
  std::filesystem::copy(dir_ / "banking77-flora-r1", live, kReplace);
  std::filesystem::resize_file(tensors, 5000);  // long before it has rested
  Json model;
  const auto until = [&](const auto& condition) {
    for (int tenth = 0; tenth < 200 && !condition(model = shown()); ++tenth) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return condition(model);
  };
  ASSERT_TRUE(until([](const Json& now) { return now.contains("update") && now["update"].contains("error"); })) << model.dump();
  EXPECT_EQ(model["version"], 1);
  EXPECT_EQ(complete(server.url(), "live", prompt), before);
  std::filesystem::copy(dir_ / "banking77-flora-r1", live, kReplace);
  ASSERT_TRUE(until([](const Json& now) { return now["version"] > 1; })) << model.dump();
  EXPECT_FALSE(model.contains("update")) << model.dump();
  EXPECT_EQ(model["kept_versions"][0]["version"], 1);
  EXPECT_EQ(complete(server.url(), "live", prompt), complete(server.url(), "banking77-flora-r1", prompt));
  EXPECT_EQ(complete(server.url(), "live@1", prompt), before);
}

}  // namespace
}  // namespace umbel::testing
