#include "serve/metrics.h"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>

namespace umbel::serve {
namespace {

const prometheus::Histogram::BucketBoundaries kRequestBuckets = {
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300};
const prometheus::Histogram::BucketBoundaries kGapBuckets = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075,
                                                             0.1,    0.15,  0.2,    0.3,   0.5,  1,     2.5};

prometheus::Family<prometheus::Counter>& counters(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

prometheus::Histogram& histogram(prometheus::Registry& registry, const char* name, const char* help,
                                 const prometheus::Histogram::BucketBoundaries& buckets) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add({}, buckets);
}

}  // namespace

Metrics::Metrics(int adapter_labels_max)
    : requests_(counters(registry_, "umbel_requests_total", "Requests answered, by route, adapter and HTTP status.")),
      prompt_tokens_(
          counters(registry_, "umbel_prompt_tokens_total", "Prompt tokens of answered requests, by adapter.")),
      answer_tokens_(counters(registry_, "umbel_generated_tokens_total", "Tokens generated for clients, by adapter.")),
      queue_(
          histogram(registry_, "umbel_queue_seconds", "From submission to the first scheduled step.", kRequestBuckets)),
      first_token_(histogram(registry_, "umbel_time_to_first_token_seconds",
                             "From a request's arrival to its first token.", kRequestBuckets)),
      token_gap_(histogram(registry_, "umbel_inter_token_seconds", "Between two tokens of one answer.", kGapBuckets)),
      total_(histogram(registry_, "umbel_request_seconds", "From a request's arrival to the end of its answer.",
                       kRequestBuckets)),
      adapter_bytes_(prometheus::BuildGauge()
                         .Name("umbel_adapter_bytes")
                         .Help("Resident bytes of an adapter; 0 when not resident.")
                         .Register(registry_)),
      labels_max_(static_cast<size_t>(std::max(adapter_labels_max, 1))) {}

std::string Metrics::adapter_label(const std::string& adapter) {
  std::lock_guard lock(mutex_);
  if (labels_.contains(adapter)) return adapter;
  if (labels_.size() >= labels_max_) return "other";
  labels_.insert(adapter);
  return adapter;
}

void Metrics::count_request(const RequestRecord& record) {
  const std::string label = adapter_label(record.adapter);
  requests_.Add({{"route", record.route}, {"adapter", label}, {"status", std::to_string(record.status)}}).Increment();
  prompt_tokens_.Add({{"adapter", label}}).Increment(static_cast<double>(record.prompt_tokens));
  answer_tokens_.Add({{"adapter", label}}).Increment(static_cast<double>(record.answer_tokens));
  total_.Observe(to_seconds(record.total));
}

void Metrics::count_refusal(const std::string& route, int status) {
  requests_.Add({{"route", route}, {"adapter", ""}, {"status", std::to_string(status)}}).Increment();
}

prometheus::Gauge& Metrics::gauge(const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry_).Add({});
}

// The engine counts by itself; the registry's counter is moved up to its value.
void Metrics::set_counter(const char* name, const char* help, int64_t value) {
  prometheus::Counter& counter = counters(registry_, name, help).Add({});
  const double step = static_cast<double>(value) - counter.Value();
  if (step > 0) counter.Increment(step);
}

// By state, and the size of each one up to the cap; what is gone from the library is gone from here.
void Metrics::show_adapters(const std::vector<AdapterInfo>& adapters) {
  auto& states =
      prometheus::BuildGauge().Name("umbel_adapters").Help("Adapters of the library, by state.").Register(registry_);
  for (AdapterState state : {AdapterState::kKnown, AdapterState::kLoading, AdapterState::kResident,
                             AdapterState::kDraining, AdapterState::kFailed}) {
    const auto count =
        std::count_if(adapters.begin(), adapters.end(), [&](const AdapterInfo& info) { return info.state == state; });
    states.Add({{"state", std::string(adapter_state_name(state))}}).Set(static_cast<double>(count));
  }
  std::map<std::string, prometheus::Gauge*> present;
  for (const AdapterInfo& info : adapters) {
    if (present.size() >= labels_max_) break;
    prometheus::Gauge& bytes = adapter_bytes_.Add({{"adapter", info.id.name}});
    bytes.Set(static_cast<double>(info.bytes));
    present.emplace(info.id.name, &bytes);
  }
  for (const auto& [name, bytes] : adapter_gauges_) {
    if (!present.contains(name)) adapter_bytes_.Remove(bytes);
  }
  adapter_gauges_ = std::move(present);
}

std::string Metrics::scrape(const Gauges& gauges) {
  std::lock_guard lock(mutex_);
  const EngineStats& engine = gauges.engine;
  gauge("umbel_requests_running", "Requests in the batch.").Set(static_cast<double>(engine.running));
  gauge("umbel_requests_waiting", "Requests in the queue.").Set(static_cast<double>(engine.waiting));
  gauge("umbel_batch_rows", "Rows (tokens) of the last step.").Set(static_cast<double>(engine.batch_rows));
  gauge("umbel_batch_adapters", "Distinct adapters in the last step.").Set(static_cast<double>(engine.batch_adapters));
  gauge("umbel_kv_blocks_used", "KV blocks in use.").Set(static_cast<double>(engine.kv_blocks_used));
  gauge("umbel_kv_blocks_total", "KV blocks there are.").Set(static_cast<double>(engine.kv_blocks_total));
  gauge("umbel_connections", "Open HTTP connections.").Set(gauges.connections);
  gauge("umbel_adapter_resident_bytes", "Memory held by resident adapters.")
      .Set(static_cast<double>(gauges.adapter_bytes));
  set_counter("umbel_engine_steps_total", "Steps of the engine.", engine.steps);
  set_counter("umbel_engine_prompt_tokens_computed_total", "Prompt tokens computed, prefix hits left out.",
              engine.prompt_tokens);
  set_counter("umbel_engine_tokens_total", "Tokens sampled, those that no client waited for included.",
              engine.generated_tokens);
  set_counter("umbel_prefix_hit_tokens_total", "Prompt tokens taken from the prefix cache.", engine.prefix_hit_tokens);
  set_counter("umbel_preemptions_total", "Sequences pushed out of memory and computed again.", engine.preemptions);

  show_adapters(gauges.adapters);
  return prometheus::TextSerializer().Serialize(registry_.Collect());
}

}  // namespace umbel::serve
