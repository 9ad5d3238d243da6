// PeerMetrics: the same facts under the names of vLLM and LoRAX, so that their dashboards, and the endpoint picker of the
// Gateway API's inference extension, read this server. Sources: that extension's model server protocol (types, labels and
// meaning of the vllm: names); the metrics of LoRAX 0.12 (launcher and router).
//
// Any thread, but show() is called under Metrics' mutex.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/clock.h"
#include "engine/engine.h"

namespace umbel::serve {

struct RequestRecord;

class PeerMetrics {
 public:
  // model: the base's name, a label of the vllm: names.
  PeerMetrics(prometheus::Registry& registry, const std::string& model);

  void count_request(const RequestRecord& record);
  void count_refusal(int status);
  void show(const EngineStats& stats, const Limits& limits);

  // A request for an adapter, from its submission (waiting) by its first token (running) to its end. The metrics outlive it.
  class AdapterUse {
   public:
    AdapterUse(PeerMetrics& metrics, std::string adapter);
    ~AdapterUse();
    AdapterUse(const AdapterUse&) = delete;
    AdapterUse& operator=(const AdapterUse&) = delete;
    void run();

   private:
    PeerMetrics& metrics_;
    const std::string adapter_;
    bool running_ = false;
  };

 private:
  struct Users {
    int running = 0;
    int waiting = 0;
  };
  void show_adapters(const Limits& limits);
  void count_failure(int status);

  prometheus::Registry& registry_;
  const std::map<std::string, std::string> model_label_;
  prometheus::Counter& count_;
  prometheus::Counter& success_;
  prometheus::Family<prometheus::Counter>& failure_;
  prometheus::Histogram& duration_;
  prometheus::Histogram& validation_;
  prometheus::Histogram& queue_;
  prometheus::Histogram& inference_;
  prometheus::Histogram& per_token_;
  prometheus::Histogram& input_length_;
  prometheus::Histogram& generated_tokens_;
  prometheus::Family<prometheus::Gauge>& adapters_info_;
  prometheus::Gauge* shown_info_ = nullptr;  // the one label set that is there

  std::mutex mutex_;  // of users_
  std::map<std::string, Users> users_;
};

}  // namespace umbel::serve
