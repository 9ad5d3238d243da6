#include "serve/server.h"

#include <atomic>
#include <boost/asio/thread_pool.hpp>
#include <map>

#include "base/log.h"
#include "base/memory_reserve.h"
#include "serve/admin.h"
#include "serve/front_gate.h"
#include "serve/http.h"
#include "serve/key_check.h"
#include "serve/keys/usage.h"
#include "serve/lorax.h"
#include "serve/openai.h"
#include "serve/openai_request.h"
#include "serve/openapi.h"
#include "serve/route.h"
#include "serve/tokenize.h"

namespace umbel::serve {

namespace asio = boost::asio;

namespace {

constexpr int kLoadThreads = 2;                            // admin requests that may wait for a load at the same time
constexpr Duration kLastWrites = std::chrono::seconds(5);  // for answers that are made but not yet sent

class HttpServer final : public Server {
 public:
  HttpServer(ServeParts parts, ServeOptions options)
      : parts_(std::move(parts)),
        options_(std::move(options)),
        metrics_(options_.adapter_labels_max, {.version = parts_.model.version,
                                               .model = parts_.model.name,
                                               .isa = parts_.model.isa,
                                               .arithmetic = parts_.model.arithmetic}),
        tokenizers_(parts_),
        templates_(parts_),
        end_tokens_(parts_),
        work_({.threads = options_.work_threads}),
        shared_{parts_, options_, metrics_, tokenizers_, templates_, end_tokens_, prompts_, work_},
        health_(options_.stuck_after),
        router_(routes()),
        load_pool_(kLoadThreads) {}
  ~HttpServer() override { shutdown(Duration{}); }

  Status open() {
    if (!keep_memory_reserve()) LOG_WARN("there is no memory left to keep a reserve of {} bytes", kMemoryReserveBytes);
    ASSIGN_OR_RETURN(origins_, OriginPolicy::create(options_.cors));
    ASSIGN_OR_RETURN(ring_, KeyRing::open({.file = options_.keys_file,
                                           .api_key = options_.api_key,
                                           .watch_interval = options_.keys_watch_interval}));
    if (!options_.audit_file.empty()) {
      ASSIGN_OR_RETURN(audit_, AuditLog::open(options_.audit_file));
    }
    if (ring_->is_open() && !is_loopback_name(options_.host)) {
      LOG_WARN("--host {}: everybody who reaches this port may use and manage the server; give --keys or --api-key",
               options_.host);
    }
    keys_.emplace(*ring_);
    gate_.emplace(FrontGateParts{.options = options_,
                                 .router = router_,
                                 .keys = *keys_,
                                 .origins = origins_,
                                 .metrics = metrics_,
                                 .audit = audit_.get(),
                                 .draining = draining_});
    auto door = HttpDoor::open(options_, *gate_);
    if (!door.ok()) return door.status();
    door_ = std::move(*door);
    return ok_status();
  }
  uint16_t port() const override { return door_->port(); }
  void shutdown(Duration drain_timeout) override;

 private:
  std::vector<Route> routes();
  void describe(std::vector<Route>& table) const;
  HttpReply metrics_reply(const Caller& caller) {
    HttpReply reply = show_metrics(shared_, caller, door_->connections());
    if (!ring_->is_open()) reply.body += usage_exposition(usage_shown(ring_->keys(), caller));
    if (audit_ != nullptr) reply.body += audit_exposition(*audit_);
    return reply;
  }
  HttpReply health_reply() {
    return show_health(health_.verdict(parts_.engine->stats(), clock_.now(), draining_.load()));
  }

  const ServeParts parts_;
  const ServeOptions options_;
  RealClock clock_;
  Metrics metrics_;
  TokenizerShelf tokenizers_;
  TemplateShelf templates_;
  EndTokenShelf end_tokens_;
  PromptShelf prompts_;
  WorkPool work_;
  const Shared shared_;
  HealthWatch health_;
  std::atomic<bool> draining_{false};
  Json openapi_;  // made by routes()
  const Router router_;
  // Set in open(), before the first request.
  OriginPolicy origins_;
  std::unique_ptr<KeyRing> ring_;
  std::unique_ptr<AuditLog> audit_;
  std::optional<KeyCheck> keys_;
  std::optional<FrontGate> gate_;
  std::atomic<bool> shut_{false};
  asio::thread_pool load_pool_;
  std::unique_ptr<HttpDoor> door_;  // last: its threads use all of the above
};

// A handler that needs no waiting.
Handler plain(std::function<HttpReply(const HttpRequest&, const Caller&)> make) {
  return [make = std::move(make)](Exchange& exchange) {
    return exchange.reply(make(exchange.request(), exchange.caller()));
  };
}

// The written list. A new route is one line here and one file.
std::vector<Route> HttpServer::routes() {
  using Access = Route::Access;
  using Load = Route::Load;
  constexpr Dialect kOpenAi = Dialect::kOpenAi, kLorax = Dialect::kLorax;
  const Handler health = plain([this](const HttpRequest&, const Caller&) { return health_reply(); });
  const auto lorax = [this](LoraxStream stream) {
    return [this, stream](Exchange& exchange) { return answer_lorax(shared_, exchange, stream); };
  };
  const auto blocking = [this](const char* route, HttpReply (*work)(const Shared&, const HttpRequest&, const Caller&, RequestAccount&)) {
    return [this, route, work](Exchange& exchange) {
      return answer_on(shared_, load_pool_, exchange, route,
                       [this, work, request = exchange.request(), caller = exchange.caller()](RequestAccount& account) {
                         return work(shared_, request, caller, account);
                       });
    };
  };
  // What takes more than a moment is made on the work pool.
  using Make = std::function<HttpReply(const HttpRequest&, const Caller&)>;
  const auto worked = [this](const char* route, Make make) -> Handler {
    return [this, route, make = std::move(make)](Exchange& exchange) {
      return answer_worked(shared_, exchange, route, [&] { return make(exchange.request(), exchange.caller()); });
    };
  };
  std::vector<Route> table = {
      {"POST", "/v1/completions", kOpenAi, Access::kGenerate, Load::kNotWhileDraining,
       [this](Exchange& exchange) { return answer_completion(shared_, exchange); }},
      {"POST", "/v1/chat/completions", kOpenAi, Access::kGenerate, Load::kNotWhileDraining,
       [this](Exchange& exchange) { return answer_chat(shared_, exchange); }},
      {"GET", "/v1/models", kOpenAi, Access::kKey, Load::kAlways,
       worked("/v1/models", [this](const HttpRequest&, const Caller& caller) { return show_models(shared_, caller); })},
      {"GET", "/v1/models/*", kOpenAi, Access::kKey, Load::kAlways,
       worked("/v1/models/*", [this](const HttpRequest& request, const Caller& caller) { return show_model(shared_, caller, request.path_parameter); })},
      {"GET", "/v1/usage", kOpenAi, Access::kKey, Load::kAlways,
       worked("/v1/usage", [this](const HttpRequest&, const Caller& caller) {
         return json_reply(200, usage_json(usage_shown(ring_->keys(), caller)));
       })},
      {"POST", "/v1/load_lora_adapter", kOpenAi, Access::kAdmin, Load::kNotWhileDraining, blocking("/v1/load_lora_adapter", load_adapter),
       Route::Effect::kChanges},
      {"POST", "/v1/unload_lora_adapter", kOpenAi, Access::kAdmin, Load::kNotWhileDraining, blocking("/v1/unload_lora_adapter", unload_adapter),
       Route::Effect::kChanges},
      {"POST", "/v1/adapters/*/rollback", kOpenAi, Access::kAdmin, Load::kNotWhileDraining, blocking("/v1/adapters/*/rollback", roll_back_adapter),
       Route::Effect::kChanges},
      {"POST", "/", kLorax, Access::kGenerate, Load::kNotWhileDraining, lorax(LoraxStream::kField)},
      {"POST", "/invocations", kLorax, Access::kGenerate, Load::kNotWhileDraining, lorax(LoraxStream::kField)},
      {"POST", "/generate", kLorax, Access::kGenerate, Load::kNotWhileDraining, lorax(LoraxStream::kNever)},
      {"POST", "/generate_stream", kLorax, Access::kGenerate, Load::kNotWhileDraining, lorax(LoraxStream::kAlways)},
      {"POST", "/tokenize", kLorax, Access::kGenerate, Load::kAlways,
       worked("/tokenize", [this](const HttpRequest& request, const Caller& caller) { return answer_tokenize(shared_, request, caller); })},
      {"POST", "/detokenize", kOpenAi, Access::kGenerate, Load::kAlways,
       worked("/detokenize", [this](const HttpRequest& request, const Caller& caller) { return answer_detokenize(shared_, request, caller); })},
      {"GET", "/tokenizer_info", kOpenAi, Access::kGenerate, Load::kAlways,
       worked("/tokenizer_info", [this](const HttpRequest&, const Caller&) { return show_tokenizer(shared_); })},
      {"GET", "/info", kLorax, Access::kKey, Load::kAlways,
       worked("/info", [this](const HttpRequest&, const Caller& caller) { return show_info(shared_, caller); })},
      {"GET", "/metrics", kLorax, Access::kMetrics, Load::kAlwaysAndWhenFull,
       worked("/metrics", [this](const HttpRequest&, const Caller& caller) { return metrics_reply(caller); })},
      {"GET", "/openapi.json", kOpenAi, Access::kOpen, Load::kAlways,
       worked("/openapi.json", [this](const HttpRequest&, const Caller&) { return json_reply(200, openapi_); })},
      {"GET", "/docs", kOpenAi, Access::kOpen, Load::kAlways, worked("/docs", [this](const HttpRequest&, const Caller&) {
         return HttpReply{.status = 200, .content_type = "text/html; charset=utf-8", .body = openapi_page(openapi_)};
       })},
      {"GET", "/", kLorax, Access::kOpen, Load::kAlwaysAndWhenFull, health},
      {"GET", "/health", kLorax, Access::kOpen, Load::kAlwaysAndWhenFull, health},
      {"GET", "/ping", kLorax, Access::kOpen, Load::kAlwaysAndWhenFull, health},
      {"GET", "/startup", kLorax, Access::kOpen, Load::kAlwaysAndWhenFull, health},
  };
  describe(table);
  openapi_ = openapi_document(table, parts_.model.version);
  return table;
}

// What /openapi.json and /docs say beside the table.
void HttpServer::describe(std::vector<Route>& table) const {
  const std::map<std::string, std::string> summaries = {
      {"/v1/completions", "Completes a prompt, or the adapter's own template (prompt_fields); whole or streamed"},
      {"/v1/chat/completions", "Answers a chat; whole or streamed"},
      {"/v1/models", "The base and every adapter, with version, digest, state"},
      {"/v1/models/*", "One of them"},
      {"/v1/usage", "What the key has used"},
      {"/v1/load_lora_adapter", "Loads an adapter's folder (vLLM)"},
      {"/v1/unload_lora_adapter", "Unloads an adapter (vLLM)"},
      {"/v1/adapters/*/rollback", "An earlier version of an adapter answers again"},
      {"/invocations", "Generates, as POST /"},
      {"/generate", "Generates a whole answer"},
      {"/generate_stream", "Generates a streamed answer"},
      {"/tokenize", "A text or a chat as tokens"},
      {"/detokenize", "Tokens as a text"},
      {"/tokenizer_info", "Facts of the tokenizer"},
      {"/info", "Facts and limits of the model"},
      {"/metrics", "Prometheus text"},
      {"/openapi.json", "This document"},
      {"/docs", "This document as a page"},
      {"/health", "Whether the server can answer"},
      {"/ping", "As /health"},
      {"/startup", "As /health"}};
  for (Route& route : table) {
    const auto found = summaries.find(route.path);
    if (found != summaries.end()) route.summary = found->second;
    if (route.path == "/") route.summary = route.method == "GET" ? "As /health" : "Generates; \"stream\": true streams";
    if (route.path == "/v1/completions") route.fields = completion_fields(parts_, options_);
    if (route.path == "/v1/chat/completions") route.fields = chat_fields(parts_, options_);
    if (route.path == "/tokenize") route.fields = {"inputs", "add_special_tokens", "prompt", "messages", "model", "return_token_strs"};
    if (route.path == "/detokenize") route.fields = {"tokens", "model"};
    if (route.path.ends_with("_lora_adapter")) route.fields = {"lora_name", "lora_path"};
    if (route.path.ends_with("/rollback")) route.fields = {"version"};
    if (route.dialect == Dialect::kLorax && route.method == "POST" && route.fields.empty()) route.fields = {"inputs", "parameters", "stream"};
  }
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
