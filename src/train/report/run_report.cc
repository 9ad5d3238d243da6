#include "train/report/run_report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "io/html.h"

namespace umbel::train {
namespace {

constexpr double kWidth = 720, kHeight = 260, kLeft = 64, kRight = 16, kTop = 12, kBottom = 30;
// Told apart by colour-blind eyes too (Okabe and Ito), then again from the first.
constexpr std::array<const char*, 8> kColours = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8B8000"};

std::string format(const char* pattern, double value) {
  char buffer[48];
  std::snprintf(buffer, sizeof buffer, pattern, value);
  return buffer;
}
std::string number(double value) { return std::isfinite(value) ? format("%.4g", value) : "-"; }

struct Line {
  std::string colour;
  std::vector<std::pair<int64_t, double>> points;
};

struct Box {
  double x_min = 0, x_max = 1, y_min = 0, y_max = 1;
};

Box bounds(const std::vector<Line>& lines) {
  Box box{INFINITY, -INFINITY, INFINITY, -INFINITY};
  for (const Line& line : lines) {
    for (const auto& [step, value] : line.points) {
      if (!std::isfinite(value)) continue;
      box.x_min = std::min(box.x_min, static_cast<double>(step));
      box.x_max = std::max(box.x_max, static_cast<double>(step));
      box.y_min = std::min(box.y_min, value);
      box.y_max = std::max(box.y_max, value);
    }
  }
  if (box.x_max <= box.x_min) box.x_max = box.x_min + 1;
  if (box.y_max <= box.y_min) box.y_max = box.y_min + std::max(1e-12, std::abs(box.y_min) * 0.1);
  return box;
}

std::string polyline(const Line& line, const Box& box) {
  std::string points;
  for (const auto& [step, value] : line.points) {
    if (!std::isfinite(value)) continue;
    const double x = kLeft + (static_cast<double>(step) - box.x_min) / (box.x_max - box.x_min) * (kWidth - kLeft - kRight);
    const double y = kHeight - kBottom - (value - box.y_min) / (box.y_max - box.y_min) * (kHeight - kTop - kBottom);
    points += format("%.1f,", x) + format("%.1f ", y);
  }
  return "<polyline fill='none' stroke='" + line.colour + "' stroke-width='1.5' points='" + points + "'/>";
}

std::string text_at(double x, double y, const char* anchor, const std::string& text) {
  return "<text x='" + format("%.1f", x) + "' y='" + format("%.1f", y) + "' text-anchor='" + anchor + "'>" + html_escaped(text) + "</text>";
}

// Empty when there is nothing to draw.
std::string chart(const std::string& title, const std::vector<Line>& lines) {
  const bool any = std::any_of(lines.begin(), lines.end(), [](const Line& line) {
    return std::any_of(line.points.begin(), line.points.end(), [](const auto& point) { return std::isfinite(point.second); });
  });
  if (!any) return "";
  const Box box = bounds(lines);
  std::string svg = "<h2>" + html_escaped(title) + "</h2>\n<svg viewBox='0 0 " + format("%.0f ", kWidth) + format("%.0f", kHeight) + "' role='img'>";
  for (int tick = 0; tick <= 4; ++tick) {
    const double y = kHeight - kBottom - tick / 4.0 * (kHeight - kTop - kBottom);
    svg += "<path class='grid' d='M" + format("%.0f ", kLeft) + format("%.1f", y) + "H" + format("%.0f", kWidth - kRight) + "'/>";
    svg += text_at(kLeft - 6, y + 4, "end", number(box.y_min + tick / 4.0 * (box.y_max - box.y_min)));
  }
  for (const Line& line : lines) svg += polyline(line, box);
  svg += text_at(kLeft, kHeight - 8, "start", format("%.0f", box.x_min)) + text_at(kWidth - kRight, kHeight - 8, "end", "step " + format("%.0f", box.x_max));
  return svg + "</svg>\n";
}

std::string colour_of(size_t index) { return kColours[index % kColours.size()]; }

std::string charts(const RunReport& report, const RunHistory& history) {
  std::string html;
  const auto add = [&](const std::string& title, Curve JobHistory::* curve) {
    std::vector<Line> lines;
    for (size_t i = 0; i < report.jobs.size(); ++i) {
      const JobHistory* job = history.find(report.jobs[i].name);
      if (job != nullptr) lines.push_back({colour_of(i), (job->*curve).points()});
    }
    html += chart(title, lines);
  };
  add("Training loss (nats per trained token)", &JobHistory::loss);
  add("Loss on held-out rows", &JobHistory::eval_loss);
  add("Exact match on held-out rows", &JobHistory::exact_match);
  add("Learning rate", &JobHistory::learning_rate);
  add("Gradient norm before clipping", &JobHistory::gradient_norm);
  return html;
}

std::string cell(const std::string& text) { return "<td>" + html_escaped(text) + "</td>"; }

std::string end_of(const JobOutcome& job, bool ended) {
  if (!ended) return "running";
  std::string text = job_end_name(job.end);
  if (!job.status.ok()) return text + ": " + job.status.message();
  if (!job.note.empty()) text += ": " + job.note;
  return job.sweep_winner ? text + " (winner of sweep " + job.sweep + ")" : text;
}

std::string number_of(const std::optional<EvalReport>& report, double EvalReport::* field) { return report ? number((*report).*field) : "-"; }

std::string job_table(const RunReport& report, const RunHistory& history) {
  const bool started = std::any_of(report.jobs.begin(), report.jobs.end(), [](const JobOutcome& job) { return job.start_eval.has_value(); });
  std::string html = "<table><tr><th></th><th>job</th><th>steps</th><th>training loss</th><th>held-out loss: base</th>" +
                     std::string(started ? "<th>start</th>" : "") + "<th>adapter</th><th>exact match: base</th><th>adapter</th><th>token "
                     "accuracy</th><th>most frequent answer</th><th>of step</th><th>tokens</th><th>end</th><th>folder</th></tr>\n";
  for (size_t i = 0; i < report.jobs.size(); ++i) {
    const JobOutcome& job = report.jobs[i];
    const JobHistory* past = history.find(job.name);
    html += "<tr><td style='background:" + colour_of(i) + "'>&nbsp;</td>" + cell(job.name) +
            cell(std::to_string(job.step) + " of " + std::to_string(job.steps)) + cell(number(job.last_loss)) +
            cell(number_of(job.base_eval, &EvalReport::loss)) + (started ? cell(number_of(job.start_eval, &EvalReport::loss)) : "") +
            cell(number_of(job.eval, &EvalReport::loss)) + cell(number_of(job.base_eval, &EvalReport::exact_rows)) +
            cell(number_of(job.eval, &EvalReport::exact_rows)) + cell(number_of(job.eval, &EvalReport::token_accuracy)) +
            cell(number_of(job.eval, &EvalReport::same_reference)) +
            cell(job.written ? std::to_string(job.written_step) : "-") + cell(past != nullptr ? std::to_string(past->tokens) : "-") +
            cell(end_of(job, report.ended[i])) + cell(job.written ? job.out.string() : "-") + "</tr>\n";
  }
  return html + "</table>\n";
}

}  // namespace

std::string run_report_html(const RunReport& report, const RunHistory& history) {
  const std::string title = html_escaped(report.title);
  std::string html = "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>" + title +
                     "</title><style>body{font:14px/1.4 sans-serif;max-width:960px;margin:2em auto;padding:0 1em}svg{width:100%;height:auto}"
                     "text{font:11px sans-serif;fill:#444}.grid{stroke:#ddd}table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid "
                     "#ccc;padding:3px 7px;text-align:left;vertical-align:top}pre{background:#f6f6f6;padding:1em;overflow:auto}"
                     "</style></head><body>\n<h1>" + title + "</h1>\n<table>";
  for (const auto& [name, value] : report.facts) html += "<tr><th>" + html_escaped(name) + "</th>" + cell(value) + "</tr>\n";
  html += "</table>\n<h2>Jobs</h2>\n" + job_table(report, history) + charts(report, history);
  if (!report.notes.empty()) html += "<h2>Notes</h2>\n<ul>";
  for (const std::string& note : report.notes) html += "<li>" + html_escaped(note) + "</li>\n";
  if (!report.notes.empty()) html += "</ul>\n";
  return html + "<h2>Configuration</h2>\n<pre>" + html_escaped(report.configuration) + "</pre>\n</body></html>\n";
}

}  // namespace umbel::train
