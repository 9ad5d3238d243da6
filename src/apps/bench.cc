// umbel bench: a load generator for any OpenAI-compatible server.
#include <fstream>
#include <iostream>

#include "apps/exit.h"
#include "apps/progress.h"
#include "apps/verb.h"
#include "io/file.h"
#include "load/report.h"
#include "load/run.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Examples:
  umbel bench --url http://127.0.0.1:8080 --clients 16 --requests 128 --mix distinct
  umbel bench --models base,a1,a2,a3 --mix zipf --zipf 1.0 --rate 4 --slo-ttft 2 --html report.html
  umbel bench --prompts prompts.txt --max-tokens 128 --json
Without --models all names of the server's /v1/models are used. --rate makes it an open loop (gamma arrivals), else
--clients wait for their answers (closed loop). Prompts are random token ids unless --prompts gives a file of lines.)";

struct Flags {
  load::RunOptions run;
  load::Objectives objectives;
  std::string mix = "uniform";
  std::string prompts_file, html;
  double timeout_s = 600;
  bool json = false;
  bool respect_eos = false;
};

Result<std::vector<std::string>> server_models(const load::RunOptions& options) {
  load::Client client(options.url, options.api_key, options.timeout);
  ASSIGN_OR_RETURN(const std::string body, client.get("/v1/models"));
  ASSIGN_OR_RETURN(const Json json, parse_json(body, "/v1/models"));
  std::vector<std::string> names;
  const auto data = json.is_object() ? json.find("data") : json.end();
  if (!json.is_object() || data == json.end() || !data->is_array()) return data_loss("/v1/models has no \"data\" list");
  for (const Json& entry : *data) {
    if (entry.is_object() && entry.contains("id") && entry["id"].is_string()) names.push_back(entry["id"]);
  }
  if (names.empty()) return not_found("the server's /v1/models lists no model; give --models");
  return names;
}

Status read_prompts(const std::string& path, std::vector<std::string>& prompts) {
  std::ifstream file(path);
  if (!file) return not_found("--prompts: cannot open \"" + path + "\"");
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) prompts.push_back(line);
  }
  if (prompts.empty()) return invalid_argument("--prompts: \"" + path + "\" holds no lines");
  return ok_status();
}

Status run_bench(Flags flags) {
  ASSIGN_OR_RETURN(flags.run.mix, load::parse_mix(flags.mix));
  flags.run.timeout = from_seconds(flags.timeout_s);
  flags.run.ignore_eos = !flags.respect_eos;
  if (!flags.prompts_file.empty()) RETURN_IF_ERROR(read_prompts(flags.prompts_file, flags.run.prompts));
  if (flags.run.models.empty()) {
    ASSIGN_OR_RETURN(flags.run.models, server_models(flags.run));
  }
  load::RunResult result;
  {
    Progress progress("requests", flags.run.requests);
    result = load::run_load(flags.run, [&](const load::Record&) { progress.step(); });
  }
  const load::Report report = load::make_report(result, flags.objectives);
  if (flags.json) {
    Json json = load::report_json(report);
    json["mix"] = flags.mix;
    const load::Popularity popularity(flags.run.mix, flags.run.models.size(), flags.run.zipf_exponent, flags.run.seed);
    for (size_t i = 0; i < flags.run.models.size(); ++i) {
      json["popularity"].push_back({{"model", flags.run.models[i]}, {"p", popularity.probabilities()[i]}});
    }
    std::cout << json.dump(2) << "\n";
  } else {
    std::cout << load::report_text(report);
  }
  if (!flags.html.empty()) RETURN_IF_ERROR(write_file_atomic(flags.html, load::report_html(report, result, "umbel bench " + flags.run.url)));
  if (report.failed == report.requests) return Status(Code::kUnavailable, "every request failed");
  return ok_status();
}

void declare_load(CLI::App& verb, Flags& flags) {
  load::RunOptions& run = flags.run;
  verb.add_option("--url", run.url, "the server")->capture_default_str();
  verb.add_option("--api-key", run.api_key, "sent as a bearer token");
  verb.add_option("--models", run.models, "names to ask for, comma-separated")->delimiter(',');
  verb.add_option("--mix", flags.mix, "popularity of the names: uniform, identical, distinct, zipf")->capture_default_str();
  verb.add_option("--zipf", run.zipf_exponent, "exponent s of p_i ~ i^-s")->check(CLI::NonNegativeNumber)->capture_default_str();
  verb.add_option("--requests", run.requests, "how many")->check(CLI::PositiveNumber)->capture_default_str();
  verb.add_option("--warmup", run.warmup, "requests before the clock starts")->capture_default_str();
  verb.add_option("--clients", run.clients, "closed loop: clients")->check(CLI::Range(1, 1024))->capture_default_str();
  verb.add_option("--rate", run.rate, "open loop: requests per second (0 = closed loop)")->check(CLI::NonNegativeNumber);
  verb.add_option("--arrival-cv", run.arrival_cv, "open loop: 1 = Poisson, larger = burstier")->check(CLI::NonNegativeNumber)->capture_default_str();
}

void declare_shape(CLI::App& verb, Flags& flags) {
  load::RunOptions& run = flags.run;
  verb.add_option("--prompt-tokens", run.prompt_tokens, "random prompt ids per request")->check(CLI::PositiveNumber)->capture_default_str();
  verb.add_option("--vocab", run.vocab, "random ids are below this")->check(CLI::PositiveNumber)->capture_default_str();
  verb.add_option("--first-id", run.first_id, "random ids are not below this")->check(CLI::NonNegativeNumber)->capture_default_str();
  verb.add_option("--prompts", flags.prompts_file, "a file of prompts, one a line, instead of random ids");
  verb.add_option("--max-tokens", run.max_tokens, "answer length")->check(CLI::PositiveNumber)->capture_default_str();
  verb.add_flag("--respect-eos", flags.respect_eos, "answers may end early (default: ignore_eos is asked for)");
  verb.add_option("--seed", run.seed, "of arrivals, popularity and prompts")->capture_default_str();
  verb.add_option("--timeout", flags.timeout_s, "seconds for one request")->check(CLI::PositiveNumber)->capture_default_str();
  verb.add_option("--slo-ttft", flags.objectives.ttft_s, "goodput: largest TTFT in seconds");
  verb.add_option("--slo-tpot", flags.objectives.tpot_s, "goodput: largest time per output token in seconds");
  verb.add_option("--slo-e2e", flags.objectives.e2e_s, "goodput: largest end-to-end time in seconds");
  verb.add_option("--html", flags.html, "write a page with curves");
  verb.add_flag("--json", flags.json, "JSON for machines");
}

}  // namespace

void add_bench(CLI::App& program, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = program.add_subcommand("bench", "load any OpenAI-compatible server and report latencies");
  declare_load(*verb, *flags);
  declare_shape(*verb, *flags);
  verb->footer(kFooter);
  verb->callback([flags, &run] { run = [flags] { return finish(run_bench(*flags)); }; });
}

}  // namespace umbel::apps
