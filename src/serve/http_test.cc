#include "serve/http.h"

#include <atomic>

#include "serve/serve_testing.h"

namespace umbel::serve {
namespace {

class HttpTest : public ServeTest {};

TEST_F(HttpTest, OneConnectionCarriesManyRequests) {
  start();
  TestClient client(server_->port());
  for (int i = 0; i < 3; ++i) {
    const Received answer = client.post("/v1/completions", {{"prompt", "x"}, {"stream", i == 1}});
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.headers.at("connection"), "keep-alive");
  }
  EXPECT_EQ(client.get("/health").status, 200);
}

TEST_F(HttpTest, RequestsSentAheadAreAnsweredInOrder) {
  start();
  TestClient client(server_->port());
  client.send(
      "GET /v1/models/seedling HTTP/1.1\r\nHost: t\r\n\r\nGET /v1/models/poet HTTP/1.1\r\nHost: t\r\n\r\n"
      "POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Length: 14\r\n\r\n{\"prompt\":\"x\"}GET /none "
      "HTTP/1.1\r\nHost: t\r\n\r\n");
  EXPECT_EQ(client.receive().json()["id"], "seedling");
  EXPECT_EQ(client.receive().json()["id"], "poet");
  EXPECT_EQ(client.receive().json()["object"], "text_completion");
  EXPECT_EQ(client.receive().status, 404);
}

TEST_F(HttpTest, AnOldClientGetsAnAnswerAndTheEnd) {
  start();
  TestClient client(server_->port());
  client.send("POST /v1/completions HTTP/1.0\r\nContent-Length: 28\r\n\r\n{\"prompt\":\"x\",\"stream\":true}");
  const Received answer = client.receive();
  EXPECT_EQ(answer.status, 200);
  EXPECT_FALSE(answer.headers.contains("transfer-encoding"));
  EXPECT_EQ(answer.headers.at("connection"), "close");
  EXPECT_EQ(answer.events().back(), "[DONE]");
}

TEST_F(HttpTest, ChunkedBodiesAreRead) {
  start();
  TestClient client(server_->port());
  client.send(
      "POST /v1/completions HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: "
      "chunked\r\n\r\n5\r\n{\"pro\r\n9\r\nmpt\":\"x\"}\r\n0\r\n\r\n");
  EXPECT_EQ(client.receive().status, 200);
}

TEST_F(HttpTest, ExpectContinueIsHonoured) {
  start();
  TestClient client(server_->port());
  client.send("POST /v1/completions HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 14\r\n\r\n");
  EXPECT_EQ(client.receive_some(), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("{\"prompt\":\"x\"}");
  EXPECT_EQ(client.receive().status, 200);
}

TEST_F(HttpTest, LimitsAreStatuses) {
  options_.body_bytes_max = 1000;
  options_.header_bytes_max = 2000;
  start();
  const Received body = TestClient(server_->port()).request("POST", "/generate", std::string(2000, ' '));
  EXPECT_EQ(body.status, 413);
  EXPECT_TRUE(body.json()["error"].is_string()) << body.body;  // LoRAX's shape on LoRAX's path
  const Received openai_body = TestClient(server_->port()).request("POST", "/v1/completions", std::string(2000, ' '));
  EXPECT_EQ(openai_body.status, 413);
  EXPECT_NE(openai_body.json()["error"]["message"].get<std::string>().find("1000"), std::string::npos);
  const Received header =
      TestClient(server_->port()).request("GET", "/health", "", "X-Long: " + std::string(5000, 'x') + "\r\n");
  EXPECT_EQ(header.status, 431);
  const Received huge = TestClient(server_->port()).request("POST", "/v1/completions", std::string(4 << 20, ' '));
  EXPECT_EQ(huge.status, 413);  // although the client was still sending
  TestClient chunked(server_->port());
  chunked.send("POST /v1/completions HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" +
               std::string(2000, ' '));
  EXPECT_EQ(chunked.receive().status, 413);
}

TEST_F(HttpTest, NonsenseIsRefusedAndTheServerLives) {
  start();
  for (const char* nonsense : {"\r\n\r\n\r\n", "GET\r\n\r\n", "\x16\x03\x01\x02", "GET / HTTP/9.9\r\n\r\n",
                               "GET / HTTP/1.1\r\nbad header\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
                               "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
                               "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}) {
    TestClient client(server_->port());
    client.send(nonsense);
    EXPECT_EQ(client.receive().status / 100, 4) << nonsense;
  }
  EXPECT_EQ(get("/health").status, 200);
}

TEST_F(HttpTest, SlowSendersAreCutOff) {
  options_.read_timeout = from_seconds(0.2);
  options_.idle_timeout = from_seconds(0.3);
  start();
  TestClient half(server_->port());
  half.send("POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Length: 14\r\n\r\n{\"pro");
  EXPECT_EQ(half.receive_some(), "");
  TestClient silent(server_->port());
  EXPECT_EQ(silent.receive_some(), "");
  TestClient idle(server_->port());
  EXPECT_EQ(idle.get("/health").status, 200);
  EXPECT_EQ(idle.receive_some(), "");
}

TEST_F(HttpTest, TooManyConnectionsAreToldSo) {
  options_.connections_max = 2;
  start({.text = std::string(600, '?'), .token_time = from_seconds(0.01)});
  TestClient first(server_->port()), second(server_->port());
  const std::string body = Json({{"prompt", "x"}, {"max_tokens", 200}, {"ignore_eos", true}}).dump();
  for (TestClient* client : {&first, &second}) {
    client->send("POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Length: " + std::to_string(body.size()) +
                 "\r\n\r\n" + body);
  }
  ASSERT_TRUE(soon([&] { return engine_->running() == 2; }));
  const Received third = get("/v1/models");
  EXPECT_EQ(third.status, 503);
  EXPECT_TRUE(third.headers.contains("retry-after"));
  EXPECT_EQ(get("/health").status, 200) << "places are kept for it";
  EXPECT_EQ(get("/metrics").status, 200);
  first.close();
  EXPECT_TRUE(soon([&] { return get("/v1/models").status == 200; }));
}

TEST_F(HttpTest, RoutesMethodsAndPreflight) {
  start();
  EXPECT_EQ(get("/nowhere").status, 404);
  const Received wrong = get("/v1/completions");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.headers.at("allow"), "POST");
  EXPECT_EQ(get("/health?verbose=1").status, 200);
  const Received head = TestClient(server_->port()).request("HEAD", "/v1/models");
  EXPECT_EQ(head.status, 200);
  EXPECT_NE(head.headers.at("content-length"), "0");
  const Received preflight =
      TestClient(server_->port()).request("OPTIONS", "/generate", "", "Origin: http://localhost:3000\r\n");
  EXPECT_EQ(preflight.status, 204);
  EXPECT_EQ(preflight.headers.at("access-control-allow-origin"), "http://localhost:3000");
  EXPECT_EQ(preflight.headers.at("access-control-allow-methods"), "POST");
}

TEST_F(HttpTest, RequestIdsComeBack) {
  start();
  TestClient client(server_->port());
  EXPECT_EQ(client.post("/v1/completions", {{"prompt", "x"}}, "X-Request-Id: abc-123\r\n").headers.at("x-request-id"),
            "abc-123");
  const std::string made = client.get("/health").headers.at("x-request-id");
  EXPECT_TRUE(made.starts_with("req-"));
  EXPECT_NE(client.get("/health").headers.at("x-request-id"), made);
  const Received odd = client.request("GET", "/health", "", "X-Request-Id: with space\r\n");
  EXPECT_TRUE(odd.headers.at("x-request-id").starts_with("req-"));
}

TEST_F(HttpTest, TheApiKeyGuardsAllButHealth) {
  options_.api_key = "secret";
  start();
  EXPECT_EQ(get("/health").status, 200);
  for (const char* path : {"/v1/models", "/info", "/metrics"}) EXPECT_EQ(get(path).status, 401) << path;
  const Received openai = post("/v1/completions", {{"prompt", "x"}});
  EXPECT_EQ(openai.status, 401);
  EXPECT_EQ(openai.json()["error"]["code"], "invalid_api_key");
  EXPECT_EQ(openai.headers.at("www-authenticate"), "Bearer");
  const Received lorax = post("/generate", {{"inputs", "x"}});
  EXPECT_EQ(lorax.status, 401);
  EXPECT_EQ(lorax.json()["error_type"], "unauthorized");
  TestClient client(server_->port());
  for (const char* bad :
       {"Authorization: Bearer secre\r\n", "Authorization: Bearer secrets\r\n", "Authorization: secret\r\n"}) {
    EXPECT_EQ(client.post("/v1/completions", {{"prompt", "x"}}, bad).status, 401);
  }
  EXPECT_EQ(client.post("/v1/completions", {{"prompt", "x"}}, "Authorization: Bearer secret\r\n").status, 200);
}

TEST_F(HttpTest, APortInUseNamesTheRemedy) {
  start();
  ServeOptions same;
  same.port = server_->port();
  FakeEngine engine;
  ServeParts parts;
  parts.engine = &engine;
  parts.tokenizer = seedling_tokenizer();
  const auto second = Server::start(parts, same);
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.status().message().find("--port"), std::string::npos);
  same.host = "no.such.host.invalid";
  EXPECT_FALSE(Server::start(parts, same).ok());
}

TEST_F(HttpTest, AClientThatLeavesIsCancelled) {
  start({.text = std::string(600, '?'), .token_time = from_seconds(0.01)});
  for (const bool stream : {true, false}) {
    TestClient client(server_->port());
    const std::string body =
        Json({{"prompt", "x"}, {"max_tokens", 200}, {"ignore_eos", true}, {"stream", stream}}).dump();
    client.send("POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Length: " + std::to_string(body.size()) +
                "\r\n\r\n" + body);
    ASSERT_TRUE(soon([&] { return engine_->running() == 1; }));
    client.close();
    EXPECT_TRUE(soon([&] { return engine_->running() == 0; }));
    EXPECT_EQ(engine_->cancelled(), stream ? 1 : 2);
  }
}

TEST_F(HttpTest, ShutdownLetsStreamsFinishAndRefusesNewOnes) {
  start({.text = " one two three four five six seven", .token_time = from_seconds(0.02)});
  TestClient client(server_->port());
  const std::string body = Json({{"prompt", "x"}, {"max_tokens", 50}, {"stream", true}}).dump();
  client.send("POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Length: " + std::to_string(body.size()) +
              "\r\n\r\n" + body);
  ASSERT_TRUE(soon([&] { return engine_->running() == 1; }));
  TestClient waiting(server_->port());
  EXPECT_EQ(waiting.get("/health").status, 200);
  std::thread closing([&] { server_->shutdown(from_seconds(10)); });
  EXPECT_TRUE(soon([&] { return TestClient(server_->port()).get("/health").status == 503; }));
  const Received refused = waiting.post("/v1/completions", {{"prompt", "x"}});
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers.at("connection"), "close");
  const Received answer = client.receive();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.events().back(), "[DONE]");
  closing.join();
  EXPECT_EQ(engine_->cancelled(), 0);
}

TEST_F(HttpTest, ShutdownCancelsWhatTakesTooLong) {
  start({.text = std::string(600, '?'), .token_time = from_seconds(0.02)});
  TestClient client(server_->port());
  const std::string body = Json({{"prompt", "x"}, {"max_tokens", 200}, {"ignore_eos", true}, {"stream", true}}).dump();
  client.send("POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Length: " + std::to_string(body.size()) +
              "\r\n\r\n" + body);
  ASSERT_TRUE(soon([&] { return engine_->running() == 1; }));
  const auto begun = std::chrono::steady_clock::now();
  server_->shutdown(from_seconds(0.1));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(4));
  EXPECT_EQ(engine_->cancelled(), 1);
  const std::vector<Json> events = client.receive().events();
  ASSERT_GE(events.size(), 2u);
  EXPECT_EQ(events[events.size() - 2]["error"]["code"], "shutting_down");
}

TEST_F(HttpTest, ManyClientsAtOnceGetTheirOwnAnswers) {
  FakeScript script{.token_time = from_seconds(0.0005)};
  for (int i = 0; i < 16; ++i) {
    library_.add("a" + std::to_string(i));
    script.by_adapter["a" + std::to_string(i)] = " answer number " + std::to_string(i) + " for you";
  }
  options_.http_threads = 4;
  start(script);
  std::atomic<int> right{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 16; ++i) {
    clients.emplace_back([&, i] {
      TestClient client(server_->port());
      for (int round = 0; round < 4; ++round) {
        const Received answer = client.post(
            "/v1/completions",
            {{"model", "a" + std::to_string(i)}, {"prompt", "x"}, {"max_tokens", 60}, {"stream", round % 2 == 0}});
        std::string text;
        if (round % 2 == 0) {
          for (const Json& event : answer.events()) {
            if (event.is_object()) text += event["choices"][0]["text"].get<std::string>();
          }
        } else {
          text = answer.json()["choices"][0]["text"];
        }
        right += text == " answer number " + std::to_string(i) + " for you";
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(right.load(), 64);
}

}  // namespace
}  // namespace umbel::serve
