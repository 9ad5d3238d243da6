// The HTML page of a load report: the table and one SVG per distribution, no script, nothing fetched.
#include <algorithm>
#include <cstdio>

#include "load/report.h"

namespace umbel::load {
namespace {

constexpr double kWidth = 640, kHeight = 240, kMargin = 44;

std::string escape(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '<') {
      out += "&lt;";
    } else if (c == '&') {
      out += "&amp;";
    } else {
      out += c;
    }
  }
  return out;
}

std::string label(double x, double y, const std::string& text) {
  char buffer[160];
  std::snprintf(buffer, sizeof buffer, "<text x='%.1f' y='%.1f'>", x, y);
  return buffer + escape(text) + "</text>";
}

std::string milliseconds(double seconds) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.4g ms", seconds * 1e3);
  return buffer;
}

// The sample in ascending order against its share of requests: a cumulative distribution curve.
std::string curve(const std::string& title, std::vector<double> sample) {
  if (sample.empty()) return "";
  std::sort(sample.begin(), sample.end());
  const double largest = std::max(sample.back(), 1e-9);
  std::string points;
  char buffer[64];
  for (size_t i = 0; i < sample.size(); ++i) {
    const double x = kMargin + sample[i] / largest * (kWidth - 2 * kMargin);
    const double share = static_cast<double>(i + 1) / static_cast<double>(sample.size());
    std::snprintf(buffer, sizeof buffer, "%.1f,%.1f ", x, kHeight - kMargin - share * (kHeight - 2 * kMargin));
    points += buffer;
  }
  std::snprintf(buffer, sizeof buffer, "<svg viewBox='0 0 %.0f %.0f'>", kWidth, kHeight);
  std::string svg = buffer;
  std::snprintf(buffer, sizeof buffer, "%.0f,%.0f %.0f,%.0f %.0f,%.0f", kMargin, kMargin, kMargin, kHeight - kMargin,
                kWidth - kMargin, kHeight - kMargin);
  svg += std::string("<polyline class='axis' points='") + buffer + "'/><polyline class='curve' points='" + points + "'/>";
  svg += label(kMargin, kMargin - 14, title) + label(kMargin, kHeight - kMargin + 18, "0");
  svg += label(kWidth - kMargin - 60, kHeight - kMargin + 18, milliseconds(largest));
  svg += label(6, kMargin + 4, "100 %") + label(6, kHeight - kMargin, "0 %");
  return svg + "</svg>\n";
}

}  // namespace

std::string report_html(const Report& report, const RunResult& run, const std::string& title) {
  std::vector<double> ttft, itl, e2e;
  for (const Record& record : run.records) {
    if (!record.ok) continue;
    ttft.push_back(to_seconds(record.first_token - record.sent));
    e2e.push_back(to_seconds(record.end - record.sent));
    for (size_t i = 1; i < record.pieces.size(); ++i) itl.push_back(to_seconds(record.pieces[i] - record.pieces[i - 1]));
  }
  return "<!doctype html><html><head><meta charset='utf-8'><title>" + escape(title) +
         "</title><style>body{font:14px sans-serif;max-width:720px;margin:2em auto}svg{width:100%}"
         ".axis{fill:none;stroke:#888}.curve{fill:none;stroke:#06c;stroke-width:2}text{font:12px sans-serif;fill:#333}"
         "</style></head><body><h1>" + escape(title) + "</h1><pre>" + escape(report_text(report)) + "</pre>" +
         curve("time to first token (TTFT)", std::move(ttft)) + curve("inter-token latency (ITL)", std::move(itl)) +
         curve("end to end (E2E)", std::move(e2e)) + "</body></html>\n";
}

}  // namespace umbel::load
