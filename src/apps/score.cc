// umbel score: log-likelihood of completions, with an adapter per row, as lm-evaluation-harness defines it.
#include <cmath>
#include <deque>
#include <iostream>

#include "apps/exit.h"
#include "apps/progress.h"
#include "apps/prompt_rows.h"
#include "apps/verb.h"
#include "apps/workshop.h"
#include "io/json.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Examples:
  umbel score seedling --prompt "The capital of France is" --completion " Paris"
  umbel score seedling --adapters assets/adapters --rows test.jsonl --json
A row: {"prompt": "...", "completion": "...", "adapter": "name or absent"}. Prompt and completion are tokenised apart,
BOS (where the family has one) stands before the prompt; with --eos the end token counts as part of the completion.)";

struct Flags {
  ModelFlags model;
  EngineFlags engine;
  std::string adapter, prompt, completion, rows;
  bool eos = false;
  bool json = false;
};

struct Score {
  double log_likelihood = 0;  // nats, sum over the completion's tokens
  int tokens = 0;
  bool greedy = true;         // every token was the most likely one
};

struct Running {
  std::shared_ptr<Stream> stream;
  size_t prompt_tokens = 0;
};

Result<Running> submit(Workshop& shop, const PromptRow& row, bool eos) {
  const Tokenizer& tokenizer = *shop.base.tokenizer;
  ASSIGN_OR_RETURN(std::vector<TokenId> ids, tokenizer.encode(row.prompt, /*add_special=*/true));
  Running running{.prompt_tokens = ids.size()};
  if (ids.empty()) return invalid_argument("the prompt has no token, and this tokenizer adds no BOS: nothing to condition on");
  ASSIGN_OR_RETURN(const std::vector<TokenId> completion, tokenizer.encode(*row.completion, /*add_special=*/false));
  ids.insert(ids.end(), completion.begin(), completion.end());
  if (eos && !shop.base.generation.eos_ids.empty()) ids.push_back(shop.base.generation.eos_ids.front());
  Request request;
  request.prompt = std::move(ids);
  request.max_tokens = 0;
  request.prompt_logprobs = 0;
  ASSIGN_OR_RETURN(request.adapter, find_adapter(shop, row.adapter));
  ASSIGN_OR_RETURN(running.stream, shop.engine->submit(std::move(request)));
  return running;
}

Result<Score> read_score(const Running& running) {
  Score score;
  while (std::optional<TokenEvent> event = running.stream->next()) {
    if (event->finish == FinishReason::kError) return event->status;
    // Entry i belongs to the prompt token i + 1.
    for (size_t i = running.prompt_tokens - 1; i < event->prompt_logprobs.size(); ++i) {
      score.log_likelihood += event->prompt_logprobs[i].logprob;
      score.greedy &= event->prompt_logprobs[i].rank == 1;
      ++score.tokens;
    }
  }
  return score;
}

void print_score(const Score& score, bool json) {
  const double mean = score.tokens ? -score.log_likelihood / score.tokens : 0;
  if (json) {
    std::cout << Json{{"log_likelihood", score.log_likelihood}, {"tokens", score.tokens}, {"is_greedy", score.greedy},
                      {"nll_per_token", mean}}.dump() << "\n";
  } else {
    std::printf("%.6f nats over %d tokens, %.6f per token%s\n", score.log_likelihood, score.tokens, mean,
                score.greedy ? ", greedy" : "");
  }
}

Status run_score(Flags flags) {
  if (flags.completion.empty() == flags.rows.empty()) {
    return invalid_argument("give --prompt and --completion, or --rows FILE.jsonl");
  }
  ASSIGN_OR_RETURN(flags.adapter, resolve_adapter_flag(flags.adapter, flags.engine));
  std::vector<PromptRow> rows{{.prompt = flags.prompt, .adapter = flags.adapter, .completion = flags.completion}};
  if (!flags.rows.empty()) {
    ASSIGN_OR_RETURN(rows, read_prompt_rows(flags.rows, {.adapter = flags.adapter, .completion_needed = true}));
  }
  ASSIGN_OR_RETURN(Workshop shop, open_workshop(flags.model, flags.engine, /*watch=*/false));
  std::deque<Running> running;
  const size_t ahead = static_cast<size_t>(shop.engine->limits().sequences_max) * 2;
  Score total;
  Progress progress("rows", rows.size());
  for (size_t next = 0, done = 0; done < rows.size(); ++done) {
    for (; next < rows.size() && running.size() < ahead; ++next) {
      auto submitted = submit(shop, rows[next], flags.eos);
      if (!submitted.ok()) return submitted.status().with_context("row " + std::to_string(next + 1));
      running.push_back(std::move(*submitted));
    }
    auto score = read_score(running.front());
    if (!score.ok()) return score.status().with_context("row " + std::to_string(done + 1));
    running.pop_front();
    print_score(*score, flags.json);
    total.log_likelihood += score->log_likelihood;
    total.tokens += score->tokens;
    progress.step();
  }
  if (rows.size() > 1 && total.tokens > 0) {
    std::fprintf(stderr, "%zu rows, %d tokens, %.6f nats per token\n", rows.size(), total.tokens,
                 -total.log_likelihood / total.tokens);
  }
  return ok_status();
}

}  // namespace

void add_score(CLI::App& program, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = program.add_subcommand("score", "log-likelihood of completions");
  flags->model.declare(*verb);
  flags->engine.declare(*verb);
  verb->add_option("--adapter", flags->adapter, "an adapter's folder, or its name inside --adapters");
  verb->add_option("--prompt", flags->prompt, "the given text");
  verb->add_option("--completion", flags->completion, "the text to score");
  verb->add_option("--rows", flags->rows, "a JSONL file of rows");
  verb->add_flag("--eos", flags->eos, "score the end token after the completion as well");
  verb->add_flag("--json", flags->json, "one JSON object per row");
  verb->footer(kFooter);
  verb->callback([flags, &run] { run = [flags] { return finish(run_score(*flags)); }; });
}

}  // namespace umbel::apps
