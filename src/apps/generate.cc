// umbel generate: one prompt streamed to the terminal, or a file of prompts with an adapter per row, all in one batch.
#include <unistd.h>

#include <cstdio>
#include <deque>
#include <iostream>

#include "apps/answer.h"
#include "apps/exit.h"
#include "apps/progress.h"
#include "apps/prompt_rows.h"
#include "apps/verb.h"
#include "io/json.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Examples:
  umbel generate seedling --prompt "It was a dark night" --max-tokens 64
  umbel generate seedling --adapter assets/adapters/shakespeare-lora-r4 --prompt "ROMEO:" --temperature 0.8 --seed 7
  umbel generate seedling --adapters assets/adapters --batch rows.jsonl --json
A row of rows.jsonl: {"prompt": "...", "adapter": "name or absent", "completion": "expected, or absent"}; answers come in
the order of the rows. Where a completion is expected, the answer says whether it matches (trimmed), and the share of
exact matches is printed at the end.)";

struct Flags {
  ModelFlags model;
  EngineFlags engine;
  SamplingFlags sampling;
  std::string adapter;
  std::string prompt;
  std::string batch;
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

Result<std::shared_ptr<Stream>> submit(Workshop& shop, const PromptRow& row, const SamplingFlags& sampling) {
  ASSIGN_OR_RETURN(std::vector<TokenId> ids, shop.base.tokenizer->encode(row.prompt, /*add_special=*/true));
  ASSIGN_OR_RETURN(Request request, make_request(shop, std::move(ids), row.adapter, sampling));
  return shop.engine->submit(std::move(request));
}

Status run_one(Workshop& shop, const Flags& flags, const std::string& adapter) {
  ASSIGN_OR_RETURN(auto stream, submit(shop, {flags.prompt, adapter}, flags.sampling));
  const auto show = [](const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  };
  ASSIGN_OR_RETURN(const AnswerResult answer,
                   read_answer(shop, *stream, flags.sampling.stop, flags.json ? nullptr : std::function(show)));
  if (flags.json) {
    std::cout << answer_json(answer, adapter).dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  } else {
    std::cout << "\n";
  }
  return ok_status();
}

// Keeps the engine's queue filled, reads the answers in order.
Status run_batch(Workshop& shop, const Flags& flags, const std::vector<PromptRow>& rows) {
  std::deque<std::shared_ptr<Stream>> streams;
  const size_t ahead = static_cast<size_t>(shop.engine->limits().sequences_max) * 2;
  size_t next = 0;
  Progress progress("rows", rows.size());
  size_t expected = 0, exact = 0;
  for (size_t done = 0; done < rows.size(); ++done) {
    for (; next < rows.size() && streams.size() < ahead; ++next) {
      auto stream = submit(shop, rows[next], flags.sampling);
      if (!stream.ok()) return stream.status().with_context("row " + std::to_string(next + 1));
      streams.push_back(*stream);
    }
    auto answer = read_answer(shop, *streams.front(), flags.sampling.stop, nullptr);
    if (!answer.ok()) return answer.status().with_context("row " + std::to_string(done + 1));
    streams.pop_front();
    Json json = answer_json(*answer, rows[done].adapter);
    if (rows[done].completion) {
      const bool match = trimmed(answer->text) == trimmed(*rows[done].completion);
      json["exact_match"] = match;
      ++expected;
      exact += match ? 1 : 0;
    }
    std::cout << json.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
    progress.step();
  }
  if (expected > 0) {
    std::fprintf(stderr, "exact match: %zu of %zu rows = %.4f\n", exact, expected,
                 static_cast<double>(exact) / static_cast<double>(expected));
  }
  return ok_status();
}

Status run_generate(Flags flags) {
  if (flags.prompt.empty() == flags.batch.empty()) {
    return invalid_argument("give one of --prompt TEXT (\"-\" reads it from standard input) and --batch FILE.jsonl");
  }
  if (flags.prompt == "-") flags.prompt.assign(std::istreambuf_iterator<char>(std::cin), {});
  ASSIGN_OR_RETURN(const std::string adapter, resolve_adapter_flag(flags.adapter, flags.engine));
  std::vector<PromptRow> rows;
  if (!flags.batch.empty()) {
    ASSIGN_OR_RETURN(rows, read_prompt_rows(flags.batch, {.adapter = adapter}));
  }
  ASSIGN_OR_RETURN(Workshop shop, open_workshop(flags.model, flags.engine, /*watch=*/false));
  return flags.batch.empty() ? run_one(shop, flags, adapter) : run_batch(shop, flags, rows);
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
  verb->add_option("--batch", flags->batch, "a JSONL file of prompts");
  verb->add_flag("--json", flags->json, "one JSON object per answer");
  verb->footer(kFooter);
  verb->callback([flags, &run] { run = [flags] { return finish(run_generate(*flags)); }; });
}

}  // namespace umbel::apps
