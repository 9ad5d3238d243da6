// umbel eval score, umbel eval scorers: answers that somebody else made against their references.
#include <cstdio>
#include <iostream>

#include "apps/eval.h"
#include "apps/exit.h"
#include "eval/scorers/registry.h"
#include "eval/scorers/rows.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Examples:
  umbel eval score --scorer rouge rows.jsonl
  umbel eval score --scorer class_accuracy --option classes=yes,no rows.csv --json
Rows are {"prediction", "reference"}: JSON lines, a JSON list, CSV or TSV (plain, gzip or zstd) or Parquet. A prediction that is null is an absent answer
and scores 0. A reference may be a list of several. "umbel eval scorers" lists the scorers; docs/eval.md says how each one counts.)";

struct Flags {
  std::string file, scorer;
  std::vector<std::string> options;
  bool json = false;
};

Status run_score(const Flags& flags) {
  ASSIGN_OR_RETURN(const OrderedJson options, scorer_options(flags.options));
  ASSIGN_OR_RETURN(const auto scorer, eval::make_scorer(flags.scorer, options));
  ASSIGN_OR_RETURN(const auto rows, eval::read_scored_rows(flags.file));
  ASSIGN_OR_RETURN(const eval::Scores scores, scorer->score(rows));
  OrderedJson report = {{"scorer", flags.scorer}, {"rows", rows.size()}, {"mean", scores.mean}};
  if (flags.json) report["scores"] = scores.scores;
  report["summary"] = scores.summary;
  std::cout << report.dump(flags.json ? -1 : 2, ' ', false, OrderedJson::error_handler_t::replace) << "\n";
  return ok_status();
}

Status run_scorers(bool json) {
  OrderedJson list = OrderedJson::array();
  for (const eval::ScorerEntry& entry : eval::scorer_entries()) {
    list.push_back({{"name", entry.name}, {"what", entry.what}, {"right_wrong", entry.outcome == eval::Outcome::kRightWrong},
                    {"higher_is_better", entry.better == eval::Better::kHigher}});
    if (!json) std::printf("%-28s%s\n", entry.name, entry.what);
  }
  if (json) std::cout << list.dump() << "\n";
  return ok_status();
}

}  // namespace

Result<OrderedJson> scorer_options(const std::vector<std::string>& flags) {
  OrderedJson options = OrderedJson::object();
  for (const std::string& flag : flags) {
    const size_t equals = flag.find('=');
    if (equals == std::string::npos || equals == 0) return invalid_argument("--option is NAME=VALUE, not \"" + flag + "\"");
    options[flag.substr(0, equals)] = flag.substr(equals + 1);
  }
  return options;
}

void add_eval_score(CLI::App& verb, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* score = verb.add_subcommand("score", "score answers that somebody else made");
  score->add_option("ROWS", flags->file, "a file of rows")->required();
  score->add_option("--scorer", flags->scorer, "how a row counts")->required();
  score->add_option("--option", flags->options, "NAME=VALUE of the scorer; may be repeated");
  score->add_flag("--json", flags->json, "one line for machines, every row's score in it");
  score->footer(kFooter);
  score->callback([flags, &run] { run = [flags] { return finish(run_score(*flags)); }; });

  auto json = std::make_shared<bool>(false);
  CLI::App* scorers = verb.add_subcommand("scorers", "list the scorers");
  scorers->add_flag("--json", *json, "JSON for machines");
  scorers->callback([json, &run] { run = [json] { return finish(run_scorers(*json)); }; });
}

}  // namespace umbel::apps
