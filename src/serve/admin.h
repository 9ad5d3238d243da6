// The routes about the server itself: health, info, models, metrics, loading and unloading adapters. A caller is shown
// what its key may use, and nothing of the rest.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <mutex>

#include "serve/failure.h"
#include "serve/shared.h"

namespace umbel::serve {

// Healthy: not draining, and the engine has taken a step lately when requests are there. Any thread.
class HealthWatch {
 public:
  explicit HealthWatch(Duration stuck_after) : stuck_after_(stuck_after) {}
  // "" = healthy, else what is wrong. stats: of now.
  std::string verdict(const EngineStats& stats, TimePoint now, bool draining);

 private:
  const Duration stuck_after_;
  std::mutex mutex_;
  int64_t steps_ = -1;
  TimePoint moved_at_{};
};

HttpReply show_health(const std::string& verdict);
HttpReply show_info(const Shared& shared, const Caller& caller);
// OpenAI's list: the base first, then every adapter with version, digest and state.
HttpReply show_models(const Shared& shared, const Caller& caller);
// /v1/models/NAME
HttpReply show_model(const Shared& shared, const Caller& caller, const std::string& name);
HttpReply show_metrics(const Shared& shared, const Caller& caller, int connections);

// vLLM's bodies: {"lora_name", "lora_path"} and {"lora_name"}. They block until the adapter is loaded or refused: call
// them on a thread that may wait.
HttpReply load_adapter(const Shared& shared, const HttpRequest& request, const Caller& caller, RequestAccount& account);
HttpReply unload_adapter(const Shared& shared, const HttpRequest& request, const Caller& caller, RequestAccount& account);
// POST /v1/adapters/NAME/rollback, {"version": N} or nothing: a kept version answers again; {"id", "version", "digest"}.
HttpReply roll_back_adapter(const Shared& shared, const HttpRequest& request, const Caller& caller, RequestAccount& account);

// Answers with what make returns, made on the work pool; counted and logged under the route's own path.
boost::asio::awaitable<void> answer_worked(const Shared& shared, Exchange& exchange, const char* route,
                                           std::function<HttpReply()> make);

// Runs work on the pool, answers with what it returns and accounts for what it says; counted and logged as above. work owns what it
// needs: it may outlive the exchange.
boost::asio::awaitable<void> answer_on(const Shared& shared, boost::asio::thread_pool& pool, Exchange& exchange, const char* route,
                                       std::function<HttpReply(RequestAccount&)> work);

}  // namespace umbel::serve
