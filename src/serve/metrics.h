// Metrics: what /metrics shows, in Prometheus' text form, on prometheus-cpp.
//
// Any thread. Labels never come from strangers: an adapter label is a name that the library resolved, and after
// adapter_labels_max distinct ones the rest is counted under "other".
#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <map>
#include <mutex>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/clock.h"
#include "engine/engine.h"
#include "store/library.h"

namespace umbel::serve {

struct RequestRecord {
  std::string route;
  std::string adapter;  // "base", or a resolved adapter's name
  int status = 0;       // HTTP status; 499 = the client went away
  int64_t prompt_tokens = 0;
  int64_t answer_tokens = 0;
  Duration total{};
};

class Metrics {
 public:
  explicit Metrics(int adapter_labels_max);

  void count_request(const RequestRecord& record);
  void count_refusal(const std::string& route, int status);
  void observe_queue(Duration time) { queue_.Observe(to_seconds(time)); }
  void observe_first_token(Duration time) { first_token_.Observe(to_seconds(time)); }
  void observe_token_gap(Duration time) { token_gap_.Observe(to_seconds(time)); }

  struct Gauges {
    EngineStats engine;
    std::vector<AdapterInfo> adapters;
    size_t adapter_bytes = 0;
    int connections = 0;
  };
  // The exposition text (content type "text/plain; version=0.0.4").
  std::string scrape(const Gauges& gauges);

 private:
  std::string adapter_label(const std::string& adapter);
  void show_adapters(const std::vector<AdapterInfo>& adapters);
  prometheus::Gauge& gauge(const char* name, const char* help);
  void set_counter(const char* name, const char* help, int64_t value);

  prometheus::Registry registry_;
  prometheus::Family<prometheus::Counter>& requests_;
  prometheus::Family<prometheus::Counter>& prompt_tokens_;
  prometheus::Family<prometheus::Counter>& answer_tokens_;
  prometheus::Histogram& queue_;
  prometheus::Histogram& first_token_;
  prometheus::Histogram& token_gap_;
  prometheus::Histogram& total_;
  prometheus::Family<prometheus::Gauge>& adapter_bytes_;

  const size_t labels_max_;
  std::mutex mutex_;  // of the members below and of scraping
  std::unordered_set<std::string> labels_;
  std::map<std::string, prometheus::Gauge*> adapter_gauges_;  // those of adapters that are still there
};

}  // namespace umbel::serve
