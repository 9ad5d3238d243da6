// ProgressView: a run's events as text for whoever waits: one line a job that is redrawn in place on a terminal, or a line now
// and then. Writes nothing but through `write`.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "train/report/run_events.h"

namespace umbel::train {

struct ProgressOptions {
  bool in_place = false;  // a terminal; more than rows_max jobs are shown as a file would have them
  int columns = 100;      // lines in place are cut to it
  size_t rows_max = 10;
  Duration redraw = from_seconds(0.1);
};

class ProgressView : public RunObserver {
 public:
  using Write = std::function<void(std::string_view)>;
  // jobs: their names, in order. The clock outlives the view.
  ProgressView(const std::vector<std::string>& jobs, const ProgressOptions& options, Write write, const Clock& clock);

  void on_step(const StepReport& report, const RunPace& pace) override;
  void on_eval(const EvalEvent& event) override;
  void on_end(const JobOutcome& outcome) override;
  void on_note(const std::string& note) override;
  // Draws what is not drawn yet; at the end of a run and before other output.
  void flush();

 private:
  struct Row {
    std::string name;
    bool started = false, ended = false;
    StepReport step;
    RunPace pace;
    bool has_eval = false, has_base = false;
    double eval_loss = 0, base_loss = 0;
    std::string end;  // how it ended
  };
  std::string line_of(const Row& row) const;
  void print_above(const std::string& line);
  void draw();
  Row* find(const std::string& job);

  std::vector<Row> rows_;
  std::map<std::string, size_t> index_;
  ProgressOptions options_;
  Write write_;
  const Clock& clock_;
  size_t name_width_ = 0;
  size_t drawn_ = 0;  // lines on the terminal that the next drawing replaces
  TimePoint drawn_at_{};
  bool stale_ = false;
};

}  // namespace umbel::train
