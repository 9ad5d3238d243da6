// umbel eval report: an exam as one page.
#include <iostream>

#include "apps/eval.h"
#include "apps/exit.h"
#include "eval/exam/exam_report.h"

namespace umbel::apps {
namespace {

struct Flags {
  std::string dir, out, title;
  int64_t rows = 5;
};

Status run_report(const Flags& flags) {
  ASSIGN_OR_RETURN(const auto records, open_exam_records(flags.dir));
  ASSIGN_OR_RETURN(const std::string html, eval::exam_report_html(*records, {.title = flags.title.empty() ? "Exam " + flags.dir : flags.title, .worst_rows = flags.rows}));
  const Path file = flags.out.empty() ? Path(flags.dir) / "report.html" : Path(flags.out);
  RETURN_IF_ERROR(write_file_atomic(file, html));
  std::cout << file.string() << "\n";
  return ok_status();
}

}  // namespace

void add_eval_report(CLI::App& verb, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* report = verb.add_subcommand("report", "one page of an exam: results, confusion, worst rows");
  report->add_option("DIR", flags->dir, "the folder that --out named")->required();
  report->add_option("--file", flags->out, "where the page goes (default: DIR/report.html)");
  report->add_option("--title", flags->title, "its title");
  report->add_option("--rows", flags->rows, "worst rows of every task and adapter")->check(CLI::Range(int64_t{0}, int64_t{1000}))->capture_default_str();
  report->callback([flags, &run] { run = [flags] { return finish(run_report(*flags)); }; });
}

}  // namespace umbel::apps
