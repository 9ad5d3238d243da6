// Client: one streaming request to an OpenAI-compatible /v1/completions, timed. Over libcurl, so TLS and proxies work.
//
// One Client per thread (it keeps its connection alive).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "load/record.h"

namespace umbel::load {

struct Ask {
  uint64_t number = 0;
  std::string model;
  std::string prompt_text;           // used unless prompt_ids is set
  std::vector<int32_t> prompt_ids;
  int max_tokens = 64;
  bool ignore_eos = true;
  bool return_token_ids = false;  // vLLM's extension; umbel has it too
};

class Client {
 public:
  // url: "http://127.0.0.1:8080". api_key may be empty. timeout: of one whole request.
  Client(std::string url, std::string api_key, Duration timeout);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // origin: what Record's times count from.
  Record run(const Ask& ask, TimePoint origin);
  // GET path, whole body.
  Result<std::string> get(const std::string& path);

 private:
  struct Curl;
  std::unique_ptr<Curl> curl_;
  std::string url_;
  Duration timeout_;
};

}  // namespace umbel::load
