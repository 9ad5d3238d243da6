// The HTML page of a run: curves as inline SVG, the table of jobs, the configuration. One file, no script, nothing fetched; strangers'
// texts are escaped.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "train/report/run_events.h"
#include "train/report/run_history.h"

namespace umbel::train {

struct RunReport {
  std::string title;
  std::vector<JobOutcome> jobs;       // as they stand
  std::vector<bool> ended;            // of jobs
  std::vector<std::pair<std::string, std::string>> facts;  // name, value: base, arithmetic, times
  std::vector<std::string> notes;
  std::string configuration;          // of all jobs, as text
};

std::string run_report_html(const RunReport& report, const RunHistory& history);

}  // namespace umbel::train
