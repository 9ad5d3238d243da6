#include "serve/server.h"

#include <atomic>
#include <boost/asio/thread_pool.hpp>

#include "base/log.h"
#include "serve/admin.h"
#include "serve/lorax.h"
#include "serve/openai.h"
#include "serve/route.h"

namespace umbel::serve {

namespace asio = boost::asio;

namespace {

constexpr int kLoadThreads = 2;                            // admin requests that may wait for a load at the same time
constexpr Duration kLastWrites = std::chrono::seconds(5);  // for answers that are made but not yet sent

// Takes the same time whatever the two texts share.
bool same_secret(std::string_view given, std::string_view wanted) {
  unsigned char difference = given.size() == wanted.size() ? 0 : 1;
  for (size_t i = 0; i < given.size(); ++i)
    difference |= static_cast<unsigned char>(given[i] ^ wanted[i % wanted.size()]);
  return difference == 0;
}

class HttpServer final : public Server {
 public:
  HttpServer(ServeParts parts, ServeOptions options)
      : parts_(std::move(parts)),
        options_(std::move(options)),
        metrics_(options_.adapter_labels_max),
        texts_(parts_.tokenizer),
        templates_(parts_),
        shared_{parts_, options_, metrics_, texts_, templates_},
        health_(options_.stuck_after),
        router_(routes()),
        load_pool_(kLoadThreads) {}
  ~HttpServer() override { shutdown(Duration{}); }

  Status open() {
    auto door = HttpDoor::open(
        options_, [this](Exchange& exchange) { return handle(exchange); },
        [this](std::string_view path) { return router_.dialect_of(path); });
    if (!door.ok()) return door.status();
    door_ = std::move(*door);
    return ok_status();
  }
  uint16_t port() const override { return door_->port(); }
  void shutdown(Duration drain_timeout) override;

 private:
  std::vector<Route> routes();
  asio::awaitable<void> handle(Exchange& exchange);
  std::optional<Failure> refusal(const Route& route, const HttpRequest& request) const;
  HttpReply health_reply() {
    return show_health(health_.verdict(parts_.engine->stats(), clock_.now(), draining_.load()));
  }

  const ServeParts parts_;
  const ServeOptions options_;
  RealClock clock_;
  Metrics metrics_;
  const TokenTexts texts_;
  TemplateShelf templates_;
  const Shared shared_;
  HealthWatch health_;
  const Router router_;
  std::atomic<bool> draining_{false};
  std::atomic<bool> shut_{false};
  asio::thread_pool load_pool_;
  std::unique_ptr<HttpDoor> door_;  // last: its threads use all of the above
};

// A handler that needs no waiting.
Handler plain(std::function<HttpReply(const HttpRequest&)> make) {
  return [make = std::move(make)](Exchange& exchange) { return exchange.reply(make(exchange.request())); };
}

// The written list. A new route is one line here and one file.
std::vector<Route> HttpServer::routes() {
  using Access = Route::Access;
  using Load = Route::Load;
  constexpr Dialect kOpenAi = Dialect::kOpenAi, kLorax = Dialect::kLorax;
  const Handler health = plain([this](const HttpRequest&) { return health_reply(); });
  const auto lorax = [this](LoraxStream stream) {
    return [this, stream](Exchange& exchange) { return answer_lorax(shared_, exchange, stream); };
  };
  const auto blocking = [this](HttpReply (*work)(const Shared&, const HttpRequest&)) {
    return [this, work](Exchange& exchange) {
      return answer_on(load_pool_, exchange,
                       [this, work, request = exchange.request()] { return work(shared_, request); });
    };
  };
  return {
      {"POST", "/v1/completions", kOpenAi, Access::kKey, Load::kNotWhileDraining,
       [this](Exchange& exchange) { return answer_completion(shared_, exchange); }},
      {"POST", "/v1/chat/completions", kOpenAi, Access::kKey, Load::kNotWhileDraining,
       [this](Exchange& exchange) { return answer_chat(shared_, exchange); }},
      {"GET", "/v1/models", kOpenAi, Access::kKey, Load::kAlways,
       plain([this](const HttpRequest&) { return show_models(shared_); })},
      {"GET", "/v1/models/*", kOpenAi, Access::kKey, Load::kAlways,
       plain([this](const HttpRequest& request) { return show_model(shared_, request.path.substr(11)); })},
      {"POST", "/v1/load_lora_adapter", kOpenAi, Access::kKey, Load::kNotWhileDraining, blocking(load_adapter)},
      {"POST", "/v1/unload_lora_adapter", kOpenAi, Access::kKey, Load::kNotWhileDraining, blocking(unload_adapter)},
      {"POST", "/", kLorax, Access::kKey, Load::kNotWhileDraining, lorax(LoraxStream::kField)},
      {"POST", "/invocations", kLorax, Access::kKey, Load::kNotWhileDraining, lorax(LoraxStream::kField)},
      {"POST", "/generate", kLorax, Access::kKey, Load::kNotWhileDraining, lorax(LoraxStream::kNever)},
      {"POST", "/generate_stream", kLorax, Access::kKey, Load::kNotWhileDraining, lorax(LoraxStream::kAlways)},
      {"POST", "/tokenize", kLorax, Access::kKey, Load::kAlways,
       plain([this](const HttpRequest& request) { return answer_tokenize(shared_, request); })},
      {"GET", "/info", kLorax, Access::kKey, Load::kAlways,
       plain([this](const HttpRequest&) { return show_info(shared_); })},
      {"GET", "/metrics", kLorax, Access::kKey, Load::kAlways,
       plain([this](const HttpRequest&) { return show_metrics(shared_, door_->connections()); })},
      {"GET", "/", kLorax, Access::kOpen, Load::kAlways, health},
      {"GET", "/health", kLorax, Access::kOpen, Load::kAlways, health},
      {"GET", "/ping", kLorax, Access::kOpen, Load::kAlways, health},
      {"GET", "/startup", kLorax, Access::kOpen, Load::kAlways, health},
  };
}

std::optional<Failure> HttpServer::refusal(const Route& route, const HttpRequest& request) const {
  if (route.access == Route::Access::kKey && !options_.api_key.empty()) {
    constexpr std::string_view kBearer = "Bearer ";
    const std::string_view given = request.header("authorization");
    if (!given.starts_with(kBearer) || !same_secret(given.substr(kBearer.size()), options_.api_key)) {
      return Failure{.http = 401,
                     .message = "this server needs its API key: send the header \"Authorization: Bearer KEY\"",
                     .code = "invalid_api_key"};
    }
  }
  if (route.load == Route::Load::kNotWhileDraining && draining_.load()) {
    return Failure{
        .http = 503, .message = "the server is shutting down", .code = "shutting_down", .retry_after_seconds = 5};
  }
  return std::nullopt;
}

asio::awaitable<void> HttpServer::handle(Exchange& exchange) {
  const HttpRequest& request = exchange.request();
  if (request.method == "OPTIONS") {  // CORS preflight, as LoRAX allows it: any origin
    HttpReply reply{.status = 204};
    reply.headers = {{"access-control-allow-methods", "GET, POST"},
                     {"access-control-allow-headers", "content-type, authorization, x-request-id"},
                     {"access-control-max-age", "600"}};
    co_await exchange.reply(std::move(reply));
    co_return;
  }
  const Router::Match match = router_.find(request.method, request.path);
  if (match.route == nullptr) {
    const bool known = !match.allowed.empty();
    const std::string shown = request.path.substr(0, 200);
    Failure failure{.http = known ? 405 : 404,
                    .message = known ? "`" + shown + "` is there for " + match.allowed + " only"
                                     : "there is no route `" + shown + "`"};
    metrics_.count_refusal("other", failure.http);
    HttpReply reply = error_reply(router_.dialect_of(request.path), failure);
    if (known) reply.headers.emplace_back("allow", match.allowed);
    co_await exchange.reply(std::move(reply));
    co_return;
  }
  if (const std::optional<Failure> failure = refusal(*match.route, request)) {
    metrics_.count_refusal(match.route->path, failure->http);
    co_await exchange.reply(error_reply(match.route->dialect, *failure));
    co_return;
  }
  co_await match.route->handler(exchange);
}

void HttpServer::shutdown(Duration drain_timeout) {
  draining_.store(true);
  if (shut_.exchange(true) || door_ == nullptr) return;
  door_->stop_keep_alive();
  parts_.engine->drain(drain_timeout);
  door_->close(kLastWrites);
  load_pool_.stop();
  load_pool_.join();
}

}  // namespace

Result<std::unique_ptr<Server>> Server::start(ServeParts parts, ServeOptions options) {
  auto server = std::make_unique<HttpServer>(std::move(parts), std::move(options));
  RETURN_IF_ERROR(server->open());
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace umbel::serve
