// The time before the model is there: everything is 503, nobody is refused a connection, and the port goes over to the server.
#include "serve/loading.h"

#include "serve/listener.h"
#include "serve/serve_testing.h"

namespace umbel::serve {
namespace {

class LoadingTest : public ServeTest {};

TEST_F(LoadingTest, EverythingIs503UntilTheServerTakesThePortOver) {
  options_.port = 0;
  auto loading = LoadingServer::start(options_).value();
  const uint16_t port = loading->port();
  for (const char* path : {"/health", "/ping", "/metrics", "/v1/models", "/nowhere"}) {
    const Received reply = TestClient(port).get(path);
    EXPECT_EQ(reply.status, 503) << path;
    EXPECT_NE(reply.body.find("the model is being loaded"), std::string::npos) << reply.body;
    EXPECT_EQ(reply.headers.at("retry-after"), "2");
  }
  const Received question = TestClient(port).post("/v1/completions", {{"prompt", "x"}});
  EXPECT_EQ(question.status, 503);
  EXPECT_EQ(question.json()["error"]["code"], "loading");
  EXPECT_EQ(Listener::open("127.0.0.1", port).status().code(), Code::kAlreadyExists);

  options_.listener = loading->finish();
  TestClient waiting(port);  // between the two doors
  start();
  EXPECT_EQ(server_->port(), port);
  EXPECT_EQ(waiting.get("/health").status, 200);
  EXPECT_EQ(post("/v1/completions", {{"prompt", "x"}}).status, 200);
}

TEST_F(LoadingTest, APortThatIsTakenIsToldBeforeTheModelIsLoaded) {
  const auto taken = Listener::open("127.0.0.1", 0).value();
  options_.port = taken->port();
  const Status status = LoadingServer::start(options_).status();
  EXPECT_EQ(status.code(), Code::kAlreadyExists);
  EXPECT_NE(status.message().find("is in use by another program; stop it or give another --port"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace umbel::serve
