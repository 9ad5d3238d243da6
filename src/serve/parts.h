// What the serve floor is given by apps/: the model's facts as plain values, the rooms below as borrowed pointers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/engine.h"
#include "store/library.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace umbel::serve {

// The base model as clients see it. Text fields are shown in /info and /v1/models as they are.
struct ServedModel {
  std::string name;          // --name, else the folder's name; also the `model` that means "no adapter"
  std::string architecture;  // "LlamaForCausalLM"
  std::string dtype;         // how weights are stored: "bf16"
  std::string isa;           // "avx512"
  std::string arithmetic;    // the printed choice of arithmetic
  int64_t parameters = 0;
  std::vector<int32_t> eos_ids;  // generation_config.json's list; these end every answer unless ignore_eos
};

// generation_config.json's own defaults; all empty with --generation-config none. They apply to the OpenAI routes;
// LoRAX's documented defaults are greedy and stay so.
struct SamplingDefaults {
  std::optional<bool> do_sample;
  std::optional<double> temperature, top_p, min_p, typical_p, repetition_penalty;
  std::optional<int64_t> top_k;
};

// Borrowed pointers outlive the server.
struct ServeParts {
  Engine* engine = nullptr;
  AdapterLibrary* library = nullptr;  // null = base only
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const ChatTemplate> chat_template;  // null = the base has none
  ServedModel model;
  SamplingDefaults defaults;
};

struct ServeOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8080;  // 0 = any free one
  std::string api_key;   // empty = open
  int http_threads = 2;
  int connections_max = 1024;                    // past it: 503 and closed
  size_t body_bytes_max = size_t{16} << 20;      // past it: 413
  size_t header_bytes_max = size_t{64} << 10;    // past it: 431
  Duration read_timeout = from_seconds(30);      // a request's header and body, each
  Duration idle_timeout = from_seconds(75);      // between two requests of one connection
  Duration write_timeout = from_seconds(60);     // a reader slower than this is dropped and its request cancelled
  Duration comment_interval = from_seconds(15);  // an SSE comment after so long a silence
  Duration stuck_after = from_seconds(120);      // no engine step for so long with work waiting: /health says 503
  int choices_max = 128;                         // prompts x max(n, best_of) of one request
  int stops_max = 64;                            // stop strings of one request
  int best_of_max = 16;
  int logprobs_max = 20;
  int adapter_labels_max = 100;  // distinct adapter labels in /metrics; the rest is counted as "other"
};

}  // namespace umbel::serve
