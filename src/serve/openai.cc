#include "serve/openai.h"

#include "base/utf8.h"
#include "serve/openai_format.h"
#include "serve/openai_request.h"
#include "serve/opening.h"
#include "serve/request_log.h"
#include "serve/sse.h"

namespace umbel::serve {

namespace asio = boost::asio;

namespace {

// One choice's tokens that have come but whose text is still held back; they go out with the next text.
struct Pending {
  std::vector<AnswerToken> tokens;
  size_t offset = 0;     // code points of text before the first of them (completions' text_offset)
  bool started = false;  // its first chunk is out
};

// Writes one streamed answer; lives in the handler's coroutine.
class StreamWriter {
 public:
  StreamWriter(const Shared& shared, const Ask& ask, Generation& generation, AnswerShape shape)
      : shared_(shared),
        ask_(ask),
        generation_(generation),
        head_(answer_head(generation, shape)),
        pending_(generation.choices()) {}

  // Roughly the bytes of step()'s chunks: an echoed prompt's log-probabilities may be many.
  size_t step_bytes(const Generation::Step& step) const;
  // The chunks, as SSE, that this step calls for; often none.
  std::string step(const Generation::Step& step);
  // The end of the stream.
  std::string last() const;

 private:
  std::string opening(size_t choice);
  std::string chunk(Json entry) const;
  Json logprobs(size_t choice, std::span<const AnswerToken> tokens);

  const Shared& shared_;
  const Ask& ask_;
  Generation& generation_;
  const AnswerHead head_;
  std::vector<Pending> pending_;
};

std::string StreamWriter::chunk(Json entry) const {
  Json frame = chunk_frame(head_, ask_);
  if (ask_.continuous_usage) frame["usage"] = generation_.usage();
  frame["choices"].push_back(std::move(entry));
  return sse_event(frame);
}

size_t StreamWriter::step_bytes(const Generation::Step& step) const {
  const bool echoes = ask_.echo && !pending_[step.choice].started;
  return echoes ? generation_.answer_bytes(step.choice) + generation_.prompt_text(step.choice).size() : 0;
}

// A chat answer begins with the role; an echoed completion with the prompt.
std::string StreamWriter::opening(size_t choice) {
  Pending& pending = pending_[choice];
  if (pending.started) return {};
  pending.started = true;
  Json entry = {{"index", choice}, {"finish_reason", nullptr}, {"logprobs", nullptr}};
  if (ask_.return_token_ids) entry["prompt_token_ids"] = generation_.prompt(choice);
  if (head_.shape == AnswerShape::kChat) {
    entry["delta"] = {{"role", "assistant"}, {"content", ""}};
    return chunk(std::move(entry));
  }
  if (!ask_.echo && !ask_.return_token_ids) return {};
  entry["text"] = ask_.echo ? generation_.prompt_text(choice) : "";
  if (ask_.echo && ask_.logprobs >= 0) {
    entry["logprobs"] = completion_logprobs(prompt_source(generation_, choice), generation_.words());
  }
  if (ask_.echo) pending.offset = utf8_count(generation_.prompt_text(choice));
  return chunk(std::move(entry));
}

Json StreamWriter::logprobs(size_t choice, std::span<const AnswerToken> tokens) {
  if (ask_.logprobs < 0) return nullptr;
  if (head_.shape == AnswerShape::kChat) return chat_logprobs(tokens, generation_.words());
  Pending& pending = pending_[choice];
  const Json entry = completion_logprobs({.tokens = tokens, .offset = pending.offset}, generation_.words());
  for (const AnswerToken& token : tokens) pending.offset += utf8_count(token.text);
  return entry;
}

std::string StreamWriter::step(const Generation::Step& step) {
  Pending& pending = pending_[step.choice];
  const Progress& progress = step.progress;
  std::string bytes = opening(step.choice);
  pending.tokens.insert(pending.tokens.end(), progress.tokens.begin(), progress.tokens.end());
  const bool finished = progress.finish != FinishReason::kNone;
  if (progress.text.empty() && !finished) return bytes;

  const Answer& answer = generation_.answer(step.choice);
  const std::span<const AnswerToken> shown = visible_tokens(answer, pending.tokens);
  Json entry = {{"index", step.choice}, {"finish_reason", nullptr}, {"logprobs", logprobs(step.choice, shown)}};
  if (ask_.return_token_ids) entry["token_ids"] = token_ids(pending.tokens);
  pending.tokens.clear();
  if (finished) {
    entry["finish_reason"] = openai_finish(progress.finish);
    entry["stop_reason"] = answer.stop_string.empty() ? Json(nullptr) : Json(answer.stop_string);
  }
  if (head_.shape == AnswerShape::kChat) {
    entry["delta"] = Json::object();
    if (!progress.text.empty()) entry["delta"]["content"] = progress.text;
  } else {
    entry["text"] = progress.text;
  }
  return bytes + chunk(std::move(entry));
}

std::string StreamWriter::last() const {
  std::string bytes;
  if (ask_.include_usage) {
    Json frame = chunk_frame(head_, ask_);
    frame["usage"] = generation_.usage();
    bytes = sse_event(frame);
  }
  return bytes + sse_done();
}

bool failed(FinishReason reason) { return reason == FinishReason::kError || reason == FinishReason::kCancelled; }

// The status line waits for the first event, so that a request which fails at once still gets its own HTTP status.
asio::awaitable<int> stream_answer(const Shared& shared, Exchange& exchange, const Ask& ask, AnswerShape shape,
                                   Generation& generation) {
  StreamWriter writer(shared, ask, generation, shape);
  bool begun = false;
  for (;;) {
    const Generation::Next event = co_await generation.next();
    if (!event.step && !event.silent) break;
    if (event.silent && !begun) continue;
    if (event.step && failed(event.step->progress.finish)) {
      const Failure failure = failure_of(*generation.failure());
      if (!begun) {
        co_await exchange.reply(error_reply(Dialect::kOpenAi, failure));
        co_return failure.http;
      }
      co_await exchange.write(sse_event(error_body(Dialect::kOpenAi, failure)) + sse_done());
      co_await exchange.end_stream();
      co_return failure.http;
    }
    std::string bytes = sse_comment();
    if (event.step && writer.step_bytes(*event.step) > kInlineBytes) {
      Work work = admitted_work(writer.step_bytes(*event.step), [&] { bytes = writer.step(*event.step); });
      if (co_await shared.work.run(exchange, std::move(work)) != WorkEnd::kDone) co_return 499;
    } else if (event.step) {
      bytes = writer.step(*event.step);
    }
    if (!begun) {
      HttpReply head = sse_head();
      head.headers = identity_headers(shared.parts.model, generation.identity());
      if (!co_await exchange.begin_stream(std::move(head))) co_return 499;
    }
    begun = true;
    if (!co_await exchange.write(std::move(bytes))) co_return 499;
  }
  if (exchange.gone()) co_return 499;
  co_await exchange.write(writer.last());
  co_await exchange.end_stream();
  co_return exchange.gone() ? 499 : 200;
}

asio::awaitable<int> whole_answer(const Shared& shared, Exchange& exchange, const Ask& ask, AnswerShape shape,
                                  Generation& generation) {
  if (!co_await generation.finish()) co_return 499;
  if (const auto refusal = generation.failure()) {
    const Failure failure = failure_of(*refusal);
    co_await exchange.reply(error_reply(Dialect::kOpenAi, failure));
    co_return failure.http;
  }
  const AnswerHead head = answer_head(generation, shape);
  std::optional<BodyWriter> writer;
  Work work{.bytes = generation.answer_bytes(0), .admission = Work::Admission::kAdmitted};
  work.piece = [&](const std::stop_token&) {
    if (!writer) writer.emplace(head, ask, generation, generation.words());
    return writer->step();
  };
  if (co_await shared.work.run(exchange, std::move(work)) != WorkEnd::kDone) co_return 499;
  HttpReply reply{.status = 200, .headers = identity_headers(shared.parts.model, generation.identity())};
  reply.body = writer->take();
  co_await exchange.reply(std::move(reply));
  co_return exchange.gone() ? 499 : 200;
}

// The request's body as an Ask, or why not.
Outcome<Ask> read_ask(const Shared& shared, const Exchange& exchange, AnswerShape shape) {
  const std::string& text = exchange.request().body;
  const bool chat = shape == AnswerShape::kChat;
  // Read once: a template prints a chat's objects in the order of their names, everything else reads them as Json.
  Result<OrderedJson> ordered =
      chat ? parse_ordered_json(text, "request body", kRequestJsonLimits) : Result<OrderedJson>(OrderedJson());
  if (!ordered.ok()) return Refusal{.status = ordered.status()};
  const Result<Json> body = chat ? Result<Json>(Json(*ordered))
                                 : parse_json(text, "request body", JsonKeys::kLastCounts, kRequestJsonLimits);
  if (!body.ok()) return Refusal{.status = body.status()};
  Fields fields(*body);
  Ask ask = chat ? parse_chat(fields, std::move(*ordered), shared.parts, shared.options)
                 : parse_completion(fields, shared.parts, shared.options);
  if (!fields.ok()) return Refusal{.status = fields.status(), .field = fields.param()};
  record_unknown_fields(exchange, fields.unknown());
  return ask;
}

asio::awaitable<void> answer(const Shared& shared, Exchange& exchange, AnswerShape shape) {
  std::optional<Ask> ask;
  AskReader read = [&]() -> Outcome<const Ask*> {
    Outcome<Ask> made = read_ask(shared, exchange, shape);
    if (!made.ok()) return made.refusal();
    ask = std::move(*made);
    return &*ask;
  };
  Opened opened = co_await open_generation(shared, exchange, std::move(read));
  if (!opened.ok()) {
    const Failure failure = failure_of(opened.refusal());
    record_refusal(shared, exchange, Dialect::kOpenAi, failure);
    co_await exchange.reply(error_reply(Dialect::kOpenAi, failure));
    co_return;
  }
  Generation& generation = **opened;
  int status = 0;
  if (ask->stream) {
    status = co_await stream_answer(shared, exchange, *ask, shape, generation);
  } else {
    status = co_await whole_answer(shared, exchange, *ask, shape, generation);
  }
  record_request(shared, exchange, generation, status);
}

}  // namespace

asio::awaitable<void> answer_completion(const Shared& shared, Exchange& exchange) {
  return answer(shared, exchange, AnswerShape::kCompletion);
}
asio::awaitable<void> answer_chat(const Shared& shared, Exchange& exchange) {
  return answer(shared, exchange, AnswerShape::kChat);
}

}  // namespace umbel::serve
