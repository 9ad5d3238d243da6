#include "train/report/run_log.h"

#include <chrono>
#include <limits>

#include "train/report/tensorboard.h"

namespace umbel::train {
namespace {

constexpr double kEventsPauseSeconds = 1.0;
constexpr uint64_t kWholeFile = std::numeric_limits<uint64_t>::max();

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// A mark, or 0 when the checkpoint knows nothing of the file.
uint64_t mark_of(const Json& marks, const std::string& name) {
  if (!marks.is_object() || !marks.contains(name) || !marks[name].is_number_unsigned()) return 0;
  return marks[name].get<uint64_t>();
}

Status read_history(const Path& file, RunHistory& history) {
  ASSIGN_OR_RETURN(const std::string text, read_file(file, size_t{4} << 30));
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const auto line = parse_json(std::string_view(text).substr(begin, end - begin), kRunLogName);
    if (line.ok()) history.take(*line);
    begin = end + 1;
  }
  return ok_status();
}

}  // namespace

Result<RunLog> RunLog::open(const Path& folder, const std::vector<std::string>& jobs, const Json& marks) {
  const Path path = folder / kRunLogName;
  ASSIGN_OR_RETURN(AppendFile lines, AppendFile::open(path, mark_of(marks, kRunLogName)));
  RunLog log(std::move(lines));
  RETURN_IF_ERROR(read_history(path, log.history_));
  const Json events = marks.is_object() && marks.contains("tensorboard") ? marks["tensorboard"] : Json();
  for (const std::string& job : jobs) {
    Events& file = log.events_[job];
    file.path = folder / "tensorboard" / job / kTensorboardFileName;
    ASSIGN_OR_RETURN(const AppendFile kept, AppendFile::open(file.path, mark_of(events, job)));
    file.size = kept.size();
    if (file.size == 0) file.pending = tensorboard_header(wall_seconds());
  }
  return log;
}

void RunLog::line(const Json& object) {
  lines_.append(object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  history_.take(object);
}

void RunLog::scalar(const std::string& job, int64_t step, const char* tag, double value) {
  events_[job].pending +=
      tensorboard_record({.wall_seconds = wall_seconds(), .step = step, .tag = tag, .value = static_cast<float>(value)});
}

void RunLog::step(const StepReport& report, double seconds) {
  line({{"event", "step"}, {"job", report.job}, {"step", report.step}, {"epoch", report.epoch}, {"loss", report.loss},
        {"learning_rate", report.learning_rate}, {"gradient_norm", report.gradient_norm}, {"tokens", report.tokens}, {"seconds", seconds}});
  scalar(report.job, report.step, "train/loss", report.loss);
  scalar(report.job, report.step, "train/learning_rate", report.learning_rate);
  scalar(report.job, report.step, "train/gradient_norm", report.gradient_norm);
}

void RunLog::eval(const EvalEvent& event, double seconds) {
  const EvalReport& report = event.report;
  line({{"event", "eval"}, {"job", event.job}, {"step", event.step}, {"loss", report.loss}, {"rows", event.rows},
        {"tokens", report.tokens}, {"token_accuracy", report.token_accuracy}, {"exact_rows", report.exact_rows}, {"same_answer", report.same_answer},
        {"same_reference", report.same_reference}, {"best", event.best}, {"base_loss", event.base_loss}, {"seconds", seconds}});
  scalar(event.job, event.step, "eval/loss", report.loss);
  scalar(event.job, event.step, "eval/exact_rows", report.exact_rows);
  scalar(event.job, event.step, "eval/token_accuracy", report.token_accuracy);
}

void RunLog::end(const JobOutcome& outcome, double seconds) {
  line({{"event", "end"}, {"job", outcome.name}, {"step", outcome.step}, {"end", job_end_name(outcome.end)},
        {"note", outcome.status.ok() ? outcome.note : outcome.status.message()}, {"written", outcome.written}, {"seconds", seconds}});
}

void RunLog::note(const std::string& text, double seconds) { line({{"event", "note"}, {"text", text}, {"seconds", seconds}}); }

Status RunLog::write_events(bool to_disk) {
  for (auto& [job, events] : events_) {
    if (events.pending.empty() && !to_disk) continue;
    ASSIGN_OR_RETURN(AppendFile file, AppendFile::open(events.path, kWholeFile));
    file.append(events.pending);
    RETURN_IF_ERROR(to_disk ? file.sync() : file.flush());
    events.pending.clear();
    events.size = file.size();
  }
  events_written_ = wall_seconds();
  return ok_status();
}

Status RunLog::flush() {
  RETURN_IF_ERROR(lines_.flush());
  return wall_seconds() - events_written_ < kEventsPauseSeconds ? ok_status() : write_events(/*to_disk=*/false);
}

Status RunLog::sync() {
  RETURN_IF_ERROR(lines_.sync());
  return write_events(/*to_disk=*/true);
}

Json RunLog::marks() const {
  Json marks{{kRunLogName, lines_.size()}, {"tensorboard", Json::object()}};
  for (const auto& [job, events] : events_) marks["tensorboard"][job] = events.size;
  return marks;
}

}  // namespace umbel::train
