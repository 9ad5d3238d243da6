#include "load/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace umbel::load {
namespace {

double percentile(const std::vector<double>& sorted, double share) {
  const size_t rank = static_cast<size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::clamp<size_t>(rank, 1, sorted.size()) - 1];
}

double tpot_of(const Record& record) {
  return to_seconds(record.end - record.first_token) / static_cast<double>(record.tokens - 1);
}

bool meets(const Record& record, const Objectives& objectives) {
  if (objectives.ttft_s && to_seconds(record.first_token - record.sent) > *objectives.ttft_s) return false;
  if (objectives.tpot_s && record.tokens > 1 && tpot_of(record) > *objectives.tpot_s) return false;
  return !objectives.e2e_s || to_seconds(record.end - record.sent) <= *objectives.e2e_s;
}

Json distribution_json(const Distribution& d) {
  return Json{{"count", d.count}, {"mean", d.mean}, {"p50", d.p50}, {"p90", d.p90},
              {"p95", d.p95},     {"p99", d.p99},   {"max", d.max}};
}

std::string distribution_line(const char* name, const Distribution& d) {
  char line[200];
  std::snprintf(line, sizeof line, "%-6s %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f\n", name, d.mean * 1e3, d.p50 * 1e3,
                d.p90 * 1e3, d.p95 * 1e3, d.p99 * 1e3, d.max * 1e3);
  return line;
}

}  // namespace

Distribution distribution(std::vector<double> sample) {
  Distribution d;
  d.count = sample.size();
  if (sample.empty()) return d;
  std::sort(sample.begin(), sample.end());
  for (double value : sample) d.mean += value / static_cast<double>(sample.size());
  d.p50 = percentile(sample, 0.50);
  d.p90 = percentile(sample, 0.90);
  d.p95 = percentile(sample, 0.95);
  d.p99 = percentile(sample, 0.99);
  d.max = sample.back();
  return d;
}

Report make_report(const RunResult& run, const Objectives& objectives) {
  Report report;
  report.requests = run.records.size();
  report.wall_s = to_seconds(run.wall);
  std::vector<double> ttft, itl, tpot, e2e;
  std::map<std::string, std::vector<double>> by_model;
  size_t good = 0;
  for (const Record& record : run.records) {
    if (!record.ok) {
      ++report.failed;
      ++report.errors[record.error];
      continue;
    }
    report.prompt_tokens += record.prompt_tokens;
    report.output_tokens += record.tokens;
    ttft.push_back(to_seconds(record.first_token - record.sent));
    by_model[record.model].push_back(ttft.back());
    e2e.push_back(to_seconds(record.end - record.sent));
    if (record.tokens > 1) tpot.push_back(tpot_of(record));
    for (size_t i = 1; i < record.pieces.size(); ++i) itl.push_back(to_seconds(record.pieces[i] - record.pieces[i - 1]));
    good += meets(record, objectives) ? 1 : 0;
  }
  const double wall = std::max(report.wall_s, 1e-9);
  report.output_tokens_per_s = static_cast<double>(report.output_tokens) / wall;
  report.total_tokens_per_s = static_cast<double>(report.output_tokens + report.prompt_tokens) / wall;
  report.requests_per_s = static_cast<double>(report.requests - report.failed) / wall;
  if (objectives.ttft_s || objectives.tpot_s || objectives.e2e_s) report.goodput_per_s = static_cast<double>(good) / wall;
  report.ttft = distribution(std::move(ttft));
  report.itl = distribution(std::move(itl));
  report.tpot = distribution(std::move(tpot));
  report.e2e = distribution(std::move(e2e));
  for (auto& [model, sample] : by_model) report.ttft_by_model[model] = distribution(std::move(sample));
  return report;
}

Json report_json(const Report& report) {
  Json json{{"requests", report.requests},
            {"failed", report.failed},
            {"wall_s", report.wall_s},
            {"prompt_tokens", report.prompt_tokens},
            {"output_tokens", report.output_tokens},
            {"output_tokens_per_s", report.output_tokens_per_s},
            {"total_tokens_per_s", report.total_tokens_per_s},
            {"requests_per_s", report.requests_per_s},
            {"ttft_s", distribution_json(report.ttft)},
            {"itl_s", distribution_json(report.itl)},
            {"tpot_s", distribution_json(report.tpot)},
            {"e2e_s", distribution_json(report.e2e)}};
  if (report.goodput_per_s) json["goodput_requests_per_s"] = *report.goodput_per_s;
  for (const auto& [model, d] : report.ttft_by_model) json["ttft_s_by_model"][model] = distribution_json(d);
  for (const auto& [message, count] : report.errors) json["errors"][message] = count;
  return json;
}

std::string report_text(const Report& report) {
  char head[400];
  std::snprintf(head, sizeof head,
                "%zu requests (%zu failed) in %.2f s: %.1f output tokens/s, %.1f tokens/s in all, %.2f requests/s\n",
                report.requests, report.failed, report.wall_s, report.output_tokens_per_s, report.total_tokens_per_s,
                report.requests_per_s);
  std::string text = head;
  if (report.goodput_per_s) text += "goodput " + std::to_string(*report.goodput_per_s) + " requests/s\n";
  text += "ms          mean       p50       p90       p95       p99       max\n";
  text += distribution_line("TTFT", report.ttft) + distribution_line("ITL", report.itl) +
          distribution_line("TPOT", report.tpot) + distribution_line("E2E", report.e2e);
  for (const auto& [message, count] : report.errors) text += std::to_string(count) + " x " + message + "\n";
  return text;
}

}  // namespace umbel::load
