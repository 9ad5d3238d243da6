// umbel generate: one prompt streamed to the terminal, or a file of prompts with an adapter per row, all in one batch.
#include <unistd.h>

#include <cstdio>
#include <deque>
#include <iostream>

#include "apps/answer.h"
#include "apps/exit.h"
#include "apps/progress.h"
#include "apps/question_rows.h"
#include "apps/verb.h"
#include "io/json.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Examples:
  umbel generate seedling --prompt "It was a dark night" --max-tokens 64
  umbel generate seedling --adapter assets/adapters/shakespeare-lora-r4 --prompt "ROMEO:" --temperature 0.8 --seed 7
  umbel generate seedling --adapters assets/adapters --batch rows.jsonl --json
Rows are what "umbel train" reads (JSON lines or list, CSV, Parquet, plain, gzip or zstd; prompts, conversations, instructions, or fields with the
template of the adapter's folder or of --template), each with "adapter", "id" and "seed" where it has them; the answer may be
absent. Answers come in the order of the rows, with adapter, id, seed and line. Where an answer is expected, it is said whether they
match (trimmed), and the share of exact matches is printed at the end, for every adapter; with --json also as a last line, {"summary": ...}.)";

struct Flags {
  ModelFlags model;
  EngineFlags engine;
  SamplingFlags sampling;
  std::string adapter;
  std::string prompt;
  std::string batch;
  RowFlags rows;
  bool json = false;
};

Json answer_json(const AnswerResult& answer, const std::string& adapter) {
  return Json{{"text", answer.text},
              {"token_ids", answer.token_ids},
              {"finish_reason", finish_name(answer.finish)},
              {"adapter", adapter},
              {"prompt_tokens", answer.prompt_tokens},
              {"generated_tokens", answer.token_ids.size()},
              {"time_to_first_token_s", to_seconds(answer.times.first_token)},
              {"time_s", to_seconds(answer.times.total)}};
}

Status run_one(Workshop& shop, const Flags& flags, const std::string& adapter) {
  ASSIGN_OR_RETURN(const auto tokenizer, tokenizer_of(shop, adapter));
  ASSIGN_OR_RETURN(std::vector<TokenId> ids, tokenizer->encode(flags.prompt, /*add_special=*/true));
  ASSIGN_OR_RETURN(const Asked asked, ask(shop, std::move(ids), adapter, flags.sampling));
  const auto show = [](const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  };
  ASSIGN_OR_RETURN(const AnswerResult answer,
                   read_answer(asked, flags.sampling.stop, flags.json ? nullptr : std::function(show)));
  if (flags.json) {
    std::cout << answer_json(answer, adapter).dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  } else {
    std::cout << "\n";
  }
  return ok_status();
}

Result<Asked> submit(Workshop& shop, const data::Question& question, SamplingFlags sampling) {
  if (question.seed) sampling.seed = static_cast<uint64_t>(*question.seed);
  ASSIGN_OR_RETURN(const auto tokenizer, tokenizer_of(shop, question.adapter));
  ASSIGN_OR_RETURN(std::vector<TokenId> ids, prompt_ids(*tokenizer, question.row));
  return ask(shop, std::move(ids), question.adapter, sampling);
}

Json row_json(const AnswerResult& answer, const data::Question& question, Tally& tally) {
  Json json = answer_json(answer, question.adapter);
  json["line"] = question.line;
  if (!question.id.is_null()) json["id"] = Json(question.id);
  if (question.seed) json["seed"] = *question.seed;
  ++tally.rows;
  if (!question.row.completion) return json;
  const bool match = trimmed(answer.text) == trimmed(*question.row.completion);
  json["exact_match"] = match;
  ++tally.expected;
  tally.exact += match ? 1 : 0;
  return json;
}

// Keeps the engine's queue filled, reads the answers in order.
Status run_batch(Workshop& shop, const Flags& flags, const std::vector<data::Question>& rows) {
  std::deque<Asked> running;
  const size_t ahead = static_cast<size_t>(shop.engine->limits().sequences_max) * 2;
  const auto place = [&](size_t index) { return flags.batch + ":" + std::to_string(rows[index].line); };
  size_t next = 0;
  Progress progress("rows", rows.size());
  Tallies tallies;
  for (size_t done = 0; done < rows.size(); ++done) {
    for (; next < rows.size() && running.size() < ahead; ++next) {
      auto asked = submit(shop, rows[next], flags.sampling);
      if (!asked.ok()) return asked.status().with_context(place(next));
      running.push_back(*std::move(asked));
    }
    const auto answer = read_answer(running.front(), flags.sampling.stop, nullptr);
    if (!answer.ok()) return answer.status().with_context(place(done));
    running.pop_front();
    std::cout << row_json(*answer, rows[done], tallies[rows[done].adapter]).dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
    progress.step();
  }
  if (flags.json) std::cout << Json{{"summary", tallies_json(tallies)}}.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  print_tallies(tallies);
  return ok_status();
}

Status run_generate(Flags flags) {
  if (flags.prompt.empty() == flags.batch.empty()) {
    return invalid_argument("give one of --prompt TEXT (\"-\" reads it from standard input) and --batch FILE.jsonl");
  }
  if (flags.prompt == "-") flags.prompt.assign(std::istreambuf_iterator<char>(std::cin), {});
  ASSIGN_OR_RETURN(const std::string adapter, resolve_adapter_flag(flags.adapter, flags.engine));
  ASSIGN_OR_RETURN(Workshop shop, open_workshop(flags.model, flags.engine, /*watch=*/false));
  if (flags.batch.empty()) return run_one(shop, flags, adapter);
  ASSIGN_OR_RETURN(const auto rows, read_question_file(flags.batch, shop.base, flags.engine.adapters, flags.rows, {.adapter = adapter}));
  return run_batch(shop, flags, rows);
}

}  // namespace

void add_generate(CLI::App& program, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = program.add_subcommand("generate", "answer one prompt, or a file of prompts with an adapter per row");
  flags->model.declare(*verb);
  flags->engine.declare(*verb);
  flags->sampling.declare(*verb);
  verb->add_option("--adapter", flags->adapter, "an adapter's folder, or its name inside --adapters");
  verb->add_option("--prompt", flags->prompt, "the prompt; \"-\" reads it from standard input");
  verb->add_option("--batch", flags->batch, "a file of rows, as \"umbel train\" reads them");
  flags->rows.declare(*verb);
  verb->add_flag("--json", flags->json, "one JSON object per answer");
  verb->footer(kFooter);
  verb->callback([flags, &run] { run = [flags] { return finish(run_generate(*flags)); }; });
}

}  // namespace umbel::apps
