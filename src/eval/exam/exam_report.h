// The HTML page of an exam: results with their intervals as bars, confusion tables, the worst rows of every adapter, how scores spread. One
// file, no script, nothing fetched; what models and data sets wrote is escaped.
#pragma once

#include <string>

#include "base/status.h"
#include "eval/exam/records.h"

namespace umbel::eval {

struct ExamReportOptions {
  std::string title;
  int64_t worst_rows = 5;        // of every task and adapter
  size_t text_bytes_max = 2000;  // of a prompt or an answer; the rest is left out, and said so
};

// Reads what exam_results() left in the records. kFailedPrecondition when the exam is not over.
Result<std::string> exam_report_html(Records& records, const ExamReportOptions& options);

}  // namespace umbel::eval
