// Latency report of a load run. Definitions (stated, since tools differ):
//   TTFT  sent to the first non-empty piece of text          ITL   every gap between two pieces
//   TPOT  (E2E - TTFT) / (output tokens - 1)                 E2E   sent to the last byte
//   goodput  requests per second that meet every given objective (SLO)
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "io/json.h"
#include "load/run.h"

namespace umbel::load {

// Nearest-rank percentiles over a sample; all zero when empty.
struct Distribution {
  size_t count = 0;
  double mean = 0, p50 = 0, p90 = 0, p95 = 0, p99 = 0, max = 0;
};
Distribution distribution(std::vector<double> sample);

struct Objectives {
  std::optional<double> ttft_s, tpot_s, e2e_s;
};

struct Report {
  size_t requests = 0, failed = 0;
  double wall_s = 0;
  int64_t prompt_tokens = 0, output_tokens = 0;
  double output_tokens_per_s = 0, total_tokens_per_s = 0, requests_per_s = 0;
  std::optional<double> goodput_per_s;
  Distribution ttft, itl, tpot, e2e;  // seconds
  std::map<std::string, Distribution> ttft_by_model;
  std::map<std::string, size_t> errors;  // message -> count
};

Report make_report(const RunResult& run, const Objectives& objectives);
Json report_json(const Report& report);
std::string report_text(const Report& report);
// One self-contained page: the table, and curves of the TTFT, ITL and E2E distributions as SVG.
std::string report_html(const Report& report, const RunResult& run, const std::string& title);

}  // namespace umbel::load
