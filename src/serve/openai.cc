#include "serve/openai.h"

#include "serve/openai_format.h"
#include "serve/openai_request.h"
#include "serve/request_log.h"
#include "serve/sse.h"
#include "serve/unicode.h"

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
  StreamWriter(const Shared& shared, const Ask& ask, Generation& generation, bool chat)
      : shared_(shared),
        ask_(ask),
        generation_(generation),
        head_(answer_head(generation, chat)),
        pending_(generation.choices()) {}

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

// A chat answer begins with the role; an echoed completion with the prompt.
std::string StreamWriter::opening(size_t choice) {
  Pending& pending = pending_[choice];
  if (pending.started) return {};
  pending.started = true;
  Json entry = {{"index", choice}, {"finish_reason", nullptr}, {"logprobs", nullptr}};
  if (ask_.return_token_ids) entry["prompt_token_ids"] = generation_.prompt(choice);
  if (head_.chat) {
    entry["delta"] = {{"role", "assistant"}, {"content", ""}};
    return chunk(std::move(entry));
  }
  if (!ask_.echo && !ask_.return_token_ids) return {};
  entry["text"] = ask_.echo ? generation_.prompt_text(choice) : "";
  if (ask_.echo && ask_.logprobs >= 0) {
    entry["logprobs"] = completion_logprobs(
        {.prompt = generation_.prompt(choice), .prompt_logprobs = generation_.answer(choice).prompt_logprobs},
        shared_.texts);
  }
  if (ask_.echo) {
    for (TokenId id : generation_.prompt(choice)) pending.offset += code_points(shared_.texts.bytes(id));
  }
  return chunk(std::move(entry));
}

Json StreamWriter::logprobs(size_t choice, std::span<const AnswerToken> tokens) {
  if (ask_.logprobs < 0) return nullptr;
  if (head_.chat) return chat_logprobs(tokens, shared_.texts);
  Pending& pending = pending_[choice];
  const Json entry = completion_logprobs({.tokens = tokens, .offset = pending.offset}, shared_.texts);
  for (const AnswerToken& token : tokens) pending.offset += code_points(shared_.texts.bytes(token.id));
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
  std::span<const AnswerToken> shown = pending.tokens;
  if (!answer.stop_string.empty()) {
    while (!shown.empty() && shown.back().text_begin >= answer.text.size()) shown = shown.first(shown.size() - 1);
  }
  Json entry = {{"index", step.choice}, {"finish_reason", nullptr}, {"logprobs", logprobs(step.choice, shown)}};
  if (ask_.return_token_ids) entry["token_ids"] = token_ids(pending.tokens);
  pending.tokens.clear();
  if (finished) {
    entry["finish_reason"] = openai_finish(progress.finish);
    entry["stop_reason"] = answer.stop_string.empty() ? Json(nullptr) : Json(answer.stop_string);
  }
  if (head_.chat) {
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
asio::awaitable<int> stream_answer(const Shared& shared, Exchange& exchange, const Ask& ask, bool chat,
                                   Generation& generation) {
  StreamWriter writer(shared, ask, generation, chat);
  bool begun = false;
  for (;;) {
    const Generation::Next event = co_await generation.next();
    if (!event.step && !event.silent) break;
    if (event.silent && !begun) continue;
    if (event.step && failed(event.step->progress.finish)) {
      const Failure failure = *generation.failure();
      if (!begun) {
        co_await exchange.reply(error_reply(Dialect::kOpenAi, failure));
        co_return failure.http;
      }
      co_await exchange.write(sse_event(error_body(Dialect::kOpenAi, failure)) + sse_done());
      co_await exchange.end_stream();
      co_return failure.http;
    }
    std::string bytes = event.step ? writer.step(*event.step) : sse_comment();
    if (!begun && !co_await exchange.begin_stream(sse_head())) co_return 499;
    begun = true;
    if (!co_await exchange.write(std::move(bytes))) co_return 499;
  }
  if (exchange.gone()) co_return 499;
  co_await exchange.write(writer.last());
  co_await exchange.end_stream();
  co_return exchange.gone() ? 499 : 200;
}

asio::awaitable<int> whole_answer(const Shared& shared, Exchange& exchange, const Ask& ask, bool chat,
                                  Generation& generation) {
  if (!co_await generation.finish()) co_return 499;
  if (const auto failure = generation.failure()) {
    co_await exchange.reply(error_reply(Dialect::kOpenAi, *failure));
    co_return failure->http;
  }
  const AnswerHead head = answer_head(generation, chat);
  const Json body =
      chat ? chat_body(head, ask, generation, shared.texts) : completion_body(head, ask, generation, shared.texts);
  co_await exchange.reply(json_reply(200, body));
  co_return exchange.gone() ? 499 : 200;
}

// The request's body as an Ask; failure says why not.
std::optional<Ask> read_ask(const Shared& shared, const Exchange& exchange, bool chat, Failure& failure) {
  const Result<Json> body = parse_json(exchange.request().body, "request body");
  if (!body.ok()) {
    failure = failure_of(body.status());
    return std::nullopt;
  }
  Fields fields(*body);
  Ask ask;
  if (chat) {
    const Result<OrderedJson> ordered = parse_ordered_json(exchange.request().body, "request body");
    if (!ordered.ok()) {
      failure = failure_of(ordered.status());
      return std::nullopt;
    }
    ask = parse_chat(fields, *ordered, shared.parts, shared.options);
  } else {
    ask = parse_completion(fields, shared.parts, shared.options);
  }
  if (!fields.ok()) {
    failure = failure_of(fields.status(), fields.param());
    return std::nullopt;
  }
  record_unknown_fields(exchange, fields.unknown());
  return ask;
}

asio::awaitable<void> answer(const Shared& shared, Exchange& exchange, bool chat) {
  Failure failure;
  const std::optional<Ask> ask = read_ask(shared, exchange, chat, failure);
  const std::unique_ptr<Generation> generation = ask ? Generation::start(shared, *ask, exchange, failure) : nullptr;
  if (!generation) {
    record_refusal(shared, exchange, failure);
    co_await exchange.reply(error_reply(Dialect::kOpenAi, failure));
    co_return;
  }
  int status = 0;
  if (ask->stream) {
    status = co_await stream_answer(shared, exchange, *ask, chat, *generation);
  } else {
    status = co_await whole_answer(shared, exchange, *ask, chat, *generation);
  }
  record_request(shared, exchange, *generation, status);
}

}  // namespace

asio::awaitable<void> answer_completion(const Shared& shared, Exchange& exchange) {
  return answer(shared, exchange, false);
}
asio::awaitable<void> answer_chat(const Shared& shared, Exchange& exchange) { return answer(shared, exchange, true); }

}  // namespace umbel::serve
