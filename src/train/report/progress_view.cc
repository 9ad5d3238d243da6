#include "train/report/progress_view.h"

#include <algorithm>
#include <cstdio>

#include "base/utf8.h"
#include "train/report/run_pace.h"

namespace umbel::train {
namespace {

constexpr size_t kNameColumnsMax = 32;

template <typename... Args>
std::string printed(const char* format, Args... args) {
  char buffer[400];
  const int length = std::snprintf(buffer, sizeof buffer, format, args...);
  return {buffer, static_cast<size_t>(std::clamp<int>(length, 0, sizeof buffer - 1))};
}

}  // namespace

ProgressView::ProgressView(const std::vector<std::string>& jobs, const ProgressOptions& options, Write write, const Clock& clock)
    : options_(options), write_(std::move(write)), clock_(clock) {
  for (const std::string& name : jobs) {
    index_.emplace(name, rows_.size());
    rows_.push_back({.name = name});
    name_width_ = std::max(name_width_, std::min(name.size(), kNameColumnsMax));
  }
  options_.in_place = options_.in_place && jobs.size() <= options_.rows_max;
}

ProgressView::Row* ProgressView::find(const std::string& job) {
  const auto found = index_.find(job);
  return found == index_.end() ? nullptr : &rows_[found->second];
}

std::string ProgressView::line_of(const Row& row) const {
  std::string line = row.name;
  line.resize(std::max(line.size(), name_width_), ' ');
  if (!row.started && row.end.empty()) return line + "  waiting";
  const StepReport& step = row.step;
  line += printed("  step %lld/%lld  loss %.4f", static_cast<long long>(step.step), static_cast<long long>(step.steps), step.loss);
  if (row.has_eval) line += printed("  eval %.4f", row.eval_loss);
  if (row.has_base) line += printed(" (base %.4f)", row.base_loss);
  if (!row.end.empty()) return line + "  " + row.end;
  line += printed("  lr %.2e  grad %.3f  %.0f tokens/s", step.learning_rate, step.gradient_norm, row.pace.tokens_per_second);
  return row.pace.left_seconds > 0 ? line + "  ETA " + format_seconds(row.pace.left_seconds) : line;
}

void ProgressView::on_step(const StepReport& report, const RunPace& pace) {
  Row* row = find(report.job);
  if (row == nullptr) return;
  row->started = true;
  row->step = report;
  row->pace = pace;
  stale_ = true;
  if (options_.in_place) {
    if (clock_.now() - drawn_at_ >= options_.redraw || drawn_ == 0) draw();
    return;
  }
  // Ten lines a job, or four where there are many jobs.
  const int64_t every = std::max<int64_t>(1, report.steps / (rows_.size() <= options_.rows_max ? 10 : 4));
  if (report.step % every == 0 || report.step == 1 || report.step == report.steps) write_(line_of(*row) + "\n");
}

void ProgressView::on_eval(const EvalEvent& event) {
  Row* row = find(event.job);
  if (row == nullptr) return;
  row->has_eval = true;
  row->eval_loss = event.report.loss;
  if (event.step == 0) row->base_loss = event.report.loss;
  row->has_base = row->has_base || event.step == 0 || event.base_loss > 0;
  if (event.base_loss > 0) row->base_loss = event.base_loss;
  stale_ = true;
  if (options_.in_place) return draw();
  if (rows_.size() > options_.rows_max) return;  // it stands in the lines of steps
  write_(row->name + printed(": eval loss %.4f at step %lld (%lld rows, %.1f %% exact, %.1f %% of tokens)%s\n", event.report.loss,
                             static_cast<long long>(event.step), static_cast<long long>(event.rows), 100 * event.report.exact_rows, 100 * event.report.token_accuracy,
                             event.step == 0 ? ", before training" : event.best ? ", the best so far" : ""));
}

void ProgressView::on_end(const JobOutcome& outcome) {
  Row* row = find(outcome.name);
  if (row == nullptr) return;
  row->end = job_end_name(outcome.end);
  row->step.step = outcome.step;
  row->step.steps = outcome.steps;
  row->step.loss = outcome.last_loss;
  if (!outcome.note.empty()) row->end += ": " + outcome.note;
  if (!outcome.status.ok()) row->end += ": " + outcome.status.message();
  stale_ = true;
  if (options_.in_place) {
    // A reason may be longer than a line that is redrawn.
    if (!outcome.status.ok()) print_above(row->name + ": " + row->end);
    return draw();
  }
  write_(line_of(*row) + "\n");
}

void ProgressView::on_note(const std::string& note) { print_above(note); }

void ProgressView::flush() {
  if (options_.in_place && stale_) draw();
  drawn_ = 0;
}

void ProgressView::print_above(const std::string& line) {
  if (drawn_ == 0) return write_(line + "\n");
  write_(printed("\x1b[%zuA\x1b[J", drawn_) + line + "\n");
  drawn_ = 0;
  draw();
}

void ProgressView::draw() {
  std::string text = drawn_ > 0 ? printed("\x1b[%zuA", drawn_) : "";
  for (const Row& row : rows_) text += "\x1b[2K" + std::string(utf8_head(line_of(row), static_cast<size_t>(std::max(20, options_.columns - 1)))) + "\n";
  write_(text);
  drawn_ = rows_.size();
  drawn_at_ = clock_.now();
  stale_ = false;
}

}  // namespace umbel::train
