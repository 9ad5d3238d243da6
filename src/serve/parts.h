// What the serve floor is given by apps/: the model's facts as plain values, the rooms below as borrowed pointers.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/engine.h"
#include "engine/sampling_defaults.h"
#include "serve/request_limits.h"
#include "store/library.h"
#include "text/chat_template.h"
#include "text/template_workers.h"
#include "text/tokenizer.h"

namespace umbel::serve {

class Listener;  // serve/listener.h

// The base model as clients see it. Text fields are shown in /info and /v1/models as they are.
struct ServedModel {
  std::string name;          // --name, else the folder's name; also the `model` that means "no adapter"
  std::vector<std::string> aliases;  // further names for it
  std::string architecture;  // "LlamaForCausalLM"
  std::string dtype;         // how weights are stored: "bf16"
  std::string isa;           // "avx512"
  std::string arithmetic;    // the printed choice of arithmetic
  std::string version;       // the program's
  std::string digest;        // of the base's weights; equal ones compute alike
  int64_t parameters = 0;
  int64_t rows_max = INT32_MAX;  // tokens that it, or an adapter with a vocabulary of its own, can have
  std::vector<int32_t> eos_ids;  // generation_config.json's list; these end every answer unless ignore_eos

  bool is_called(const std::string& other) const {
    return other == name || std::find(aliases.begin(), aliases.end(), other) != aliases.end();
  }
};

// Borrowed pointers outlive the server.
struct ServeParts {
  Engine* engine = nullptr;
  AdapterLibrary* library = nullptr;  // null = base only
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const ChatTemplate> chat_template;  // null = the base has none
  std::shared_ptr<TemplateWorkers> template_workers;  // for adapters' own templates; null = the base's is used for all
  ServedModel model;
  // generation_config.json's own; all empty with --generation-config none. They apply to the OpenAI routes; LoRAX's documented
  // defaults are greedy and stay so.
  SamplingDefaults defaults;
  std::vector<std::string> hidden_folders;  // taken out of messages: where adapters and the base lie
};

struct ServeOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8080;  // 0 = any free one
  std::shared_ptr<const Listener> listener;  // that listens there already; null = none does
  std::optional<std::string> api_key;  // one key for everything; an empty one is refused at start
  Path keys_file;                      // "" = none; without it and api_key the server is open
  Duration keys_watch_interval = from_seconds(1);
  Path audit_file;                     // "" = no audit log
  bool audit_prompts = false;          // prompts stand in it
  int http_threads = 2;                          // they move bytes...
  int work_threads = 4;                          // ...and these read, render, tokenize and write answers; at least 2
  int connections_max = 1024;                    // past it those that wait for their client give way, else 503
  int connections_spare = 16;                    // more, for the routes that tell how the server is
  std::optional<int> connections_per_address;    // none = half of connections_max; 0 = no limit; loopback has none
  std::vector<std::string> tls_files;            // PEM: certificate chain, key; empty = plain HTTP
  std::vector<std::string> cors;                 // origins of web pages that may read answers; empty = loopback ones
  std::vector<std::string> allowed_hosts;        // public names that a server without a key answers to on loopback
  size_t body_bytes_max = size_t{16} << 20;      // past it: 413
  size_t body_bytes_total = size_t{256} << 20;   // all bodies in memory at once; a body waits for its part, then 503
  Duration body_wait = from_seconds(5);          // so long
  size_t header_bytes_max = size_t{64} << 10;    // past it: 431
  Duration header_timeout = from_seconds(10);    // a request's header, from its first byte
  Duration read_timeout = from_seconds(30);      // a connection's first byte; a request's body
  Duration idle_timeout = from_seconds(75);      // between two requests of one connection
  Duration write_timeout = from_seconds(60);     // a reader slower than this is dropped and its request cancelled
  Duration comment_interval = from_seconds(15);  // an SSE comment after so long a silence
  Duration stuck_after = from_seconds(120);      // no engine step for so long with work waiting: /health says 503
  RequestLimits request;            // lists of one request
  bool show_cached_tokens = false;  // in usage: tells a client which prompts others sent before
  enum class MetricNames : uint8_t { kAll, kOwn };
  MetricNames metric_names = MetricNames::kAll;  // kAll: vLLM's and LoRAX's beside ours; they break Prometheus' naming rules
  int adapter_labels_max = 100;  // distinct adapter labels in /metrics; the rest is counted as "other"
};

}  // namespace umbel::serve
