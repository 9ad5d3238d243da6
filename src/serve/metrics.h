// Metrics: what /metrics shows, in Prometheus' text form, on prometheus-cpp.
//
// Any thread. Labels never come from strangers: an adapter label is a name that the library resolved, and after
// adapter_labels_max distinct ones the rest is counted under "other".
#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/clock.h"
#include "engine/engine.h"
#include "serve/parts.h"
#include "serve/peer_metrics.h"
#include "store/library.h"

namespace umbel::serve {

struct RequestRecord {
  std::string route;
  std::string adapter;  // "base", or a resolved adapter's name
  int status = 0;       // over the wire; 499 = the client went away
  int failed_after = 0;  // a stream that failed behind its status line: the status of that failure; else 0
  int64_t prompt_tokens = 0;
  int64_t answer_tokens = 0;
  Duration total{};
  Duration prepared{};  // reading and tokenizing
  Duration queued{};    // from submission to the first step
  std::optional<Duration> first_token;  // from arrival
};

// What never changes while the server runs.
struct MetricsFacts {
  std::string version, model, isa, arithmetic;
};

class Metrics {
 public:
  Metrics(int adapter_labels_max, const MetricsFacts& facts);

  void count_request(const RequestRecord& record);
  // An answer without generation. Refusals of the routes that generate are count_refusal's.
  void count_reply(const std::string& route, int status);
  void count_refusal(const std::string& route, int status);
  PeerMetrics& peers() { return peers_; }
  void observe_queue(Duration time) { queue_.Observe(to_seconds(time)); }
  void observe_token_gap(Duration time) { token_gap_.Observe(to_seconds(time)); }

  struct Gauges {
    EngineStats engine;
    Limits limits;
    LibraryStats library;
    std::vector<AdapterInfo> adapters;
    size_t adapter_bytes = 0;
    int connections = 0;
    ServeOptions::MetricNames names = ServeOptions::MetricNames::kAll;
  };
  // The exposition text (content type "text/plain; version=0.0.4"). Series of adapters that shows() denies are left out.
  std::string scrape(const Gauges& gauges, const std::function<bool(const std::string&)>& shows);

 private:
  std::string adapter_label(const std::string& adapter);
  void show_adapters(const std::vector<AdapterInfo>& adapters);
  void show_engine(const Gauges& gauges);
  void show_process();
  prometheus::Gauge& gauge(const char* name, const char* help);
  void set_counter(const char* name, const char* help, double value);

  prometheus::Registry registry_;
  prometheus::Family<prometheus::Counter>& requests_;
  prometheus::Family<prometheus::Counter>& prompt_tokens_;
  prometheus::Family<prometheus::Counter>& answer_tokens_;
  prometheus::Family<prometheus::Counter>& stream_failures_;
  prometheus::Histogram& queue_;
  prometheus::Family<prometheus::Histogram>& first_token_;
  prometheus::Histogram& token_gap_;
  prometheus::Family<prometheus::Histogram>& total_;
  prometheus::Family<prometheus::Gauge>& adapter_bytes_;

  PeerMetrics peers_;
  const size_t labels_max_;
  std::mutex mutex_;  // of the members below and of scraping
  std::unordered_set<std::string> labels_;
  std::map<std::string, prometheus::Gauge*> adapter_gauges_;  // those of adapters that are still there
};

}  // namespace umbel::serve
