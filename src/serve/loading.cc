#include "serve/loading.h"

#include "serve/http.h"
#include "serve/listener.h"

namespace umbel::serve {
namespace {

constexpr Duration kLastWrites = std::chrono::milliseconds(200);
constexpr double kRetrySeconds = 2;

class LoadingGate final : public Gate {
 public:
  std::variant<Admission, HttpReply> pass(const RequestHead& head) override {
    return error_reply(dialect_of(head.request.path), {.http = 503, .message = "the model is being loaded", .code = "loading", .retry_after_seconds = kRetrySeconds});
  }
  Dialect dialect_of(std::string_view path) const override { return path.starts_with("/v1/") ? Dialect::kOpenAi : Dialect::kLorax; }
  HttpHeaders answer_headers(const HttpRequest&, const Caller&) const override { return {}; }
  void answered(const AnsweredRequest&) override {}
};

class Loading final : public LoadingServer {
 public:
  explicit Loading(ServeOptions options) : options_(std::move(options)) {}

  Status open() {
    ASSIGN_OR_RETURN(options_.listener, Listener::open(options_.host, options_.port));
    options_.http_threads = 1;
    auto door = HttpDoor::open(options_, gate_);
    if (!door.ok()) return door.status();
    door_ = std::move(*door);
    door_->stop_keep_alive();
    return ok_status();
  }
  uint16_t port() const override { return door_->port(); }
  std::shared_ptr<const Listener> finish() override {
    door_->close(kLastWrites);
    return options_.listener;
  }

 private:
  ServeOptions options_;
  LoadingGate gate_;
  std::unique_ptr<HttpDoor> door_;  // last: its thread uses the above
};

}  // namespace

Result<std::unique_ptr<LoadingServer>> LoadingServer::start(const ServeOptions& options) {
  auto server = std::make_unique<Loading>(options);
  RETURN_IF_ERROR(server->open());
  return std::unique_ptr<LoadingServer>(std::move(server));
}

}  // namespace umbel::serve
