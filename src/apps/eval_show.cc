// umbel eval show: the answers of an exam, row by row.
#include <cstdio>
#include <iostream>

#include "apps/eval.h"
#include "apps/exit.h"
#include "apps/table.h"
#include "base/printable.h"
#include "eval/exam/records.h"

namespace umbel::apps {
namespace {

struct Flags {
  std::string dir, task, adapter;
  std::vector<std::string> diff;
  int64_t rows = 20;
  bool worst = false;
  bool json = false;
};

// The base's name on the command line; in the records it is "".
constexpr const char* kBase = "base";
std::string record_name(const std::string& adapter) { return adapter == kBase ? "" : adapter; }
std::string shown_name(const std::string& adapter) { return adapter.empty() ? "(base)" : adapter; }

void print_answer(const std::string& adapter, const std::string& answer, std::optional<double> score) {
  std::cout << "  " << printable(shown_name(adapter)) << (score ? " (" + number(*score) + ")" : "") << ": "
            << printable(answer, kPrintableReportMax, LineBreaks::kIndented) << "\n";
}

OrderedJson row_json(const eval::ShownRow& row, bool is_diff) {
  OrderedJson json = {{"task", row.task}, {"adapter", row.adapter}, {"row", row.row}, {"prompt", row.prompt}, {"reference", row.reference}, {"answer", row.answer},
                      {"finish", row.finish}, {"score", row.score ? OrderedJson(*row.score) : OrderedJson(nullptr)}};
  if (is_diff) json.update({{"other_answer", row.other_answer}, {"other_score", row.other_score ? OrderedJson(*row.other_score) : OrderedJson(nullptr)}});
  return json;
}

Status run_show(const Flags& flags) {
  ASSIGN_OR_RETURN(const auto records, open_exam_records(flags.dir));
  eval::ShowQuery query{.task = flags.task, .worst_first = flags.worst, .limit = flags.rows};
  if (!flags.adapter.empty()) query.adapter = record_name(flags.adapter);
  if (!flags.diff.empty()) {
    query.adapter = record_name(flags.diff[0]);
    query.other = record_name(flags.diff[1]);
  }
  ASSIGN_OR_RETURN(const auto rows, records->show(query));
  for (const eval::ShownRow& row : rows) {
    if (flags.json) {
      std::cout << row_json(row, query.other.has_value()).dump(-1, ' ', false, OrderedJson::error_handler_t::replace) << "\n";
      continue;
    }
    std::cout << printable(row.task) << ":" << row.row << " " << printable(row.prompt, kPrintableReportMax, LineBreaks::kIndented) << "\n  reference: "
              << printable(row.reference, kPrintableReportMax, LineBreaks::kIndented) << "\n";
    print_answer(row.adapter, row.answer, row.score);
    if (query.other) print_answer(*query.other, row.other_answer, row.other_score);
  }
  if (rows.empty() && !flags.json) std::cout << "no such rows\n";
  return ok_status();
}

}  // namespace

Result<std::unique_ptr<eval::Records>> open_exam_records(const std::string& dir) {
  const Path file = Path(dir) / kExamFile;
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) return not_found("there is no exam in \"" + dir + "\": it has no " + kExamFile);
  return eval::Records::open(file);
}

void add_eval_show(CLI::App& verb, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* show = verb.add_subcommand("show", "look at an exam's answers");
  show->add_option("DIR", flags->dir, "the folder that --out named")->required();
  show->add_option("--task", flags->task, "only this task");
  CLI::Option* adapter = show->add_option("--adapter", flags->adapter, "only this adapter (\"base\": the base)");
  show->add_option("--diff", flags->diff, "two adapters: the rows that they answer differently")->expected(2)->excludes(adapter);
  show->add_option("--rows", flags->rows, "how many")->check(CLI::Range(int64_t{1}, int64_t{1} << 40))->capture_default_str();
  show->add_flag("--worst", flags->worst, "lowest scores first");
  show->add_flag("--json", flags->json, "one JSON object a row");
  show->callback([flags, &run] { run = [flags] { return finish(run_show(*flags)); }; });
}

}  // namespace umbel::apps
