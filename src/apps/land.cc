// umbel land: the study that LoRA Land made. compare: the figures that the paper quotes, computed again from its own table.
#include <cstdio>
#include <iostream>
#include <set>

#include "apps/base_model.h"
#include "apps/exit.h"
#include "apps/table.h"
#include "apps/verb.h"
#include "eval/land/study.h"
#include "io/json.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Examples:
  umbel land compare
  umbel land compare --json
The scores are those of table 12 of arXiv 2405.00732 (10 bases x 31 tasks, before and after fine-tuning), in assets/land; --scores names a
folder of others with the same columns.)";

struct Flags {
  std::string scores;
  bool json = false;
};

// A row of figures of one model or one type.
Result<OrderedJson> figures_of(const eval::Study& study, const std::string& group, const std::vector<std::string>& names, const std::string& of) {
  OrderedJson figures = {{group, of}};
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(figures[name], eval::study_statistic(study, group + "." + name + "/" + of));
  }
  return figures;
}

Result<OrderedJson> groups_of(const eval::Study& study, const std::string& group, const std::vector<std::string>& names) {
  std::vector<std::string> members = study.models;
  if (group == "type") {
    std::set<std::string> types;
    for (const eval::StudyTask& task : study.tasks) types.insert(task.type);
    members.assign(types.begin(), types.end());
  }
  OrderedJson list = OrderedJson::array();
  for (const std::string& member : members) {
    ASSIGN_OR_RETURN(OrderedJson figures, figures_of(study, group, names, member));
    list.push_back(std::move(figures));
  }
  return list;
}

void print_groups(const OrderedJson& list) {
  std::vector<std::string> heads;
  for (const auto& [name, value] : list.front().items()) heads.push_back(name);
  Table table(heads);
  for (const OrderedJson& figures : list) {
    std::vector<std::string> cells;
    for (const auto& [name, value] : figures.items()) cells.push_back(value.is_string() ? value.get<std::string>() : number(value.get<double>()));
    table.add(std::move(cells));
  }
  std::cout << table.text() << "\n";
}

Status run_compare(const Flags& flags) {
  Path dir = flags.scores;
  if (dir.empty()) {
    ASSIGN_OR_RETURN(const Path assets, find_assets());
    dir = assets / "land";
  }
  ASSIGN_OR_RETURN(const eval::Study study, eval::read_study(dir));
  ASSIGN_OR_RETURN(const auto quoted, eval::compare_with_quoted(study, dir));
  ASSIGN_OR_RETURN(const OrderedJson models, groups_of(study, "model", {"base", "fine_tuned", "lift", "best_on", "best_alone_on", "beats_gpt_4", "beats_gpt_3_5", "improved"}));
  ASSIGN_OR_RETURN(const OrderedJson types, groups_of(study, "type", {"tasks", "best_base", "best_fine_tuned", "gpt_3_5", "gpt_4"}));
  OrderedJson overall = OrderedJson::object();
  for (const char* name : {"count.cells", "count.improved", "count.beats_gpt_4", "count.beats_or_ties_gpt_4", "mean.base", "mean.fine_tuned", "mean.lift", "mean.best_base",
                           "mean.best_fine_tuned", "mean.gpt_3_5", "mean.gpt_4", "mean.best_fine_tuned_over_gpt_4", "tasks.gpt_4_ahead", "tasks.gpt_4_tied"}) {
    ASSIGN_OR_RETURN(overall[name], eval::study_statistic(study, name));
  }
  OrderedJson list = OrderedJson::array();
  Table table({"quoted figure", "where", "quoted", "computed", ""});
  size_t unsupported = 0;
  for (const eval::QuotedFigure& one : quoted) {
    unsupported += one.supported() ? 0 : 1;
    list.push_back({{"what", one.what}, {"where", one.where}, {"statistic", one.statistic}, {"quoted", one.quoted}, {"computed", one.computed},
                    {"tolerance", one.tolerance}, {"supported", one.supported()}});
    table.add({one.what, one.where, number(one.quoted), number(one.computed), one.supported() ? "" : "not supported"});
  }
  if (flags.json) {
    const OrderedJson report = {{"overall", overall}, {"models", models}, {"types", types}, {"quoted", list}, {"unsupported", unsupported}};
    std::cout << report.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) << "\n";
    return ok_status();
  }
  Table all({"overall", ""});
  for (const auto& [name, value] : overall.items()) all.add({name, number(value.get<double>())});
  std::cout << all.text() << "\n";
  print_groups(models);
  print_groups(types);
  std::cout << table.text() << "\n" << unsupported << " of " << quoted.size() << " quoted figures are not what the printed table gives\n";
  return ok_status();
}

}  // namespace

void add_land(CLI::App& program, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = program.add_subcommand("land", "the LoRA Land study");
  verb->require_subcommand(1);
  CLI::App* compare = verb->add_subcommand("compare", "compute the figures that the paper quotes again, from its own table");
  compare->add_option("--scores", flags->scores, "folder with tasks.csv, scores.csv and quoted.csv (default: the paper's)");
  compare->add_flag("--json", flags->json, "JSON for machines");
  compare->footer(kFooter);
  compare->callback([flags, &run] { run = [flags] { return finish(run_compare(*flags)); }; });
}

}  // namespace umbel::apps
