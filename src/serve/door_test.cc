// The door alone, with a gate and handlers that do what they must not.
#include <atomic>
#include <functional>
#include <map>
#include <new>
#include <stdexcept>
#include <thread>

#include "serve/http.h"
#include "serve/serve_testing.h"

namespace umbel::serve {
namespace {

namespace asio = boost::asio;

// Admits every path that has a handler.
class TestGate final : public Gate {
 public:
  std::map<std::string, Handler> handlers;
  std::function<void()> before = [] {};
  std::atomic<int> reports{0}, last_status{0};  // of answered()

  std::variant<Admission, HttpReply> pass(const RequestHead& head) override {
    before();
    const auto found = handlers.find(head.request.path);
    if (found == handlers.end()) return HttpReply{.status = 404};
    head.caller = {.key = "someone", .tenant = 7, .address = head.peer.address};
    return Admission{.body_bytes_max = 1000,
                     .handler = &found->second,
                     .route = found->first,
                     .path_parameter = "part"};
  }
  Dialect dialect_of(std::string_view) const override { return Dialect::kOpenAi; }
  HttpHeaders answer_headers(const HttpRequest&, const Caller&) const override { return {{"x-gate", "yes"}}; }
  void answered(const AnsweredRequest& request) override {
    last_status = request.status;
    ++reports;
  }
};

class DoorTest : public testing::Test {
 protected:
  void SetUp() override {
    options_.port = 0;
    door_ = HttpDoor::open(options_, gate_).value();
  }
  Received ask(const std::string& path, const std::string& body = "{}") {
    return TestClient(door_->port()).request("POST", path, body);
  }

  ServeOptions options_;
  TestGate gate_;
  std::unique_ptr<HttpDoor> door_;
};

TEST_F(DoorTest, EveryAnswerIsReportedOnceWithItsStatus) {
  gate_.handlers["/ok"] = [](Exchange& exchange) -> asio::awaitable<void> {
    HttpReply reply{.status = 200};
    co_await exchange.reply(std::move(reply));
  };
  const auto reported = [&](int reports) {
    for (int i = 0; i < 2000 && gate_.reports < reports; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_EQ(gate_.reports.load(), reports);
    return gate_.last_status.load();
  };
  EXPECT_EQ(ask("/ok").status, 200);
  EXPECT_EQ(reported(1), 200);
  EXPECT_EQ(ask("/none").status, 404);
  EXPECT_EQ(reported(2), 404);
  EXPECT_EQ(ask("/ok", std::string(2000, 'x')).status, 413);
  EXPECT_EQ(reported(3), 413);
}

asio::awaitable<void> say_who(Exchange& exchange) {
  const Caller& caller = exchange.caller();
  const Json said = {{"key", caller.key},
                     {"tenant", caller.tenant},
                     {"address", caller.address},
                     {"part", exchange.request().path_parameter},
                     {"body", exchange.request().body}};
  exchange.release_body();
  HttpReply reply = json_reply(exchange.request().body.empty() ? 200 : 500, said);
  co_await exchange.reply(std::move(reply));
}

asio::awaitable<void> run_out(Exchange&) {
  throw std::bad_alloc();
  co_return;
}

asio::awaitable<void> run_out_in_a_stream(Exchange& exchange) {
  HttpReply head{.status = 200};
  co_await exchange.begin_stream(std::move(head));
  throw std::bad_alloc();
}

asio::awaitable<void> fail(Exchange&) {
  throw std::runtime_error("secret detail");
  co_return;
}

asio::awaitable<void> say_nothing(Exchange&) { co_return; }

TEST_F(DoorTest, AHandlerKnowsWhoAsksAndWhat) {
  gate_.handlers["/who"] = say_who;
  const Received answer = ask("/who", "body");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers.at("x-gate"), "yes");
  EXPECT_EQ(answer.json(), Json({{"key", "someone"}, {"tenant", 7}, {"address", "127.0.0.1"}, {"part", "part"}, {"body", "body"}}));
  EXPECT_EQ(ask("/who", std::string(1001, ' ')).status, 413) << "the route's own limit";
}

TEST_F(DoorTest, MemoryThatIsAtItsEndIsAnAnswer) {
  gate_.handlers["/oom"] = run_out;
  gate_.handlers["/stream"] = run_out_in_a_stream;
  gate_.handlers["/who"] = say_who;
  const Received answer = ask("/oom");
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.json()["error"]["code"], "out_of_memory");
  EXPECT_TRUE(answer.headers.contains("retry-after"));
  EXPECT_EQ(ask("/stream").status, 200) << "begun, and cut";
  gate_.before = [] { throw std::bad_alloc(); };
  EXPECT_EQ(ask("/who").status, 503) << "in the gate itself";
  gate_.before = [] {};
  EXPECT_EQ(ask("/who").status, 200);
}

TEST_F(DoorTest, WhatAHandlerThrowsOrForgetsIsOurFault) {
  gate_.handlers["/throw"] = fail;
  gate_.handlers["/nothing"] = say_nothing;
  for (const char* path : {"/throw", "/nothing"}) {
    const Received answer = ask(path);
    EXPECT_EQ(answer.status, 500) << path;
    EXPECT_EQ(answer.body.find("secret"), std::string::npos);
  }
}

}  // namespace
}  // namespace umbel::serve
