#include "serve/metrics.h"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <sstream>

#include "base/process_memory.h"
#include "serve/process_figures.h"

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

// Whether all adapters that the series names are shown. "base", "other" and "" are labels of no adapter.
bool is_shown(const prometheus::ClientMetric& metric, const std::function<bool(const std::string&)>& shows) {
  const auto known = [&](const std::string& name) {
    return name.empty() || name == "base" || name == "other" || shows(name);
  };
  const auto shown = [&](const prometheus::ClientMetric::Label& label) {
    if (label.name == "adapter") return known(label.value);
    if (!label.name.ends_with("_lora_adapters")) return true;
    std::istringstream names(label.value);  // vLLM's lists
    bool all = true;
    for (std::string name; std::getline(names, name, ',');) all = all && known(name);
    return all;
  };
  return std::all_of(metric.label.begin(), metric.label.end(), shown);
}

}  // namespace

Metrics::Metrics(int adapter_labels_max, const MetricsFacts& facts)
    : requests_(counters(registry_, "umbel_requests_total", "Requests answered, by route, adapter and HTTP status.")),
      prompt_tokens_(
          counters(registry_, "umbel_prompt_tokens_total", "Prompt tokens of answered requests, by adapter.")),
      answer_tokens_(counters(registry_, "umbel_generated_tokens_total", "Tokens generated for clients, by adapter.")),
      stream_failures_(counters(registry_, "umbel_stream_failures_total", "Streams that failed after their status line, by adapter.")),
      queue_(
          histogram(registry_, "umbel_queue_seconds", "From submission to the first scheduled step.", kRequestBuckets)),
      first_token_(prometheus::BuildHistogram()
                       .Name("umbel_time_to_first_token_seconds")
                       .Help("From a request's arrival to its first token, by adapter.")
                       .Register(registry_)),
      token_gap_(histogram(registry_, "umbel_inter_token_seconds", "Between two tokens of one answer.", kGapBuckets)),
      total_(prometheus::BuildHistogram()
                 .Name("umbel_request_seconds")
                 .Help("From a request's arrival to the end of its answer, by adapter.")
                 .Register(registry_)),
      adapter_bytes_(prometheus::BuildGauge()
                         .Name("umbel_adapter_bytes")
                         .Help("Resident bytes of an adapter; 0 when not resident.")
                         .Register(registry_)),
      peers_(registry_, facts.model),
      labels_max_(static_cast<size_t>(std::max(adapter_labels_max, 1))) {
  prometheus::BuildGauge()
      .Name("umbel_build_info")
      .Help("The program, its base model and its choice of arithmetic; always 1.")
      .Register(registry_)
      .Add({{"version", facts.version}, {"model", facts.model}, {"isa", facts.isa}, {"arithmetic", facts.arithmetic}})
      .Set(1);
}

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
  if (record.failed_after != 0) stream_failures_.Add({{"adapter", label}}).Increment();
  total_.Add({{"adapter", label}}, kRequestBuckets).Observe(to_seconds(record.total));
  if (record.first_token)
    first_token_.Add({{"adapter", label}}, kRequestBuckets).Observe(to_seconds(*record.first_token));
  peers_.count_request(record);
}

void Metrics::count_refusal(const std::string& route, int status) {
  count_reply(route, status);
  peers_.count_refusal(status);
}

void Metrics::count_reply(const std::string& route, int status) {
  requests_.Add({{"route", route}, {"adapter", ""}, {"status", std::to_string(status)}}).Increment();
}

prometheus::Gauge& Metrics::gauge(const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry_).Add({});
}

// The engine counts by itself; the registry's counter is moved up to its value.
void Metrics::set_counter(const char* name, const char* help, double value) {
  prometheus::Counter& counter = counters(registry_, name, help).Add({});
  const double step = value - counter.Value();
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

void Metrics::show_engine(const Gauges& gauges) {
  const EngineStats& engine = gauges.engine;
  const auto real = [](auto value) { return static_cast<double>(value); };
  gauge("umbel_requests_running", "Requests in the batch.").Set(real(engine.running));
  gauge("umbel_requests_waiting", "Requests in the queue.").Set(real(engine.waiting));
  gauge("umbel_batch_rows", "Rows (tokens) of the last step.").Set(real(engine.batch_rows));
  gauge("umbel_batch_adapters", "Distinct adapters in the last step.").Set(real(engine.batch_adapters));
  gauge("umbel_kv_blocks_used", "KV blocks in use.").Set(real(engine.kv_blocks_used));
  gauge("umbel_kv_blocks", "KV blocks there are.").Set(real(engine.kv_blocks_total));
  gauge("umbel_connections", "Open HTTP connections.").Set(gauges.connections);
  gauge("umbel_adapter_resident_bytes", "Memory held by resident adapters.").Set(real(gauges.adapter_bytes));
  set_counter("umbel_engine_steps_total", "Steps of the engine.", real(engine.steps));
  set_counter("umbel_engine_prompt_tokens_computed_total", "Prompt tokens computed, prefix hits left out.",
              real(engine.prompt_tokens));
  set_counter("umbel_engine_tokens_total", "Tokens sampled, those that no client waited for included.",
              real(engine.generated_tokens));
  set_counter("umbel_prefix_hit_tokens_total", "Prompt tokens taken from the prefix cache.",
              real(engine.prefix_hit_tokens));
  set_counter("umbel_preemptions_total", "Sequences pushed out of memory and computed again.", real(engine.preemptions));
  const LibraryStats& library = gauges.library;
  set_counter("umbel_adapter_loads_total", "Adapters loaded into memory.", real(library.loads));
  set_counter("umbel_adapter_load_failures_total", "Adapters that could not be loaded.", real(library.failures));
  set_counter("umbel_adapter_load_seconds_total", "Time spent on loading adapters.", to_seconds(library.load_time));
  set_counter("umbel_adapter_evictions_total", "Adapters dropped from memory to make room.", real(library.evictions));
  set_counter("umbel_adapter_updates_total", "Newer versions that took over from one that answered.", real(library.updates));
  set_counter("umbel_adapter_update_failures_total", "Newer versions that can't be used: the older one went on.", real(library.update_failures));
  gauge("umbel_adapter_updates_waiting", "Newer versions that don't answer yet: being loaded, without room, or not usable.").Set(real(library.updates_waiting));
  peers_.show(engine, gauges.limits);
}

// The names that every Prometheus client gives.
void Metrics::show_process() {
  const ProcessFigures figures = process_figures();
  set_counter("process_cpu_seconds_total", "User and system CPU time.", figures.cpu_seconds);
  gauge("process_resident_memory_bytes", "Resident memory.").Set(static_cast<double>(resident_bytes()));
  gauge("process_virtual_memory_bytes", "Virtual memory.").Set(static_cast<double>(figures.virtual_bytes));
  gauge("process_start_time_seconds", "When the process began, since the epoch.").Set(figures.start_time_seconds);
  gauge("process_open_fds", "Open file descriptors.").Set(figures.open_fds);
  gauge("process_max_fds", "File descriptors that may be open.").Set(figures.max_fds);
  gauge("process_threads", "Threads of the process.").Set(figures.threads);
}

std::string Metrics::scrape(const Gauges& gauges, const std::function<bool(const std::string&)>& shows) {
  std::lock_guard lock(mutex_);
  show_engine(gauges);
  show_process();
  show_adapters(gauges.adapters);
  std::vector<prometheus::MetricFamily> families = registry_.Collect();
  for (prometheus::MetricFamily& family : families) {
    std::erase_if(family.metric, [&](const prometheus::ClientMetric& metric) { return !is_shown(metric, shows); });
  }
  const bool own = gauges.names == ServeOptions::MetricNames::kOwn;
  std::erase_if(families, [&](const prometheus::MetricFamily& family) {
    return family.metric.empty() || (own && (family.name.starts_with("vllm:") || family.name.starts_with("lorax_")));
  });
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace umbel::serve
