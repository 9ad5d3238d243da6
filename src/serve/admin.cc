#include "serve/admin.h"

#include <algorithm>
#include <atomic>
#include <boost/asio/post.hpp>
#include <exception>
#include <limits>
#include <memory>

#include "base/log.h"
#include "serve/fields.h"
#include "serve/keys/access.h"
#include "serve/opening.h"
#include "serve/request_log.h"
#include "serve/resolve.h"
#include "store/folder.h"

namespace umbel::serve {

namespace asio = boost::asio;

namespace {

constexpr size_t kNameShownMax = 100;  // of a name that nobody knows

// name: the one of its names that it is shown under.
Json base_model_json(const Shared& shared, const std::string& name) {
  const ServedModel& model = shared.parts.model;
  return {{"id", name},
          {"object", "model"},
          {"created", 0},
          {"owned_by", "umbel"},
          {"root", model.name},
          {"parent", nullptr},
          {"max_model_len", shared.parts.engine->limits().context_max}};
}

Json version_json(const AdapterId& id) { return {{"version", id.version}, {"digest", id.digest}}; }

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
  const auto shown = [&](const std::string& trouble) {
    return without_folders(Refusal{.status = data_loss(trouble)}, shared.parts.hidden_folders).status.message();
  };
  const std::string error = info.error.empty() ? shared.tokenizers.known(info).message() : info.error;
  if (!error.empty()) entry["error"] = shown(error);
  entry["kept_versions"] = Json::array();
  for (const AdapterId& kept : info.kept) entry["kept_versions"].push_back(version_json(kept));
  if (info.update) {
    entry["update"] = version_json(info.update->id);
    if (!info.update->trouble.empty()) entry["update"]["error"] = shown(info.update->trouble);
  }
  return entry;
}

// vLLM's {"lora_name", "lora_path"}; the folder is the name where it is not given.
struct LoraNames {
  std::string name, folder;
};

Outcome<LoraNames> read_names(const HttpRequest& request) {
  const Result<Json> body = parse_json(request.body, "request body", JsonKeys::kLastCounts, kRequestJsonLimits);
  if (!body.ok()) return Refusal{.status = body.status()};
  Fields fields(*body);
  LoraNames names{.name = fields.string("lora_name").value_or("")};
  if (names.name.empty()) {
    fields.fail("lora_name", "is missing");
  } else if (const Status allowed = check_adapter_name(names.name); !allowed.ok()) {
    fields.fail("lora_name", "is not allowed: " + allowed.message());
  }
  names.folder = fields.string("lora_path").value_or(names.name);
  if (!fields.ok()) return Refusal{.status = fields.status(), .field = fields.param()};
  return names;
}

HttpReply refused(const Refusal& refusal) { return error_reply(Dialect::kOpenAi, failure_of(refusal)); }

// A folder that was found but can't be used is 422, as for the requests that ask for it.
Refusal load_refusal(const Shared& shared, const LoraNames& names, const Status& status) {
  const std::vector<AdapterInfo> infos = shared.parts.library->list();
  const bool unusable = std::any_of(infos.begin(), infos.end(), [&](const AdapterInfo& info) {
    return info.id.name == names.name && info.state == AdapterState::kFailed;
  });
  Refusal refusal = unusable ? adapter_refusal(status) : Refusal{.status = status};
  refusal.field = "lora_path";
  return without_folders(std::move(refusal), shared.parts.hidden_folders);
}

std::vector<AdapterInfo> adapters_shown(const Shared& shared, const Caller& caller) {
  if (shared.parts.library == nullptr) return {};
  std::vector<AdapterInfo> infos = shared.parts.library->list();
  std::erase_if(infos, [&](const AdapterInfo& info) { return !may_use_adapter(caller, info.id.name); });
  return infos;
}

// Said by the key's patterns alone, whether or not there is such an adapter.
HttpReply not_yours() {
  return error_reply(Dialect::kOpenAi, {.http = 403,
                                        .message = "this key may not manage adapters of this name, or from this folder",
                                        .param = "lora_name",
                                        .code = "adapter_not_allowed"});
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

HttpReply show_info(const Shared& shared, const Caller& caller) {
  const ServedModel& model = shared.parts.model;
  const Limits& limits = shared.parts.engine->limits();
  const size_t adapters = adapters_shown(shared, caller).size();
  return json_reply(200, {{"model_id", model.name},
                          {"model_sha", nullptr},
                          {"model_dtype", model.dtype},
                          {"model_device_type", "cpu"},
                          {"model_pipeline_tag", "text-generation"},
                          {"model_architecture", model.architecture},
                          {"model_parameters", model.parameters},
                          {"max_concurrent_requests", limits.queue_max + limits.sequences_max},
                          {"max_best_of", shared.options.request.best_of_max},
                          {"max_stop_sequences", shared.options.request.stops_max},
                          {"max_input_length", limits.context_max - 1},
                          {"max_total_tokens", limits.context_max},
                          {"max_batch_total_tokens", int64_t{limits.kv_blocks} * kernels::kKvBlockSize},
                          {"max_batch_prefill_tokens", limits.step_tokens_max},
                          {"waiting_served_ratio", 0},
                          {"max_waiting_tokens", 0},
                          {"validation_workers", shared.options.http_threads},
                          {"eager_prefill", false},
                          {"version", model.version},
                          {"sha", nullptr},
                          {"docker_label", nullptr},
                          {"request_logger_url", nullptr},
                          {"isa", model.isa},
                          {"arithmetic", model.arithmetic},
                          {"adapters", adapters}});
}

HttpReply show_models(const Shared& shared, const Caller& caller) {
  Json data = Json::array();
  if (may_use_base(caller)) {
    data.push_back(base_model_json(shared, shared.parts.model.name));
    for (const std::string& alias : shared.parts.model.aliases) data.push_back(base_model_json(shared, alias));
  }
  for (const AdapterInfo& info : adapters_shown(shared, caller)) data.push_back(adapter_json(shared, info));
  return json_reply(200, {{"object", "list"}, {"data", std::move(data)}});
}

HttpReply show_model(const Shared& shared, const Caller& caller, const std::string& name) {
  if (shared.parts.model.is_called(name) && may_use_base(caller)) {
    return json_reply(200, base_model_json(shared, name));
  }
  if (may_use_adapter(caller, name) && shared.parts.library != nullptr) {
    for (const AdapterInfo& info : shared.parts.library->list()) {
      if (info.id.name == name) return json_reply(200, adapter_json(shared, info));
    }
  }
  return error_reply(Dialect::kOpenAi,
                     {.http = 404,
                      .message = "there is no model or adapter `" + name.substr(0, kNameShownMax) + "`; see GET /v1/models",
                      .param = "model",
                      .code = "model_not_found"});
}

HttpReply show_metrics(const Shared& shared, const Caller& caller, int connections) {
  Metrics::Gauges gauges{.engine = shared.parts.engine->stats(),
                         .limits = shared.parts.engine->limits(),
                         .connections = connections,
                         .names = shared.options.metric_names};
  if (shared.parts.library != nullptr) {
    gauges.adapters = shared.parts.library->list();
    gauges.adapter_bytes = shared.parts.library->resident_bytes();
    gauges.library = shared.parts.library->stats();
  }
  const auto shows = [&](const std::string& adapter) { return may_use_adapter(caller, adapter); };
  return {
      .status = 200, .content_type = "text/plain; version=0.0.4; charset=utf-8", .body = shared.metrics.scrape(gauges, shows)};
}

HttpReply load_adapter(const Shared& shared, const HttpRequest& request, const Caller& caller, RequestAccount& account) {
  Outcome<LoraNames> names = read_names(request);
  if (!names.ok()) return refused(names.refusal());
  account.adapter = names->name;
  if (!may_use_adapter(caller, names->name) || !may_use_adapter(caller, names->folder)) return not_yours();
  if (shared.parts.library == nullptr) return no_adapters();
  if (shared.parts.model.is_called(names->name)) {
    return refused({.status = invalid_argument("`lora_name` is the base model's own name"), .field = "lora_name"});
  }
  const Status status = shared.parts.library->load(names->name, names->folder);
  LOG_INFO("{} load_lora_adapter {}", request.id, status.ok() ? "done" : std::string(code_name(status.code())));
  if (!status.ok()) return refused(load_refusal(shared, *names, status));
  Outcome<ResolvedModel> model = resolve_model(shared, caller, names->name);  // its tokenizer and end tokens can be used, too
  if (!model.ok()) return refused(model.refusal());
  account.version = model->identity.version;
  account.digest = model->identity.digest;
  return plain_text("Success: LoRA adapter '" + names->name + "' added successfully.");
}

HttpReply unload_adapter(const Shared& shared, const HttpRequest& request, const Caller& caller, RequestAccount& account) {
  Outcome<LoraNames> names = read_names(request);
  if (!names.ok()) return refused(names.refusal());
  account.adapter = names->name;
  if (!may_use_adapter(caller, names->name)) return not_yours();
  if (shared.parts.library == nullptr) return no_adapters();
  const Status status = shared.parts.library->unload(names->name);
  LOG_INFO("{} unload_lora_adapter {}", request.id, status.ok() ? "done" : std::string(code_name(status.code())));
  if (!status.ok()) {
    // The library's own words name all adapters.
    const bool unknown = status.code() == Code::kNotFound;
    return refused({.status = unknown ? not_found("there is no adapter `" + names->name.substr(0, kNameShownMax) + "`")
                                      : status,
                    .field = "lora_name"});
  }
  return plain_text("Success: LoRA adapter '" + names->name + "' removed successfully.");
}

HttpReply roll_back_adapter(const Shared& shared, const HttpRequest& request, const Caller& caller, RequestAccount& account) {
  const std::string& name = request.path_parameter;
  account.adapter = name;
  if (!may_use_adapter(caller, name)) return not_yours();
  if (shared.parts.library == nullptr) return no_adapters();
  std::optional<int64_t> version;
  if (!request.body.empty()) {
    const Result<Json> body = parse_json(request.body, "request body", JsonKeys::kLastCounts, kRequestJsonLimits);
    if (!body.ok()) return refused({.status = body.status()});
    Fields fields(*body);
    version = fields.integer("version", 1, std::numeric_limits<int64_t>::max());
    if (!fields.ok()) return refused({.status = fields.status(), .field = fields.param()});
  }
  const Result<AdapterId> now = shared.parts.library->rollback(name, version);
  LOG_INFO("{} rollback of {} {}", request.id, name, now.ok() ? "to version " + std::to_string(now->version) : "refused: " + now.status().message());
  if (!now.ok()) {
    const bool unknown = now.status().code() == Code::kNotFound;
    return refused({.status = unknown ? not_found("there is no adapter `" + name.substr(0, kNameShownMax) + "`") : now.status(),
                    .field = unknown ? kModelField : "version"});
  }
  account.version = static_cast<int64_t>(now->version);
  account.digest = now->digest;
  Json reply = version_json(*now);
  reply["id"] = now->name;
  return json_reply(200, reply);
}

asio::awaitable<void> answer_worked(const Shared& shared, Exchange& exchange, const char* route,
                                    std::function<HttpReply()> make) {
  HttpReply reply;
  Work work{.bytes = exchange.request().body.size()};
  work.piece = [&](const std::stop_token&) -> NextPiece {
    reply = make();
    return std::nullopt;
  };
  const WorkEnd end = co_await shared.work.run(exchange, std::move(work));
  if (end != WorkEnd::kDone) {
    const Dialect dialect = exchange.request().path.starts_with("/v1/") ? Dialect::kOpenAi : Dialect::kLorax;
    reply = error_reply(dialect, failure_of(refusal_of(end)));
  }
  record_reply(shared, exchange, route, exchange.gone() ? 499 : reply.status);
  co_await exchange.reply(std::move(reply));
}

asio::awaitable<void> answer_on(const Shared& shared, asio::thread_pool& pool, Exchange& exchange, const char* route,
                                std::function<HttpReply(RequestAccount&)> work) {
  struct Box {
    HttpReply reply;
    RequestAccount account;
    std::exception_ptr thrown;
    std::atomic<bool> done{false};
  };
  const auto box = std::make_shared<Box>();
  asio::post(pool, [box, work = std::move(work), weak = std::weak_ptr<Bell>(exchange.bell())] {
    try {
      box->reply = work(box->account);
    } catch (...) {  // memory is at its end: thrown again where the client is answered
      box->thrown = std::current_exception();
    }
    box->done.store(true);
    if (const auto bell = weak.lock()) bell->ring();
  });
  while (!box->done.load() && !exchange.gone()) co_await exchange.bell()->wait(std::chrono::seconds(1));
  if (box->done.load()) exchange.account() = std::move(box->account);
  if (box->done.load() && box->thrown) std::rethrow_exception(box->thrown);
  record_reply(shared, exchange, route, exchange.gone() ? 499 : box->reply.status);
  if (!exchange.gone()) co_await exchange.reply(std::move(box->reply));
}

}  // namespace umbel::serve
