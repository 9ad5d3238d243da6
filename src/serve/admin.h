// The routes about the server itself: health, info, models, metrics, loading and unloading adapters.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <mutex>

#include "serve/generation.h"

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
HttpReply show_info(const Shared& shared);
// OpenAI's list: the base first, then every adapter with version, digest and state.
HttpReply show_models(const Shared& shared);
// /v1/models/NAME
HttpReply show_model(const Shared& shared, const std::string& name);
HttpReply show_metrics(const Shared& shared, int connections);

// vLLM's bodies: {"lora_name", "lora_path"} and {"lora_name"}. They block until the adapter is loaded or refused: call
// them on a thread that may wait.
HttpReply load_adapter(const Shared& shared, const HttpRequest& request);
HttpReply unload_adapter(const Shared& shared, const HttpRequest& request);

// Runs work on the pool and answers with what it returns. work owns what it needs: it may outlive the exchange.
boost::asio::awaitable<void> answer_on(boost::asio::thread_pool& pool, Exchange& exchange,
                                       std::function<HttpReply()> work);

}  // namespace umbel::serve
