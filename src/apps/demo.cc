// umbel demo: shows a running server at work: every adapter on rows of its own task, alone and mixed in one batch.
#include <algorithm>
#include <atomic>
#include <iostream>
#include <map>
#include <thread>

#include "apps/base_model.h"
#include "apps/exit.h"
#include "apps/question_rows.h"
#include "apps/verb.h"
#include "base/utf8.h"
#include "io/json.h"
#include "load/client.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Example (scripts/demo does this):
  umbel serve seedling --adapters assets/adapters &
  umbel demo --url http://127.0.0.1:8080)";

struct Flags {
  std::string url = "http://127.0.0.1:8080";
  std::string tasks;  // folder of TASK.test.jsonl
  int rows = 8;       // per adapter
  int clients = 16;
  std::string only;  // one name; empty = all
  bool json = false;
};

struct Row {
  std::string model;
  std::string prompt, completion;
  int max_tokens = 32;
};

// The adapters of seedling carry their task's name before the first '-'.
std::string task_of(const std::string& adapter) { return adapter.substr(0, adapter.find('-')); }

Result<std::vector<std::string>> list_models(load::Client& client) {
  ASSIGN_OR_RETURN(const std::string body, client.get("/v1/models"));
  ASSIGN_OR_RETURN(const Json json, parse_json(body, "/v1/models"));
  std::vector<std::string> names;
  if (json.is_object() && json.contains("data") && json["data"].is_array()) {
    for (const Json& entry : json["data"]) {
      if (entry.is_object() && entry.contains("id") && entry["id"].is_string()) names.push_back(entry["id"]);
    }
  }
  if (names.empty()) return not_found("the server lists no model");
  return names;
}

// Rows of every name: an adapter gets its own task's, the base (and any other name) the first task's.
Result<std::vector<Row>> collect_rows(const std::vector<std::string>& models, const Path& tasks, int count) {
  std::vector<Row> rows;
  std::error_code error;
  for (const std::string& model : models) {
    Path file = tasks / (task_of(model) + ".test.jsonl");
    if (!std::filesystem::exists(file, error)) file = tasks / "e2e_nlg.test.jsonl";
    ASSIGN_OR_RETURN(const auto task, data::read_plain_pairs(file, static_cast<size_t>(std::max(0, count)), data::Answers::kNeeded));
    for (const data::PlainPair& row : task) rows.push_back({model, row.prompt, *row.completion, task_of(model) == "bc5cdr" ? 64 : 32});
  }
  if (rows.empty()) return not_found("no task rows in \"" + tasks.string() + "\"; give --tasks");
  return rows;
}

// Answers of all rows by `clients` clients at once; each row is one streaming request.
std::vector<load::Record> answer_all(const Flags& flags, const std::vector<Row>& rows, int clients, double& wall_s) {
  std::vector<load::Record> records(rows.size());
  std::atomic<size_t> next{0};
  const RealClock clock;
  const TimePoint origin = clock.now();
  const auto work = [&] {
    load::Client client(flags.url, "", from_seconds(300));
    for (size_t i = next++; i < rows.size(); i = next++) {
      const Row& row = rows[i];
      records[i] = client.run({.number = i, .model = row.model, .prompt_text = row.prompt, .max_tokens = row.max_tokens,
                               .ignore_eos = false, .return_token_ids = true}, origin);
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < clients; ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  wall_s = to_seconds(clock.now() - origin);
  return records;
}

std::string shortened(std::string text, size_t limit) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  if (text.size() <= limit) return text;
  return std::string(utf8_head(text, limit)) + "...";
}

struct Tally {
  int rows = 0, exact = 0, same = 0;
  int64_t tokens = 0;
};

Json tally_json(const std::map<std::string, Tally>& tallies) {
  Json json;
  for (const auto& [model, tally] : tallies) {
    json[model] = {{"rows", tally.rows}, {"exact_match", tally.exact}, {"same_tokens_as_alone", tally.same}, {"tokens", tally.tokens}};
  }
  return json;
}

void print_example(const Row& row, const load::Record& record) {
  std::cout << "\n" << row.model << "\n  asked:    " << shortened(row.prompt, 110)
            << "\n  answered: " << shortened(trimmed(record.text), 110)
            << "\n  expected: " << shortened(trimmed(row.completion), 110) << "\n";
}

void print_tallies(const std::map<std::string, Tally>& tallies) {
  std::printf("\n%-24s %6s %12s %22s %8s\n", "name", "rows", "exact match", "same tokens as alone", "tokens");
  for (const auto& [model, t] : tallies) {
    std::printf("%-24s %6d %12d %22d %8lld\n", model.c_str(), t.rows, t.exact, t.same, static_cast<long long>(t.tokens));
  }
}

Status run_demo(const Flags& flags) {
  load::Client client(flags.url, "", from_seconds(300));
  ASSIGN_OR_RETURN(std::vector<std::string> models, list_models(client));
  if (!flags.only.empty()) {
    if (std::find(models.begin(), models.end(), flags.only) == models.end()) return not_found("--only: the server does not list \"" + flags.only + "\"");
    models = {flags.only};
  }
  Path tasks = flags.tasks;
  if (flags.tasks.empty()) {
    ASSIGN_OR_RETURN(const Path assets, find_assets());
    tasks = assets / "tasks";
  }
  ASSIGN_OR_RETURN(const std::vector<Row> rows, collect_rows(models, tasks, flags.rows));
  double alone_s = 0, mixed_s = 0;
  const auto alone = answer_all(flags, rows, 1, alone_s);
  // Mixed: neighbours in time belong to different names.
  std::vector<Row> shuffled;
  std::vector<size_t> origin;
  for (int k = 0; k < flags.rows; ++k) {
    for (size_t i = k; i < rows.size(); i += flags.rows) {
      shuffled.push_back(rows[i]);
      origin.push_back(i);
    }
  }
  const auto mixed = answer_all(flags, shuffled, flags.clients, mixed_s);
  std::map<std::string, Tally> tallies;
  int64_t tokens = 0;
  for (size_t i = 0; i < mixed.size(); ++i) {
    const load::Record& before = alone[origin[i]];
    if (!mixed[i].ok || !before.ok) return Status(Code::kUnavailable, shuffled[i].model + ": " + mixed[i].error + before.error);
    Tally& tally = tallies[shuffled[i].model];
    ++tally.rows;
    tally.exact += trimmed(mixed[i].text) == trimmed(shuffled[i].completion);
    tally.same += mixed[i].token_ids == before.token_ids && mixed[i].text == before.text && !before.token_ids.empty();
    tally.tokens += mixed[i].tokens;
    tokens += mixed[i].tokens;
  }
  bool all_same = true;
  for (const auto& [model, tally] : tallies) all_same &= tally.same == tally.rows;
  if (flags.json) {
    std::cout << Json{{"models", tally_json(tallies)}, {"alone_s", alone_s}, {"mixed_s", mixed_s}, {"clients", flags.clients},
                      {"tokens", tokens}, {"all_same", all_same}}.dump(2) << "\n";
  } else {
    for (size_t i = 0; i < mixed.size() && i < models.size(); ++i) print_example(shuffled[i], mixed[i]);
    print_tallies(tallies);
    std::printf("\n%zu requests, %zu names, %lld tokens: one at a time %.2f s (%.0f tokens/s), %d streaming clients at once "
                "%.2f s (%.0f tokens/s)\n", rows.size(), models.size(), static_cast<long long>(tokens), alone_s,
                static_cast<double>(tokens) / alone_s, flags.clients, mixed_s, static_cast<double>(tokens) / mixed_s);
    std::printf("%s\n", all_same ? "every answer has the same tokens mixed as alone" : "SOME ANSWERS DIFFER from the same request alone");
  }
  return all_same ? ok_status() : internal_error("answers depend on their batch mates");
}

}  // namespace

void add_demo(CLI::App& program, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = program.add_subcommand("demo", "show a running server at work on rows of its adapters' tasks");
  verb->add_option("--url", flags->url, "the server")->capture_default_str();
  verb->add_option("--tasks", flags->tasks, "folder of TASK.test.jsonl files (default: assets/tasks)");
  verb->add_option("--rows", flags->rows, "rows per name")->check(CLI::Range(1, 1000))->capture_default_str();
  verb->add_option("--clients", flags->clients, "streaming clients at once")->check(CLI::Range(1, 256))->capture_default_str();
  verb->add_option("--only", flags->only, "only this name");
  verb->add_flag("--json", flags->json, "JSON for machines");
  verb->footer(kFooter);
  verb->callback([flags, &run] { run = [flags] { return finish(run_demo(*flags)); }; });
}

}  // namespace umbel::apps
