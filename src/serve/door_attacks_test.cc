// What strangers do to the door before or without a key: each kind in its shortest form, on a real socket.
#include <atomic>
#include <memory>
#include <vector>

#include "base/process_memory.h"
#include "serve/serve_testing.h"

namespace umbel::serve {
namespace {

class DoorAttacks : public ServeTest {
 protected:
  std::string post_head(const std::string& path, const std::string& headers) {
    return "POST " + path + " HTTP/1.1\r\nHost: t\r\n" + headers + "\r\n";
  }
};

TEST_F(DoorAttacks, TheKeyIsAskedBeforeAnyByteOfTheBody) {
  options_.api_key = "secret";
  start();
  TestClient client(server_->port());
  client.send(post_head("/v1/completions", "Content-Length: 16000000\r\n"));  // and no body at all
  const Received refused = client.receive();
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.headers.at("connection"), "close");
  TestClient waiting(server_->port());
  waiting.send(post_head("/generate", "Content-Length: 5\r\nExpect: 100-continue\r\n"));
  EXPECT_EQ(waiting.receive().status, 401) << "and not 100 Continue";
  TestClient chunked(server_->port());
  chunked.send(post_head("/generate", "Transfer-Encoding: chunked\r\n"));
  EXPECT_EQ(chunked.receive().status, 401);
}

TEST_F(DoorAttacks, RouteMethodAndLengthAreDecidedAtTheHeader) {
  start();
  for (const auto& [path, status] : {std::pair{"/nowhere", 404}, {"/health", 405}}) {
    TestClient client(server_->port());
    client.send(post_head(path, "Content-Length: 16000000\r\n"));
    EXPECT_EQ(client.receive().status, status) << path;
  }
  TestClient with_get(server_->port());
  with_get.send("GET /health HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n");
  EXPECT_EQ(with_get.receive().status, 413) << "whose body means nothing";
  TestClient long_body(server_->port());
  long_body.send(post_head("/v1/completions", "Content-Length: 16777217\r\n"));
  EXPECT_EQ(long_body.receive().status, 413);
}

TEST_F(DoorAttacks, ASmallRefusedBodyDoesNotBecomeTheNextRequest) {
  options_.api_key = "secret";
  start();
  TestClient client(server_->port());
  const std::string inner = "GET /health HTTP/1.1\r\nHost: t\r\n\r\n";
  client.send(post_head("/v1/completions", "Content-Length: " + std::to_string(inner.size()) + "\r\n") + inner);
  EXPECT_EQ(client.receive().status, 401);
  EXPECT_EQ(client.get("/nowhere").status, 404) << "the connection goes on behind the body";
}

TEST_F(DoorAttacks, TheSchemeIsReadInAnyCaseAndTheKeyIsNot) {
  options_.api_key = "Secret";
  start();
  TestClient client(server_->port());
  const auto status = [&](const std::string& headers) { return client.request("GET", "/info", "", headers).status; };
  for (const char* scheme : {"Bearer", "bearer", "BEARER"}) {
    EXPECT_EQ(status("Authorization: " + std::string(scheme) + " Secret\r\n"), 200) << scheme;
  }
  for (const char* bad : {"Bearer secret", "Bearer ", "Bearer", "Basic Secret", "Secret", "Bearer SecretSecret", ""}) {
    EXPECT_EQ(status("Authorization: " + std::string(bad) + "\r\n"), 401) << bad;
  }
  EXPECT_EQ(status("Authorization: Bearer x\r\nAuthorization: Bearer Secret\r\n"), 401);
}

TEST_F(DoorAttacks, AnEmptyKeyIsNoKey) {
  engine_ = std::make_unique<FakeEngine>();
  ServeParts parts;
  parts.engine = engine_.get();
  parts.tokenizer = seedling_tokenizer();
  options_.port = 0;
  options_.api_key = "";
  const auto server = Server::start(parts, options_);
  ASSERT_FALSE(server.ok());
  EXPECT_NE(server.status().message().find("--api-key"), std::string::npos);
}

TEST_F(DoorAttacks, AllBodiesTogetherHaveABudget) {
  options_.body_bytes_total = size_t{8} << 20;
  options_.body_wait = from_seconds(0.1);
  start();
  TestClient holder(server_->port());
  holder.send(post_head("/v1/completions", "Content-Length: 7000000\r\n"));
  TestClient late(server_->port()), chunked(server_->port());
  ASSERT_TRUE(soon([&] {
    TestClient probe(server_->port());
    probe.send(post_head("/v1/completions", "Content-Length: 1000000\r\n"));
    return probe.receive().status == 503;
  }));
  late.send(post_head("/v1/completions", "Content-Length: 1000000\r\n"));
  const Received refused = late.receive();
  EXPECT_EQ(refused.status, 503);
  EXPECT_TRUE(refused.headers.contains("retry-after"));
  chunked.send(post_head("/v1/completions", "Transfer-Encoding: chunked\r\n") + "100000\r\n" + std::string(1 << 20, ' '));
  EXPECT_EQ(chunked.receive().status, 503);
  EXPECT_EQ(post("/v1/completions", {{"prompt", "x"}}).status, 200) << "small bodies still pass";
  holder.close();
  EXPECT_TRUE(soon([&] {
    return TestClient(server_->port()).request("POST", "/generate", std::string(1'000'000, ' ')).status != 503;
  }));
}

TEST_F(DoorAttacks, ABodyWaitsForItsTurn) {
  options_.body_bytes_total = size_t{8} << 20;
  start();
  TestClient holder(server_->port());
  holder.send(post_head("/v1/completions", "Content-Length: 7000000\r\n"));
  TestClient waiting(server_->port());
  waiting.send(post_head("/v1/completions", "Content-Length: 1000000\r\nExpect: 100-continue\r\n"));
  std::atomic<bool> went_on{false};
  std::thread reader([&] {
    EXPECT_EQ(waiting.receive_some(), "HTTP/1.1 100 Continue\r\n\r\n");
    went_on.store(true);
  });
  holder.close();
  reader.join();
  EXPECT_TRUE(went_on.load());
}

TEST_F(DoorAttacks, EndlessExtensionsTrailersAndHeadersAreCutOffInBoundedMemory) {
  start();
  const size_t before = resident_bytes();
  const std::string chunked = post_head("/v1/completions", "Transfer-Encoding: chunked\r\n");
  std::string trailers;
  for (int i = 0; i < 500; ++i) trailers += "T" + std::to_string(i) + ": " + std::string(1000, 'x') + "\r\n";
  const std::string line(size_t{1} << 19, 'x');
  for (const auto& [first, more] : {std::pair{chunked + "0\r\n", trailers}, {chunked + "1;a=", line},
                                    {"GET / HTTP/1.1\r\nHost: t\r\nX: ", line}, {"GET /", line}}) {
    TestClient client(server_->port());
    client.send(first);
    for (int i = 0; i < 64; ++i) client.send(more);  // 32 MB, most of it thrown away
    const Received refused = client.receive();
    EXPECT_EQ(refused.status, 431) << first.substr(0, 40);
    EXPECT_EQ(refused.headers.at("connection"), "close");
  }
  EXPECT_LT(resident_bytes(), before + (size_t{24} << 20));
}

TEST_F(DoorAttacks, OddFramingSmugglesNothing) {
  start();
  const std::string inner = "GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
  for (const char* headers :
       {"Transfer-Encoding: chunked, identity", "Transfer-Encoding: identity", "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4", "Content-Length: 4\r\nContent-Length: 5",
        "X: y\r\n Transfer-Encoding: chunked", "Transfer-Encoding : chunked", "Content-Length: 0\nX: y",
        "Host: other"}) {
    TestClient client(server_->port());
    client.send(post_head("/tokenize", std::string(headers) + "\r\n") + inner);
    const Received refused = client.receive();
    EXPECT_TRUE(refused.status == 400 || refused.status == 501) << headers << ": " << refused.status;
    EXPECT_EQ(refused.headers.at("connection"), "close") << headers;
    EXPECT_EQ(client.receive_some(), "") << headers;
  }
}

TEST_F(DoorAttacks, AClientThatSendsMoreAndLeavesIsNoticed) {
  start({.text = std::string(600, '?'), .token_time = from_seconds(0.01)});
  const std::string body = Json({{"prompt", "x"}, {"max_tokens", 200}, {"ignore_eos", true}}).dump();
  const std::string request =
      post_head("/v1/completions", "Content-Length: " + std::to_string(body.size()) + "\r\n") + body;
  int cancelled = 0;
  for (const std::string& more : {std::string("G"), std::string("GET /health HTTP/1.1\r\nHost: t\r\n\r\n"),
                                  std::string(200'000, 'x')}) {
    TestClient client(server_->port());
    client.send(request);
    ASSERT_TRUE(soon([&] { return engine_->running() == 1; }));
    client.send(more);
    client.close();
    EXPECT_TRUE(soon([&] { return engine_->running() == 0; }));
    EXPECT_EQ(engine_->cancelled(), ++cancelled) << more.size();
  }
}

TEST_F(DoorAttacks, AHeaderHasOneTimeHoweverItComes) {
  options_.header_timeout = from_seconds(0.3);
  start();
  TestClient client(server_->port());
  client.send("GET /health HTTP/1.1\r\nHost: t\r\n");
  std::atomic<bool> cut{false};
  std::thread drip([&] {
    for (int i = 0; i < 2000 && !cut.load(); ++i) {
      client.send("X: y\r\n");
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  });
  EXPECT_EQ(client.receive_some(), "");
  cut.store(true);
  drip.join();
}

TEST_F(DoorAttacks, HalfOpenCrowdsShutNobodyOut) {
  options_.connections_max = 8;
  start();
  std::vector<std::unique_ptr<TestClient>> crowd;
  for (int i = 0; i < 100; ++i) {
    crowd.push_back(std::make_unique<TestClient>(server_->port()));
    if (i % 3 == 1) crowd.back()->send("POST /v1/completions HTTP/1.1\r\nHost: t\r\n");
    if (i % 3 == 2) crowd.back()->send(post_head("/v1/completions", "Content-Length: 1000\r\n") + "{");
  }
  EXPECT_EQ(get("/health").status, 200);
  EXPECT_EQ(post("/v1/completions", {{"prompt", "x"}}).status, 200);
}

TEST_F(DoorAttacks, NamesThatStrangersOwnAreNotAnswered) {
  options_.allowed_hosts = {"llm.example.org"};
  start();
  const auto status = [&](const std::string& host) {
    TestClient client(server_->port());
    client.send("GET /v1/models HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
    return client.receive().status;
  };
  for (const char* host : {"127.0.0.1:8080", "localhost", "[::1]:1", "umbel", "llm.example.org:80"}) {
    EXPECT_EQ(status(host), 200) << host;
  }
  EXPECT_EQ(status("evil.example"), 403);
  TestClient absolute(server_->port());
  absolute.send("GET http://evil.example/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(absolute.receive().status, 403);
  EXPECT_EQ(status("127.0.0.1.evil.example:8080"), 403);
  EXPECT_EQ(status("a b"), 400);
}

TEST_F(DoorAttacks, AKeyAnswersToAnyName) {
  options_.api_key = "secret";
  start();
  TestClient client(server_->port());
  client.send("GET /v1/models HTTP/1.1\r\nHost: llm.example.org\r\nAuthorization: Bearer secret\r\n\r\n");
  EXPECT_EQ(client.receive().status, 200);
}

TEST_F(DoorAttacks, PagesOfOtherSitesChangeNothing) {
  start();
  const auto status = [&](const std::string& headers) {
    const std::string body = R"({"lora_name": "nobody"})";
    TestClient client(server_->port());
    client.send("POST /v1/unload_lora_adapter HTTP/1.1\r\n" + headers +
                "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    return client.receive().status;
  };
  const std::string json = "Content-Type: application/json; charset=utf-8\r\n";
  EXPECT_EQ(status("Host: localhost\r\n" + json), 404) << "it was tried";
  EXPECT_EQ(status("Host: localhost\r\n"), 404) << "no browser leaves both out";
  EXPECT_EQ(status("Host: localhost:80\r\nOrigin: http://localhost\r\n" + json), 404);
  EXPECT_EQ(status("Host: localhost\r\nOrigin: http://localhost\r\n"), 415);
  EXPECT_EQ(status("Host: localhost\r\nSec-Fetch-Site: cross-site\r\n"), 415);
  EXPECT_EQ(status("Host: localhost\r\nContent-Type: text/plain\r\n"), 415);
  EXPECT_EQ(status("Host: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"), 415);
  EXPECT_EQ(status("Host: localhost\r\nOrigin: http://evil.example\r\n" + json), 403);
  EXPECT_EQ(status("Host: localhost\r\nOrigin: null\r\n" + json), 403);
  EXPECT_EQ(status("Host: localhost\r\nOrigin: http://localhost:3000\r\n" + json), 403);
  EXPECT_EQ(status("Host: evil.example\r\nOrigin: http://evil.example\r\n" + json), 403);
  EXPECT_EQ(library_.list().size(), 2u);
}

TEST_F(DoorAttacks, OtherOriginsGetNoPermission) {
  start();
  const auto allowed = [&](const std::string& method, const std::string& origin) {
    const Received answer =
        TestClient(server_->port()).request(method, "/v1/models", "", "Origin: " + origin + "\r\n");
    const auto found = answer.headers.find("access-control-allow-origin");
    return found == answer.headers.end() ? std::string() : found->second;
  };
  for (const char* method : {"GET", "OPTIONS"}) {
    EXPECT_EQ(allowed(method, "http://evil.example"), "") << method;
    EXPECT_EQ(allowed(method, "http://localhost:5173"), "http://localhost:5173") << method;
  }
}

TEST_F(DoorAttacks, NoSpellingOfAPathBecomesALabel) {
  start();
  EXPECT_EQ(post("/v1/%63ompletions", {{"prompt", "x"}}).status, 200);
  EXPECT_EQ(post("/%76%31/completions", Json::object()).status, 400);
  EXPECT_EQ(get("/v1/models/%70oet").status, 200);
  EXPECT_EQ(get("/" + std::string(100, 'y')).status, 404);
  const std::string metrics = get("/metrics").body;
  EXPECT_NE(metrics.find("route=\"/v1/completions\""), std::string::npos);
  for (const char* stranger : {"%63", "%76", "%70", "yyy"}) EXPECT_EQ(metrics.find(stranger), std::string::npos);
}

TEST_F(DoorAttacks, PathsAreDecodedOnceAfterTheyAreSplit) {
  library_.add("org/name");
  library_.add("50%25");
  start();
  EXPECT_EQ(get("/v1/models/org%2Fname").json()["id"], "org/name");
  EXPECT_EQ(get("/v1/models/org/name").json()["id"], "org/name");
  EXPECT_EQ(get("/v1/models/%62anking").json()["id"], "banking");
  EXPECT_EQ(get("/v1/models/50%2525").json()["id"], "50%25") << "once";
  EXPECT_EQ(get("/v1/%6dodels").status, 200);
  EXPECT_EQ(get("/v1%2Fmodels").status, 404);
  EXPECT_EQ(get("/v1/models/").status, 404);
  EXPECT_EQ(get("/metrics/").status, 404);
  for (const char* bad : {"/v1/models/%", "/v1/models/%4", "/v1/models/%zz", "/%", "/v1/models/a%00%"}) {
    EXPECT_EQ(get(bad).status, 400) << bad;
  }
  const Received unknown = get("/v1/models/" + std::string(20'000, 'x'));
  EXPECT_EQ(unknown.status, 404);
  EXPECT_LT(unknown.body.size(), 1000u);
  EXPECT_LT(get("/" + std::string(20'000, 'x')).body.size(), 1000u);
}

}  // namespace
}  // namespace umbel::serve
