#include "serve/admin.h"

#include <atomic>
#include <boost/asio/post.hpp>
#include <memory>

#include "base/log.h"
#include "serve/fields.h"

namespace umbel::serve {

namespace asio = boost::asio;

namespace {

Json base_model_json(const Shared& shared) {
  const ServedModel& model = shared.parts.model;
  return {{"id", model.name},
          {"object", "model"},
          {"created", 0},
          {"owned_by", "umbel"},
          {"root", model.name},
          {"parent", nullptr},
          {"max_model_len", shared.parts.engine->limits().context_max}};
}

Json adapter_json(const Shared& shared, const AdapterInfo& info) {
  Json entry = {{"id", info.id.name},
                {"object", "model"},
                {"created", 0},
                {"owned_by", "umbel"},
                {"root", info.id.name},
                {"parent", shared.parts.model.name},
                {"max_model_len", shared.parts.engine->limits().context_max},
                {"version", info.id.version},
                {"digest", info.id.digest},
                {"state", adapter_state_name(info.state)},
                {"kind", info.kind},
                {"rank_max", info.rank_max},
                {"resident_bytes", info.bytes},
                {"pins", info.pins}};
  if (!info.error.empty()) entry["error"] = info.error;
  return entry;
}

std::optional<Failure> read_names(const HttpRequest& request, std::string& name, std::string* folder) {
  const Result<Json> body = parse_json(request.body, "request body");
  if (!body.ok()) return failure_of(body.status());
  Fields fields(*body);
  name = fields.string("lora_name").value_or("");
  if (name.empty()) fields.fail("lora_name", "is missing");
  if (folder != nullptr) *folder = fields.string("lora_path").value_or(name);
  if (!fields.ok()) return failure_of(fields.status(), fields.param());
  return std::nullopt;
}

HttpReply no_adapters() {
  return error_reply(Dialect::kOpenAi,
                     {.http = 400, .message = "this server has no adapters folder; start it with --adapters DIR"});
}

HttpReply plain_text(std::string text) {
  return {.status = 200, .content_type = "text/plain; charset=utf-8", .body = std::move(text)};
}

}  // namespace

std::string HealthWatch::verdict(const EngineStats& stats, TimePoint now, bool draining) {
  std::lock_guard lock(mutex_);
  if (stats.steps != steps_ || stats.running + stats.waiting == 0) {
    steps_ = stats.steps;
    moved_at_ = now;
  }
  if (draining) return "the server is shutting down";
  if (now - moved_at_ > stuck_after_) {
    return "the engine has not taken a step for " + std::to_string(static_cast<int64_t>(to_seconds(now - moved_at_))) +
           " s with " + std::to_string(stats.running) + " running and " + std::to_string(stats.waiting) +
           " waiting requests";
  }
  return {};
}

HttpReply show_health(const std::string& verdict) {
  if (verdict.empty()) return {.status = 200, .content_type = "text/plain; charset=utf-8"};
  return json_reply(503, {{"error", verdict}, {"error_type", "healthcheck"}});
}

HttpReply show_info(const Shared& shared) {
  const ServedModel& model = shared.parts.model;
  const Limits& limits = shared.parts.engine->limits();
  const size_t adapters = shared.parts.library == nullptr ? 0 : shared.parts.library->list().size();
  return json_reply(200, {{"model_id", model.name},
                          {"model_sha", nullptr},
                          {"model_dtype", model.dtype},
                          {"model_device_type", "cpu"},
                          {"model_pipeline_tag", "text-generation"},
                          {"model_architecture", model.architecture},
                          {"model_parameters", model.parameters},
                          {"max_concurrent_requests", limits.queue_max + limits.sequences_max},
                          {"max_best_of", shared.options.best_of_max},
                          {"max_stop_sequences", shared.options.stops_max},
                          {"max_input_length", limits.context_max - 1},
                          {"max_total_tokens", limits.context_max},
                          {"max_batch_total_tokens", int64_t{limits.kv_blocks} * 16},
                          {"max_batch_prefill_tokens", limits.step_tokens_max},
                          {"waiting_served_ratio", 0},
                          {"max_waiting_tokens", 0},
                          {"validation_workers", shared.options.http_threads},
                          {"eager_prefill", false},
                          {"version", "0.1.0"},
                          {"sha", nullptr},
                          {"docker_label", nullptr},
                          {"request_logger_url", nullptr},
                          {"isa", model.isa},
                          {"arithmetic", model.arithmetic},
                          {"adapters", adapters}});
}

HttpReply show_models(const Shared& shared) {
  Json data = Json::array({base_model_json(shared)});
  if (shared.parts.library != nullptr) {
    for (const AdapterInfo& info : shared.parts.library->list()) data.push_back(adapter_json(shared, info));
  }
  return json_reply(200, {{"object", "list"}, {"data", std::move(data)}});
}

HttpReply show_model(const Shared& shared, const std::string& name) {
  if (name == shared.parts.model.name) return json_reply(200, base_model_json(shared));
  if (shared.parts.library != nullptr) {
    for (const AdapterInfo& info : shared.parts.library->list()) {
      if (info.id.name == name) return json_reply(200, adapter_json(shared, info));
    }
  }
  return error_reply(Dialect::kOpenAi,
                     {.http = 404,
                      .message = "there is no model or adapter `" + name.substr(0, 200) + "`; see GET /v1/models",
                      .param = "model",
                      .code = "model_not_found"});
}

HttpReply show_metrics(const Shared& shared, int connections) {
  Metrics::Gauges gauges{.engine = shared.parts.engine->stats(), .connections = connections};
  if (shared.parts.library != nullptr) {
    gauges.adapters = shared.parts.library->list();
    gauges.adapter_bytes = shared.parts.library->resident_bytes();
  }
  return {
      .status = 200, .content_type = "text/plain; version=0.0.4; charset=utf-8", .body = shared.metrics.scrape(gauges)};
}

HttpReply load_adapter(const Shared& shared, const HttpRequest& request) {
  std::string name, folder;
  if (const auto failure = read_names(request, name, &folder)) return error_reply(Dialect::kOpenAi, *failure);
  if (shared.parts.library == nullptr) return no_adapters();
  if (name == shared.parts.model.name) {
    return error_reply(Dialect::kOpenAi,
                       {.http = 400, .message = "`lora_name` is the base model's own name", .param = "lora_name"});
  }
  const Status status = shared.parts.library->load(name, folder);
  LOG_INFO("{} load_lora_adapter {}", request.id, status.ok() ? "done" : std::string(code_name(status.code())));
  if (!status.ok()) return error_reply(Dialect::kOpenAi, failure_of(status, "lora_path"));
  return plain_text("Success: LoRA adapter '" + name + "' added successfully.");
}

HttpReply unload_adapter(const Shared& shared, const HttpRequest& request) {
  std::string name;
  if (const auto failure = read_names(request, name, nullptr)) return error_reply(Dialect::kOpenAi, *failure);
  if (shared.parts.library == nullptr) return no_adapters();
  const Status status = shared.parts.library->unload(name);
  LOG_INFO("{} unload_lora_adapter {}", request.id, status.ok() ? "done" : std::string(code_name(status.code())));
  if (!status.ok()) return error_reply(Dialect::kOpenAi, failure_of(status, "lora_name"));
  return plain_text("Success: LoRA adapter '" + name + "' removed successfully.");
}

asio::awaitable<void> answer_on(asio::thread_pool& pool, Exchange& exchange, std::function<HttpReply()> work) {
  struct Box {
    HttpReply reply;
    std::atomic<bool> done{false};
  };
  const auto box = std::make_shared<Box>();
  asio::post(pool, [box, work = std::move(work), weak = std::weak_ptr<Bell>(exchange.bell())] {
    box->reply = work();
    box->done.store(true);
    if (const auto bell = weak.lock()) bell->ring();
  });
  while (!box->done.load() && !exchange.gone()) co_await exchange.bell()->wait(std::chrono::seconds(1));
  if (!exchange.gone()) co_await exchange.reply(std::move(box->reply));
}

}  // namespace umbel::serve
