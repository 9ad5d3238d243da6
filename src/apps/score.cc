// umbel score: log-likelihood of completions, with an adapter per row, as lm-evaluation-harness defines it.
#include <algorithm>
#include <cmath>
#include <deque>
#include <iostream>

#include "apps/exit.h"
#include "apps/progress.h"
#include "apps/question_rows.h"
#include "apps/scored.h"
#include "apps/verb.h"
#include "apps/workshop.h"
#include "data/continuation.h"
#include "io/json.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Examples:
  umbel score seedling --prompt "The capital of France is" --completion " Paris"
  umbel score seedling --adapters assets/adapters --rows test.jsonl --json
Rows are what "umbel train" reads (JSON lines or list, CSV, Parquet, plain, gzip or zstd; prompts, conversations, instructions, or fields with the
template of the adapter's folder or of --template; texts are scored whole), each with "adapter", "id" and "seed" where it has them. Prompt and completion are tokenised as one text
(where a token would reach over their border, the blanks before it count as part of the completion, as in lm-evaluation-harness), BOS
(where the family has one) stands before the prompt. A row is an exact match when each of its tokens is the most likely one; with --eos the end token counts as part of the completion.)";

struct Flags {
  ModelFlags model;
  EngineFlags engine;
  std::string adapter, prompt, completion, rows;
  RowFlags form;
  bool eos = false;
  bool json = false;
};

struct Score {
  double log_likelihood = 0;  // nats, sum over the completion's tokens
  int tokens = 0;
  int hit = 0;                // tokens that were the most likely
};

// A conversation is scored as it is trained; texts as one text.
Result<data::Continuation> ids_of(const Tokenizer& tokenizer, const data::RowQuestion& row) {
  if (row.specials == data::Specials::kAdd) return data::encode_together(tokenizer, row.prompt, row.turn);
  return data::encode_continuation(tokenizer, row.prompt, row.turn, row.specials);
}

Result<AskedScore> submit(Workshop& shop, const data::Question& question, const Flags& flags) {
  ASSIGN_OR_RETURN(const auto tokenizer, tokenizer_of(shop, question.adapter));
  ASSIGN_OR_RETURN(const data::Continuation scored, ids_of(*tokenizer, question.row));
  // Of a text without BOS the first token has nothing before it.
  const bool is_text = question.row.prompt.empty() && scored.tokens.size() >= 2;
  const size_t scored_from = scored.prompt_tokens == 0 && is_text ? 1 : scored.prompt_tokens;
  std::vector<TokenId> ids;
  for (const TokenSpan& token : scored.tokens) ids.push_back(token.id);
  if (flags.eos) add_end_token(shop, ids);
  ASSIGN_OR_RETURN(const AdapterRef adapter, find_adapter(shop, question.adapter));
  return ask_score(shop, std::move(ids), scored_from, adapter);
}

Result<Score> sum_score(const AskedScore& asked) {
  ASSIGN_OR_RETURN(const std::vector<TokenLogprobs> tokens, read_score(asked));
  Score score;
  for (const TokenLogprobs& token : tokens) {
    score.log_likelihood += token.logprob;
    score.hit += token.rank == 1 ? 1 : 0;
    ++score.tokens;
  }
  return score;
}

void print_score(const Score& score, const data::Question& question, const Flags& flags) {
  const double mean = score.tokens ? -score.log_likelihood / score.tokens : 0;
  const bool greedy = score.hit == score.tokens;
  if (!flags.json) {
    std::printf("%.6f nats over %d tokens, %.6f per token%s\n", score.log_likelihood, score.tokens, mean, greedy ? ", greedy" : "");
    return;
  }
  Json json{{"log_likelihood", score.log_likelihood}, {"tokens", score.tokens}, {"is_greedy", greedy}, {"nll_per_token", mean},
            {"adapter", question.adapter}};
  if (!flags.rows.empty()) json["line"] = question.line;
  if (!question.id.is_null()) json["id"] = Json(question.id);
  if (question.seed) json["seed"] = *question.seed;
  std::cout << json.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
}

Result<std::vector<data::Question>> read_rows(const Workshop& shop, const Flags& flags) {
  if (!flags.rows.empty()) {
    return read_question_file(flags.rows, shop.base, flags.engine.adapters, flags.form, {.adapter = flags.adapter, .answers = data::Answers::kNeeded});
  }
  data::Question one{.adapter = flags.adapter};
  one.row = {.prompt = flags.prompt, .completion = flags.completion, .turn = flags.completion};
  return std::vector{std::move(one)};
}

Status run_score(Flags flags) {
  if (flags.completion.empty() == flags.rows.empty()) {
    return invalid_argument("give --prompt and --completion, or --rows FILE");
  }
  ASSIGN_OR_RETURN(flags.adapter, resolve_adapter_flag(flags.adapter, flags.engine));
  ASSIGN_OR_RETURN(Workshop shop, open_workshop(flags.model, flags.engine, /*watch=*/false));
  ASSIGN_OR_RETURN(const auto rows, read_rows(shop, flags));
  const auto place = [&](size_t index) { return flags.rows.empty() ? "the completion" : flags.rows + ":" + std::to_string(rows[index].line); };
  std::deque<AskedScore> running;
  const size_t ahead = static_cast<size_t>(shop.engine->limits().sequences_max) * 2;
  Tallies tallies;
  Progress progress("rows", rows.size());
  for (size_t next = 0, done = 0; done < rows.size(); ++done) {
    for (; next < rows.size() && running.size() < ahead; ++next) {
      auto submitted = submit(shop, rows[next], flags);
      if (!submitted.ok()) return submitted.status().with_context(place(next));
      running.push_back(std::move(*submitted));
    }
    const auto score = sum_score(running.front());
    if (!score.ok()) return score.status().with_context(place(done));
    running.pop_front();
    print_score(*score, rows[done], flags);
    Tally& tally = tallies[rows[done].adapter];
    ++tally.rows;
    tally.tokens += score->tokens;
    tally.hit += score->hit;
    ++tally.expected;
    tally.exact += score->hit == score->tokens ? 1 : 0;
    tally.log_likelihood += score->log_likelihood;
    progress.step();
  }
  if (rows.size() > 1 && flags.json) std::cout << Json{{"summary", tallies_json(tallies)}}.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  if (rows.size() > 1) print_tallies(tallies);
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
  verb->add_option("--rows", flags->rows, "a file of rows, as \"umbel train\" reads them");
  flags->form.declare(*verb);
  verb->add_flag("--eos", flags->eos, "score the end token after the completion as well");
  verb->add_flag("--json", flags->json, "one JSON object per row");
  verb->footer(kFooter);
  verb->callback([flags, &run] { run = [flags] { return finish(run_score(*flags)); }; });
}

}  // namespace umbel::apps
