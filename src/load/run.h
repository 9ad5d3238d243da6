// A load run: many requests against one server, open or closed loop.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "load/client.h"
#include "load/popularity.h"
#include "load/record.h"

namespace umbel::load {

struct RunOptions {
  std::string url = "http://127.0.0.1:8080";
  std::string api_key;
  std::vector<std::string> models;  // names to ask for; popularity chooses among them
  Mix mix = Mix::kUniform;
  double zipf_exponent = 1.0;
  size_t requests = 64;
  size_t warmup = 2;        // before the clock starts, not in the report
  size_t clients = 16;      // closed loop: how many wait for answers at once
  double rate = 0;          // > 0: open loop at this many requests per second
  double arrival_cv = 1.0;  // open loop: 1 = Poisson
  int prompt_tokens = 64;   // random ids in [first_id, vocab)
  int first_id = 300;
  int vocab = 4000;
  std::vector<std::string> prompts;  // instead of random ids, taken in turn
  int max_tokens = 64;
  bool ignore_eos = true;
  uint64_t seed = 1;
  Duration timeout = from_seconds(600);
};

struct RunResult {
  std::vector<Record> records;  // in request order
  Duration wall{};              // first sent to last end
};

// progress (may be empty) is called after every answer, from any of the client threads, one at a time.
RunResult run_load(const RunOptions& options, const std::function<void(const Record&)>& progress);

}  // namespace umbel::load
