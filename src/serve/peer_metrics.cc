#include "serve/peer_metrics.h"

#include <ctime>
#include <utility>

#include "serve/metrics.h"

namespace umbel::serve {
namespace {

constexpr size_t kNamesMax = 64;  // of adapters in one label

// LoRAX's: steps of 1.5 from 0.15 ms to 146 s.
prometheus::Histogram::BucketBoundaries duration_buckets() {
  prometheus::Histogram::BucketBoundaries bounds;
  for (double bound = 0.00015; bounds.size() < 35; bound *= 1.5) bounds.push_back(bound);
  return bounds;
}
prometheus::Histogram::BucketBoundaries length_buckets() {
  prometheus::Histogram::BucketBoundaries bounds;
  for (double bound = 1; bound <= (1 << 20); bound *= 2) bounds.push_back(bound);
  return bounds;
}

prometheus::Counter& counter(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add({});
}
prometheus::Histogram& seconds(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add({}, duration_buckets());
}
prometheus::Histogram& lengths(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add({}, length_buckets());
}

const char* lorax_failure_name(int status) {
  if (status == 499) return "dropped";
  if (status == 429 || status == 503) return "overloaded";
  if (status == 404 || status == 422 || status == 424) return "load_adapter";
  return status >= 500 ? "generation" : "validation";
}

// A comma parts the names in the label.
void append_name(std::string& list, const std::string& name) {
  if (!list.empty()) list += ',';
  for (char c : name) list += c == ',' ? '_' : c;
}

}  // namespace

PeerMetrics::PeerMetrics(prometheus::Registry& registry, const std::string& model)
    : registry_(registry),
      model_label_{{"model_name", model}},
      count_(counter(registry, "lorax_request_count", "LoRAX's name: requests to generate.")),
      success_(counter(registry, "lorax_request_success", "LoRAX's name: answered whole.")),
      failure_(prometheus::BuildCounter()
                   .Name("lorax_request_failure")
                   .Help("LoRAX's name: refused or failed, by its word for why.")
                   .Register(registry)),
      duration_(seconds(registry, "lorax_request_duration", "LoRAX's name: seconds of a request.")),
      validation_(seconds(registry, "lorax_request_validation_duration", "LoRAX's name: reading and tokenizing.")),
      queue_(seconds(registry, "lorax_request_queue_duration", "LoRAX's name: from submission to the first step.")),
      inference_(seconds(registry, "lorax_request_inference_duration", "LoRAX's name: from the first step to the end.")),
      per_token_(seconds(registry, "lorax_request_mean_time_per_token_duration", "LoRAX's name: inference by token.")),
      input_length_(lengths(registry, "lorax_request_input_length", "LoRAX's name: prompt tokens.")),
      generated_tokens_(lengths(registry, "lorax_request_generated_tokens", "LoRAX's name: tokens of an answer.")),
      adapters_info_(prometheus::BuildGauge()
                         .Name("vllm:lora_requests_info")
                         .Help("vLLM's name: adapters in use now; the value is the time of this list.")
                         .Register(registry)) {}

void PeerMetrics::count_failure(int status) {
  failure_.Add({{"err", lorax_failure_name(status)}}).Increment();
}

void PeerMetrics::count_refusal(int status) {
  count_.Increment();
  count_failure(status);
}

void PeerMetrics::count_request(const RequestRecord& record) {
  count_.Increment();
  const int status = record.failed_after != 0 ? record.failed_after : record.status;
  if (status == 200)
    success_.Increment();
  else
    count_failure(status);
  const double inference = to_seconds(record.total - record.prepared - record.queued);
  duration_.Observe(to_seconds(record.total));
  validation_.Observe(to_seconds(record.prepared));
  queue_.Observe(to_seconds(record.queued));
  inference_.Observe(inference);
  if (record.answer_tokens > 0) per_token_.Observe(inference / static_cast<double>(record.answer_tokens));
  input_length_.Observe(static_cast<double>(record.prompt_tokens));
  generated_tokens_.Observe(static_cast<double>(record.answer_tokens));
}

void PeerMetrics::show(const EngineStats& stats, const Limits& limits) {
  const auto of_model = [&](const char* name, const char* help, double value) {
    prometheus::BuildGauge().Name(name).Help(help).Register(registry_).Add(model_label_).Set(value);
  };
  const auto plain = [&](const char* name, const char* help, int64_t value) {
    prometheus::BuildGauge().Name(name).Help(help).Register(registry_).Add({}).Set(static_cast<double>(value));
  };
  const double blocks = static_cast<double>(stats.kv_blocks_total);
  const double usage = blocks > 0 ? static_cast<double>(stats.kv_blocks_used) / blocks : 0.0;
  of_model("vllm:num_requests_running", "vLLM's name: requests in the batch.", static_cast<double>(stats.running));
  of_model("vllm:num_requests_waiting", "vLLM's name: requests in the queue.", static_cast<double>(stats.waiting));
  of_model("vllm:kv_cache_usage_perc", "vLLM's name: used part of the KV pool, 0 to 1.", usage);
  of_model("vllm:gpu_cache_usage_perc", "vLLM's older name: used part of the KV pool, 0 to 1.", usage);
  plain("lorax_queue_length", "LoRAX's name: requests in the queue.", stats.waiting);
  plain("lorax_batch_current_size", "LoRAX's name: requests in the batch.", stats.running);
  prometheus::BuildGauge()
      .Name("vllm:cache_config_info")
      .Help("vLLM's name: the KV pool's layout.")
      .Register(registry_)
      .Add({{"block_size", std::to_string(kernels::kKvBlockSize)}, {"num_gpu_blocks", std::to_string(limits.kv_blocks)}})
      .Set(1);
  show_adapters(limits);
}

// One label set only: the older ones would stay for ever, one for each combination.
void PeerMetrics::show_adapters(const Limits& limits) {
  std::string running, waiting;
  {
    std::lock_guard lock(mutex_);
    size_t shown = 0;
    for (const auto& [name, users] : users_) {
      if (++shown > kNamesMax) break;
      if (users.running > 0) append_name(running, name);
      if (users.waiting > 0) append_name(waiting, name);
    }
  }
  if (shown_info_ != nullptr) adapters_info_.Remove(shown_info_);
  shown_info_ = &adapters_info_.Add({{"max_lora", std::to_string(limits.sequences_max)},
                                     {"running_lora_adapters", running},
                                     {"waiting_lora_adapters", waiting}});
  shown_info_->Set(static_cast<double>(std::time(nullptr)));
}

PeerMetrics::AdapterUse::AdapterUse(PeerMetrics& metrics, std::string adapter)
    : metrics_(metrics), adapter_(std::move(adapter)) {
  std::lock_guard lock(metrics_.mutex_);
  ++metrics_.users_[adapter_].waiting;
}

void PeerMetrics::AdapterUse::run() {
  if (std::exchange(running_, true)) return;
  std::lock_guard lock(metrics_.mutex_);
  Users& users = metrics_.users_[adapter_];
  --users.waiting;
  ++users.running;
}

PeerMetrics::AdapterUse::~AdapterUse() {
  std::lock_guard lock(metrics_.mutex_);
  const auto found = metrics_.users_.find(adapter_);
  --(running_ ? found->second.running : found->second.waiting);
  if (found->second.running == 0 && found->second.waiting == 0) metrics_.users_.erase(found);
}

}  // namespace umbel::serve
