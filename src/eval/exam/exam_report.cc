#include "eval/exam/exam_report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "base/utf8.h"
#include "eval/exam/results.h"
#include "io/html.h"
#include "io/json.h"

namespace umbel::eval {
namespace {

constexpr size_t kConfusionShown = 40;  // classes; with more a table is no picture
constexpr size_t kBins = 10;
constexpr const char* kStyle =
    "body{font:14px/1.4 sans-serif;max-width:1100px;margin:2em auto;padding:0 1em}svg{max-width:100%}text{font:11px sans-serif;fill:#444}"
    "table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #ccc;padding:3px 7px;text-align:left;vertical-align:top}"
    "td.n{text-align:right}pre{background:#f6f6f6;padding:.5em;margin:0;white-space:pre-wrap;overflow-wrap:anywhere;max-height:20em;overflow:auto}";

std::string format(const char* pattern, double value) {
  std::array<char, 64> buffer{};
  std::snprintf(buffer.data(), buffer.size(), pattern, value);
  return buffer.data();
}
std::string number(double value) { return std::isfinite(value) ? format("%.4g", value) : "-"; }

// Fields of a file that may not be ours: absent or of another kind is nothing.
std::string text_of(const OrderedJson& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}
double number_of(const OrderedJson& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : NAN;
}
const OrderedJson& part_of(const OrderedJson& object, const char* key) {
  static const OrderedJson kNone = OrderedJson::object();
  const auto found = object.find(key);
  return found != object.end() && found->is_object() ? *found : kNone;
}

std::string cell(const std::string& text) { return "<td>" + html_escaped(text) + "</td>"; }
std::string number_cell(double value) { return "<td class='n'>" + number(value) + "</td>"; }
std::string shown_name(const std::string& adapter) { return adapter.empty() ? "(base)" : adapter; }

struct Range {
  double low = 0, high = 1;
};

// Of the intervals of one task and scorer: 0 to 1, wider where scores are.
Range range_of(const std::vector<const OrderedJson*>& results) {
  Range range;
  for (const OrderedJson* result : results) {
    const OrderedJson& interval = part_of(*result, "interval");
    if (const double low = number_of(interval, "low"); std::isfinite(low)) range.low = std::min(range.low, low);
    if (const double high = number_of(interval, "high"); std::isfinite(high)) range.high = std::max(range.high, high);
  }
  return range;
}

// A bar up to the score, with its interval as a line over it.
std::string bar(const OrderedJson& result, const Range& range) {
  constexpr double kWidth = 240, kHeight = 16;
  const auto x = [&](double value) { return std::clamp((value - range.low) / (range.high - range.low), 0.0, 1.0) * kWidth; };
  const double score = number_of(result, "score"), low = number_of(part_of(result, "interval"), "low"), high = number_of(part_of(result, "interval"), "high");
  if (!std::isfinite(score) || !std::isfinite(low) || !std::isfinite(high)) return "";
  const std::string colour = text_of(result, "adapter").empty() ? "#bbb" : "#56B4E9";
  return "<svg width='240' height='16' role='img'><rect x='0' y='2' width='" + format("%.1f", x(score)) + "' height='12' fill='" + colour + "'/><path stroke='#000' d='M" +
         format("%.1f ", x(low)) + format("%.0f", kHeight / 2) + "H" + format("%.1f", x(high)) + "'/></svg>";
}

std::string results_table(const std::vector<const OrderedJson*>& results) {
  const Range range = range_of(results);
  std::string html = "<table><tr><th>adapter</th><th>score</th><th></th><th>95 %</th><th>base</th><th>lift</th><th>p</th><th>p (Holm)</th><th>rows</th><th>cut</th>"
                     "<th>empty</th><th>at limit</th><th>tokens in, out</th></tr>\n";
  for (const OrderedJson* result : results) {
    const OrderedJson& interval = part_of(*result, "interval");
    const OrderedJson& lift = part_of(*result, "lift");
    html += "<tr>" + cell(shown_name(text_of(*result, "adapter"))) + number_cell(number_of(*result, "score")) + "<td>" + bar(*result, range) + "</td>" +
            cell(number(number_of(interval, "low")) + " - " + number(number_of(interval, "high")) + " (" + text_of(interval, "method") + ")") +
            number_cell(number_of(*result, "base_score")) + number_cell(number_of(lift, "difference")) + cell(number(number_of(lift, "p")) + " " + text_of(lift, "test")) +
            number_cell(number_of(lift, "p_holm"));
    for (const char* key : {"rows", "cut", "empty", "at_limit"}) html += number_cell(number_of(*result, key));
    html += cell(format("%.0f, ", number_of(*result, "prompt_tokens")) + format("%.0f", number_of(*result, "answer_tokens"))) + "</tr>\n";
  }
  return html + "</table>\n";
}

// Rows: what was right; columns: what was answered. Empty where a scorer has none.
std::string confusion_table(const OrderedJson& result) {
  const OrderedJson& confusion = part_of(part_of(result, "summary"), "confusion");
  const auto classes = confusion.find("classes"), rows = confusion.find("rows");
  if (classes == confusion.end() || rows == confusion.end() || !classes->is_array() || !rows->is_array() || classes->size() > kConfusionShown || rows->size() != classes->size()) return "";
  double most = 1;
  for (const OrderedJson& row : *rows) {
    for (const OrderedJson& count : row) most = std::max(most, count.is_number() ? count.get<double>() : 0.0);
  }
  const auto name = [&](size_t i) { return html_escaped((*classes)[i].is_string() ? (*classes)[i].get<std::string>() : "?"); };
  std::string html = "<h4>" + html_escaped(shown_name(text_of(result, "adapter"))) + ": what is right (rows) and what was answered (columns)</h4><table><tr><th></th>";
  for (size_t i = 0; i < classes->size(); ++i) html += "<th>" + name(i) + "</th>";
  for (size_t i = 0; i < rows->size(); ++i) {
    html += "</tr>\n<tr><th>" + name(i) + "</th>";
    for (const OrderedJson& count : (*rows)[i]) {
      const double value = count.is_number() ? count.get<double>() : 0.0;
      html += "<td class='n' style='background:rgba(0,114,178," + format("%.2f", value / most * 0.6) + ")'>" + (value > 0 ? format("%.0f", value) : "") + "</td>";
    }
  }
  return html + "</tr></table>\n";
}

// How many rows scored how much, in ten steps from the lowest to the highest.
std::string spread(const std::vector<ShownRow>& rows) {
  double low = INFINITY, high = -INFINITY;
  for (const ShownRow& row : rows) {
    if (!row.score) continue;
    low = std::min(low, *row.score);
    high = std::max(high, *row.score);
  }
  if (!(high > low)) return "";
  std::array<int64_t, kBins> bins{};
  for (const ShownRow& row : rows) {
    if (row.score) ++bins[std::min(kBins - 1, static_cast<size_t>((*row.score - low) / (high - low) * kBins))];
  }
  const auto most = static_cast<double>(*std::max_element(bins.begin(), bins.end()));
  std::string svg = "<svg width='320' height='90' role='img'>";
  for (size_t i = 0; i < kBins; ++i) {
    const double height = static_cast<double>(bins[i]) / most * 60;
    svg += "<rect x='" + format("%.0f", static_cast<double>(i) * 32) + "' y='" + format("%.1f", 64 - height) + "' width='30' height='" + format("%.1f", height) + "' fill='#009E73'><title>" +
           std::to_string(bins[i]) + " rows</title></rect>";
  }
  return svg + "<text x='0' y='80'>" + number(low) + "</text><text x='320' y='80' text-anchor='end'>" + number(high) + "</text></svg>\n";
}

std::string shortened(const std::string& text, size_t most) {
  const std::string_view head = utf8_head(text, most);
  if (head.size() == text.size()) return html_escaped(text);
  return html_escaped(head) + " <i>(and " + std::to_string(text.size() - head.size()) + " bytes more)</i>";
}

Result<std::string> rows_part(Records& records, const std::string& task, const std::string& adapter, const ExamReportOptions& options) {
  ASSIGN_OR_RETURN(const auto all, records.show({.task = task, .adapter = adapter, .worst_first = true, .limit = INT64_MAX}));
  std::string html = "<h4>" + html_escaped(shown_name(adapter)) + ": how its " + std::to_string(all.size()) + " rows scored, and the lowest</h4>\n" + spread(all);
  html += "<table><tr><th>row</th><th>score</th><th>prompt</th><th>reference</th><th>answer</th></tr>\n";
  for (size_t i = 0; i < std::min(all.size(), static_cast<size_t>(options.worst_rows)); ++i) {
    const ShownRow& row = all[i];
    html += "<tr><td class='n'>" + std::to_string(row.row) + "</td>" + number_cell(row.score.value_or(NAN));
    for (const std::string* text : {&row.prompt, &row.reference, &row.answer}) html += "<td><pre>" + shortened(*text, options.text_bytes_max) + "</pre></td>";
    html += "</tr>\n";
  }
  return html + "</table>\n";
}

}  // namespace

Result<std::string> exam_report_html(Records& records, const ExamReportOptions& options) {
  ASSIGN_OR_RETURN(const std::string text, records.about(kResultsName));
  if (text.empty()) return failed_precondition("the exam is not over: go on with the same command, and it has a report");
  ASSIGN_OR_RETURN(const OrderedJson results, parse_ordered_json(text, "the exam's results"));
  ASSIGN_OR_RETURN(const std::string base, records.about("base"));
  std::vector<std::pair<std::pair<std::string, std::string>, std::vector<const OrderedJson*>>> groups;  // by task and scorer, in their order
  for (const OrderedJson& result : results) {
    if (!result.is_object()) continue;
    const std::pair key(text_of(result, "task"), text_of(result, "scorer"));
    auto found = std::find_if(groups.begin(), groups.end(), [&](const auto& group) { return group.first == key; });
    if (found == groups.end()) found = groups.insert(groups.end(), {key, {}});
    found->second.push_back(&result);
  }
  const std::string title = html_escaped(options.title);
  std::string html = "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>" + title + "</title><style>" + kStyle + "</style></head><body>\n<h1>" + title +
                     "</h1>\n<p>Base: " + html_escaped(base) + ". Intervals of 95 %; a lift is over the base on the same rows.</p>\n";
  std::string last;
  for (const auto& [key, rows] : groups) {
    const bool is_new = key.first != last;
    if (is_new) html += "<h2>" + html_escaped(key.first) + "</h2>\n";
    html += "<h3>" + html_escaped(key.second) + "</h3>\n" + results_table(rows);
    for (const OrderedJson* result : rows) html += confusion_table(*result);
    for (const OrderedJson* result : is_new ? rows : std::vector<const OrderedJson*>()) {
      ASSIGN_OR_RETURN(const std::string part, rows_part(records, key.first, text_of(*result, "adapter"), options));
      html += part;
    }
    last = key.first;
  }
  return html + "</body></html>\n";
}

}  // namespace umbel::eval
