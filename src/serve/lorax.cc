#include "serve/lorax.h"

#include <cmath>

#include "base/utf8.h"
#include "serve/opening.h"
#include "serve/request_log.h"
#include "serve/sse.h"

namespace umbel::serve {

namespace asio = boost::asio;

namespace {

const char* finish_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEos:
      return "eos_token";
    case FinishReason::kStop:
      return "stop_sequence";
    default:
      return "length";
  }
}

double finite_logprob(float logprob) { return std::isfinite(logprob) ? logprob : -9999.0; }

Json token_json(const AnswerToken& token, const LoraxAsk& lorax, const TokenTexts& texts) {
  const bool special = texts.is_special(token.id);
  Json entry = {{"id", token.id},
                {"text", special ? texts.text(token.id) : token.text},
                {"special", special},
                {"skipped", false},
                {"logprob", token.logprobs ? finite_logprob(token.logprobs->logprob) : 0.0}};
  if (lorax.alternatives > 0 && token.logprobs) {
    Json others = Json::array();
    for (const auto& [id, logprob] : token.logprobs->top) {
      others.push_back({{"id", id}, {"text", texts.bytes(id)}, {"logprob", finite_logprob(logprob)}});
    }
    entry["alternative_tokens"] = std::move(others);
  }
  return entry;
}

Json prefill_json(const Generation& generation, size_t choice, const LoraxAsk& lorax, const TokenTexts& texts) {
  Json prefill = Json::array();
  if (!lorax.prefill_details) return prefill;
  const std::vector<TokenId>& prompt = generation.prompt(choice);
  const std::vector<TokenLogprobs>& logprobs = generation.answer(choice).prompt_logprobs;
  for (size_t i = 0; i < prompt.size(); ++i) {
    const bool known = i > 0 && i - 1 < logprobs.size();
    prefill.push_back({{"id", prompt[i]},
                       {"text", texts.bytes(prompt[i])},
                       {"logprob", known ? Json(finite_logprob(logprobs[i - 1].logprob)) : Json(nullptr)}});
  }
  return prefill;
}

std::string full_text(const Generation& generation, size_t choice, const LoraxAsk& lorax) {
  return (lorax.full_text ? generation.prompt_text(choice) : "") + generation.answer(choice).text;
}

Json seed_json(const Generation& generation, size_t choice, const LoraxAsk& lorax) {
  return lorax.sampled ? Json(generation.seed(choice)) : Json(nullptr);
}

// The details of one sequence; also the entries of best_of_sequences.
Json sequence_json(const Generation& generation, size_t choice, const LoraxAsk& lorax, const TokenTexts& texts) {
  const Answer& answer = generation.answer(choice);
  Json tokens = Json::array();
  for (const AnswerToken& token : answer.tokens) tokens.push_back(token_json(token, lorax, texts));
  return {{"finish_reason", finish_name(answer.finish)},
          {"generated_tokens", answer.tokens.size()},
          {"seed", seed_json(generation, choice, lorax)},
          {"prefill", prefill_json(generation, choice, lorax, texts)},
          {"tokens", std::move(tokens)}};
}

Json whole_json(const Generation& generation, const LoraxAsk& lorax, const TokenTexts& texts) {
  const size_t best = generation.returned(lorax.ask)[0];
  Json body = {{"generated_text", full_text(generation, best, lorax)}, {"details", nullptr}};
  if (!lorax.details && !lorax.prefill_details) return body;
  Json details = sequence_json(generation, best, lorax, texts);
  details["prompt_tokens"] = generation.prompt_tokens();
  details["skipped_tokens"] = 0;
  if (generation.choices() > 1) {
    Json others = Json::array();
    for (size_t choice = 0; choice < generation.choices(); ++choice) {
      if (choice == best) continue;
      Json other = sequence_json(generation, choice, lorax, texts);
      other["generated_text"] = full_text(generation, choice, lorax);
      others.push_back(std::move(other));
    }
    details["best_of_sequences"] = std::move(others);
  }
  body["details"] = std::move(details);
  return body;
}

std::string milliseconds(Duration duration) { return std::to_string(std::lround(1e3 * to_seconds(duration))); }

// Times in milliseconds, as LoRAX gives them.
HttpHeaders time_headers(const Shared& shared, const Generation& generation) {
  HttpHeaders headers = identity_headers(shared.parts.model, generation.identity());
  const int64_t answers = generation.answer_tokens(), prompts = generation.prompt_tokens();
  const Duration total = generation.elapsed();
  const Duration queue = generation.answer(0).times.queued;
  const Duration inference = total - generation.prepared_after() - queue;
  const Duration first = generation.first_token_after().value_or(total);
  const auto add = [&](const char* name, std::string value) { headers.emplace_back(name, std::move(value)); };
  add("x-compute-time", milliseconds(total));
  add("x-compute-characters", std::to_string(utf8_count(generation.prompt_text(0))));
  add("x-total-time", milliseconds(total));
  add("x-prompt-tokens", std::to_string(prompts));
  add("x-generated-tokens", std::to_string(answers));
  add("x-skipped-tokens", "0");
  add("x-total-tokens", std::to_string(prompts + answers));
  add("x-validation-time", milliseconds(generation.prepared_after()));
  add("x-queue-time", milliseconds(queue));
  add("x-inference-time", milliseconds(inference));
  add("x-time-per-token", milliseconds(answers > 0 ? inference / answers : Duration{}));
  add("x-time-to-first-token", milliseconds(first));
  add("x-time-per-output-token", milliseconds(answers > 1 ? (total - first) / (answers - 1) : Duration{}));
  return headers;
}

// An adapter that can't be loaded is LoRAX's 424 "generation".
Failure lorax_failure(const Refusal& refusal) {
  Failure failure = failure_of(refusal);
  if (failure.param == kModelField) failure.http = failure.http == 404 ? 404 : 424;
  return failure;
}

std::string stream_event(const Generation& generation, const Progress& progress, const LoraxAsk& lorax,
                         const TokenTexts& texts) {
  const Answer& answer = generation.answer(0);
  AnswerToken token = progress.tokens.empty() ? AnswerToken{} : progress.tokens[0];
  token.text = progress.text;
  Json event = {{"token", token_json(token, lorax, texts)}, {"generated_text", nullptr}, {"details", nullptr}};
  if (progress.finish != FinishReason::kNone) {
    event["generated_text"] = full_text(generation, 0, lorax);
    if (lorax.details) {
      event["details"] = {{"finish_reason", finish_name(answer.finish)},
                          {"prompt_tokens", generation.prompt_tokens()},
                          {"generated_tokens", answer.tokens.size()},
                          {"seed", seed_json(generation, 0, lorax)}};
    }
  }
  return sse_event(event);
}

asio::awaitable<int> stream_lorax(const Shared& shared, Exchange& exchange, const LoraxAsk& lorax,
                                  Generation& generation) {
  bool begun = false;
  for (;;) {
    const Generation::Next event = co_await generation.next();
    if (!event.step && !event.silent) break;
    if (event.silent && !begun) continue;
    std::optional<Failure> failure;
    if (const auto refusal = generation.failure()) failure = lorax_failure(*refusal);
    if (failure && !begun) {
      co_await exchange.reply(error_reply(Dialect::kLorax, *failure));
      co_return error_status(Dialect::kLorax, *failure);
    }
    if (!begun) {
      HttpReply head = sse_head();
      head.headers = identity_headers(shared.parts.model, generation.identity());
      if (!co_await exchange.begin_stream(std::move(head))) co_return 499;
      begun = true;
    }
    std::string bytes = sse_comment();
    if (failure)
      bytes = sse_event(error_body(Dialect::kLorax, *failure));
    else if (event.step)
      bytes = stream_event(generation, event.step->progress, lorax, generation.words());
    if (!co_await exchange.write(std::move(bytes))) co_return 499;
    if (failure) {
      co_await exchange.end_stream();
      co_return error_status(Dialect::kLorax, *failure);
    }
  }
  if (exchange.gone()) co_return 499;
  co_await exchange.end_stream();
  co_return exchange.gone() ? 499 : 200;
}

// A whole answer stands in a list of one where the route also streams by a field.
asio::awaitable<int> whole_lorax(const Shared& shared, Exchange& exchange, const LoraxAsk& lorax, LoraxStream route,
                                 Generation& generation) {
  if (!co_await generation.finish()) co_return 499;
  if (const auto refusal = generation.failure()) {
    const Failure failure = lorax_failure(*refusal);
    co_await exchange.reply(error_reply(Dialect::kLorax, failure));
    co_return error_status(Dialect::kLorax, failure);
  }
  size_t bytes = 0;
  for (size_t choice = 0; choice < generation.choices(); ++choice) bytes += generation.answer_bytes(choice);
  HttpReply reply;
  Work work = admitted_work(bytes, [&] {
    Json body = whole_json(generation, lorax, generation.words());
    if (route == LoraxStream::kField) body = Json::array({std::move(body)});
    reply = json_reply(200, body);
  });
  if (co_await shared.work.run(exchange, std::move(work)) != WorkEnd::kDone) co_return 499;
  reply.headers = time_headers(shared, generation);
  co_await exchange.reply(std::move(reply));
  co_return exchange.gone() ? 499 : 200;
}

Outcome<LoraxAsk> read_ask(const Shared& shared, const Exchange& exchange, LoraxStream stream_by_route) {
  const Result<Json> body =
      parse_json(exchange.request().body, "request body", JsonKeys::kLastCounts, kRequestJsonLimits);
  if (!body.ok()) return Refusal{.status = body.status()};
  Outcome<LoraxAsk> lorax = parse_lorax(*body, stream_by_route, shared.options);
  if (lorax.ok()) record_unknown_fields(exchange, lorax->unknown_fields);
  return lorax;
}

}  // namespace

asio::awaitable<void> answer_lorax(const Shared& shared, Exchange& exchange, LoraxStream stream_by_route) {
  std::optional<LoraxAsk> lorax;
  AskReader read = [&]() -> Outcome<const Ask*> {
    Outcome<LoraxAsk> made = read_ask(shared, exchange, stream_by_route);
    if (!made.ok()) return made.refusal();
    lorax = std::move(*made);
    return &lorax->ask;
  };
  Opened opened = co_await open_generation(shared, exchange, std::move(read));
  if (!opened.ok()) {
    const Failure failure = lorax_failure(opened.refusal());
    record_refusal(shared, exchange, Dialect::kLorax, failure);
    co_await exchange.reply(error_reply(Dialect::kLorax, failure));
    co_return;
  }
  Generation& generation = **opened;
  int status = 0;
  if (lorax->ask.stream) {
    status = co_await stream_lorax(shared, exchange, *lorax, generation);
  } else {
    status = co_await whole_lorax(shared, exchange, *lorax, stream_by_route, generation);
  }
  record_request(shared, exchange, generation, status);
}

}  // namespace umbel::serve
