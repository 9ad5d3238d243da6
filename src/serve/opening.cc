#include "serve/opening.h"

#include <algorithm>
#include <random>

#include "base/random.h"
#include "base/utf8.h"
#include "engine/room.h"
#include "serve/prompt_length.h"
#include "serve/unicode.h"
#include "text/detokenizer.h"

namespace umbel::serve {

namespace asio = boost::asio;

namespace {

constexpr size_t kPromptTail = 8;
constexpr size_t kPieceBytes = size_t{32} << 10;  // prompts up to this size are tokenized in one piece
constexpr size_t kPieceChoices = 16;              // requests submitted in one piece
constexpr double kFullRetrySeconds = 1.0;

uint64_t random_seed() {
  thread_local std::mt19937_64 generator{std::random_device{}()};
  return generator() >> 1;  // fits a JSON integer of any client
}

// The k-th choice of a prompt draws its own stream; the first one's is the seed as given.
uint64_t choice_seed(uint64_t seed, uint64_t choice) { return choice == 0 ? seed : mix_key({seed, choice}) >> 1; }

size_t bytes_of(const Prompt& prompt) {
  if (const auto* text = std::get_if<std::string>(&prompt)) return text->size();
  return std::get<std::vector<TokenId>>(prompt).size() * sizeof(TokenId);
}

}  // namespace

Opening::Opening(const Shared& shared, const Ask& ask, const Exchange& exchange, TimePoint begun)
    : shared_(shared), ask_(ask), caller_(exchange.caller()), bell_(exchange.bell()), made_{.begun = begun} {}

NextPiece Opening::step(const std::stop_token& stop) {
  if (!begun_) {
    begun_ = true;
    refusal_ = begin();
    if (refusal_) return std::nullopt;
    return next_bytes();
  }
  if (next_ < prompts_.size()) {
    for (size_t bytes = 0; next_ < prompts_.size() && bytes < kPieceBytes && !stop.stop_requested(); ++next_) {
      bytes += bytes_of(prompts_[next_]);
      refusal_ = take_prompt(std::move(prompts_[next_]));
      if (refusal_) return std::nullopt;
    }
    made_.prepared = clock_.now() - made_.begun;
    return next_bytes();
  }
  if (made_.sessions.empty()) refusal_ = hold();
  const size_t total = made_.per_prompt * made_.prompts.size();
  const size_t end = std::min(total, made_.sessions.size() + kPieceChoices);
  while (!refusal_ && made_.sessions.size() < end) refusal_ = submit(made_.sessions.size());
  if (refusal_ || end == total) return std::nullopt;
  return 0;
}

Outcome<GenerationParts> Opening::take() {
  if (refusal_) {
    made_.sessions.clear();  // what was submitted already is abandoned
    return std::move(*refusal_);
  }
  return std::move(made_);
}

size_t Opening::next_bytes() const { return next_ < prompts_.size() ? bytes_of(prompts_[next_]) : 0; }

std::optional<Refusal> Opening::begin() {
  Outcome<ResolvedModel> model = resolve_model(shared_, caller_, ask_.model);
  if (!model.ok()) return model.refusal();
  model_ = std::move(*model);
  made_.identity = model_.identity;
  made_.words = model_.words;
  if (auto refusal = make_prompts()) return refusal;
  made_.per_prompt = static_cast<size_t>(std::max(ask_.n, ask_.best_of));
  read_stops();
  return check_count();
}

std::optional<Refusal> Opening::make_prompts() {
  const AdapterInfo* info = model_.ref ? &model_.info : nullptr;
  if (ask_.chat) {
    if (auto fault = info ? chat_fault(shared_.prompts, *info, ask_) : std::nullopt) return fault;
    Result<std::string> text = render_chat(shared_, model_, *ask_.chat);
    if (!text.ok()) return Refusal{.status = text.status(), .field = ask_.prompt_field};
    prompts_ = {std::move(*text)};
    specials_written_ = true;
    return std::nullopt;
  }
  if (ask_.prompt_rows.empty() && !ask_.fill_template) {
    prompts_ = ask_.prompts;
    return std::nullopt;
  }
  const size_t bytes_max = static_cast<size_t>(shared_.parts.engine->limits().context_max) * kTokenBytesMax;
  Outcome<FilledPrompts> filled = fill_prompts({*made_.words->tokenizer(), shared_.templates, shared_.prompts, bytes_max}, info, ask_);
  if (!filled.ok()) return without_folders(filled.refusal(), shared_.parts.hidden_folders);
  prompts_ = std::move(filled->prompts);
  specials_written_ = filled->specials_written;
  return std::nullopt;
}

// One list for all choices.
void Opening::read_stops() {
  if (ask_.stops.empty()) return;
  stops_ = std::make_shared<const StopList>(ask_.stops);
  for (const std::string& stop : ask_.stops) stops_at_special_ |= holds_special_token(*made_.words->tokenizer(), stop);
}

std::optional<Refusal> Opening::check_count() const {
  const size_t total = made_.per_prompt * prompts_.size();
  const size_t most = static_cast<size_t>(shared_.options.request.choices_max);
  if (total <= most) return std::nullopt;
  return Refusal{.status = invalid_argument("the request asks for " + std::to_string(total) +
                                            " answers (prompts times n); at most " + std::to_string(most) +
                                            " are allowed"),
                 .field = "n"};
}

std::optional<Refusal> Opening::take_prompt(Prompt prompt) {
  if (auto* text = std::get_if<std::string>(&prompt)) return take_text(std::move(*text));
  return take_ids(std::move(std::get<std::vector<TokenId>>(prompt)));
}

// Before the work of tokenizing all of it.
std::optional<Refusal> Opening::check_bytes(const std::string& text) const {
  const size_t context = static_cast<size_t>(shared_.parts.engine->limits().context_max);
  bool longer = text.size() > context * kTokenBytesMax;
  if (!longer && !ask_.truncate) {
    const Result<bool> surely = is_surely_longer(*made_.words->tokenizer(), text, context);
    if (!surely.ok()) return Refusal{.status = surely.status(), .field = ask_.prompt_field};
    longer = *surely;
  }
  if (!longer) return std::nullopt;
  return Refusal{.status = Status(Code::kTooLong, "This model's maximum context length is " + std::to_string(context) +
                                                      " tokens; the " + std::to_string(text.size()) + " bytes of `" +
                                                      ask_.prompt_field + "` can't fit"),
                 .field = ask_.prompt_field};
}

std::optional<Refusal> Opening::take_text(std::string text) {
  if (auto refusal = check_bytes(text)) return refusal;
  const bool add_special = !specials_written_;
  std::vector<TokenId> ids;
  std::vector<uint32_t> offsets;
  if (ask_.echo && ask_.logprobs >= 0) {
    auto spans = made_.words->tokenizer()->encode_spans(text, add_special);
    if (!spans.ok()) return Refusal{.status = spans.status(), .field = ask_.prompt_field};
    const CodePointIndex points(text);
    for (const TokenSpan& span : *spans) {
      ids.push_back(span.id);
      offsets.push_back(static_cast<uint32_t>(points.before(span.begin)));
    }
  } else {
    auto encoded = made_.words->tokenizer()->encode(text, add_special);
    if (!encoded.ok()) return Refusal{.status = encoded.status(), .field = ask_.prompt_field};
    ids = std::move(*encoded);
  }
  made_.prompt_texts.push_back(std::move(text));
  made_.prompt_offsets.push_back(std::move(offsets));
  return add_prompt(std::move(ids));
}

std::optional<Refusal> Opening::take_ids(std::vector<TokenId> ids) {
  std::string text;
  std::vector<uint32_t> offsets;
  if (ask_.echo) {
    auto decoded = made_.words->tokenizer()->decode(ids, ask_.skip_special);
    if (!decoded.ok()) return Refusal{.status = decoded.status(), .field = ask_.prompt_field};
    text = std::move(*decoded);
    if (ask_.logprobs >= 0) {
      Detokenizer pieces(made_.words->tokenizer(), ask_.skip_special);
      size_t points = 0;
      for (TokenId id : ids) {
        offsets.push_back(static_cast<uint32_t>(points));
        points += utf8_count(pieces.push(id));
      }
    }
  }
  made_.prompt_texts.push_back(std::move(text));
  made_.prompt_offsets.push_back(std::move(offsets));
  return add_prompt(std::move(ids));
}

std::optional<Refusal> Opening::add_prompt(std::vector<TokenId> ids) {
  if (ask_.truncate && ids.size() > static_cast<size_t>(*ask_.truncate)) {
    const ptrdiff_t cut = static_cast<ptrdiff_t>(ids.size()) - *ask_.truncate;
    ids.erase(ids.begin(), ids.begin() + cut);
    std::vector<uint32_t>& offsets = made_.prompt_offsets.back();
    if (!offsets.empty()) offsets.erase(offsets.begin(), offsets.begin() + cut);
  }
  if (ids.empty()) {
    return Refusal{
        .status = invalid_argument(std::string("`") + ask_.prompt_field + "` is empty: it needs at least one token"),
        .field = ask_.prompt_field};
  }
  made_.prompts.push_back(std::move(ids));
  Outcome<int32_t> room = answer_room(made_.prompts.size() - 1);
  if (!room.ok()) return room.refusal();
  return std::nullopt;
}

// How many tokens the answer to this prompt may have.
Outcome<int32_t> Opening::answer_room(size_t prompt) const {
  const Limits& limits = shared_.parts.engine->limits();
  const int64_t length = static_cast<int64_t>(made_.prompts[prompt].size());
  const int64_t room = request_tokens_max(limits) - length;
  const int64_t least = ask_.max_tokens.value_or(1);
  const Status fits = check_room(limits, length, least);
  if (!fits.ok()) return Refusal{.status = fits, .field = room < 1 ? ask_.prompt_field : ask_.max_tokens_field};
  return static_cast<int32_t>(
      ask_.max_tokens ? *ask_.max_tokens : std::min<int64_t>(ask_.default_max_tokens.value_or(room), room));
}

// All that the request may take, out of the key's minute.
std::optional<Refusal> Opening::hold() {
  int64_t tokens = 0;
  for (size_t prompt = 0; prompt < made_.prompts.size(); ++prompt) {
    Outcome<int32_t> room = answer_room(prompt);
    if (!room.ok()) return room.refusal();
    tokens += static_cast<int64_t>(made_.prompts[prompt].size()) + int64_t{*room} * static_cast<int64_t>(made_.per_prompt);
  }
  TokenAdmission admission = hold_tokens(caller_, tokens);
  if (admission.refusal) return rate_refusal(*admission.refusal);
  made_.hold = std::move(admission.hold);
  return std::nullopt;
}

Request Opening::request_of(size_t choice, int32_t room) const {
  Request request{.prompt = made_.prompts[choice / made_.per_prompt],
                  .adapter = model_.ref,
                  .sampling = ask_.sampling,
                  .max_tokens = room,
                  .min_tokens = ask_.min_tokens,
                  .ignore_eos = ask_.ignore_eos,
                  .eos_ids = model_.end_ids,
                  .stop_ids = ask_.stop_ids,
                  .logprobs = ask_.logprobs,
                  .prompt_logprobs = ask_.prompt_logprobs,
                  .tenant = caller_.tenant,
                  .tenant_caps = tenant_caps(caller_),
                  .cache_salt = prefix_salt(caller_, ask_.cache_salt)};
  if (room == 0) request.prompt_logprobs = std::max(ask_.prompt_logprobs, 0);  // the engine's "score only"
  if (made_.per_prompt > static_cast<size_t>(ask_.n))
    request.logprobs = std::max(ask_.logprobs, 0);  // best_of compares them
  request.sampling.seed = made_.seeds[choice];
  return request;
}

std::optional<Refusal> Opening::submit(size_t choice) {
  const ServeParts& parts = shared_.parts;
  if (made_.seeds.empty()) {
    const uint64_t seed = ask_.seeded ? ask_.sampling.seed : random_seed();
    for (size_t k = 0; k < made_.per_prompt * made_.prompts.size(); ++k)
      made_.seeds.push_back(choice_seed(seed, k % made_.per_prompt));
  }
  const std::vector<TokenId>& prompt = made_.prompts[choice / made_.per_prompt];
  Outcome<int32_t> room = answer_room(choice / made_.per_prompt);
  if (!room.ok()) return room.refusal();
  auto stream = parts.engine->submit(request_of(choice, *room));
  if (!stream.ok()) {
    const Code code = stream.status().code();
    Refusal refusal{.status = stream.status()};
    if (code == Code::kInvalidArgument || code == Code::kTooLong) refusal.field = ask_.prompt_field;
    if (code == Code::kOverloaded || code == Code::kUnavailable)
      refusal.retry_after_seconds = parts.engine->retry_after_seconds();
    return refusal;
  }
  SessionOptions options{.tokenizer = made_.words->tokenizer(),
                         .stops = stops_,
                         .stops_at_special = stops_at_special_,
                         .include_stop = ask_.include_stop,
                         .skip_special = ask_.skip_special,
                         .min_tokens = ask_.min_tokens};
  options.prompt_tail.assign(prompt.end() - static_cast<ptrdiff_t>(std::min(prompt.size(), kPromptTail)), prompt.end());
  made_.sessions.push_back(std::make_unique<Session>(*stream, std::move(options), bell_));
  return std::nullopt;
}

Refusal refusal_of(WorkEnd end) {
  switch (end) {
    case WorkEnd::kCallerFull:
      return {.status = Status(Code::kOverloaded, "too many of this client's requests are being prepared"),
              .retry_after_seconds = kFullRetrySeconds};
    case WorkEnd::kFull:
      return {.status = Status(Code::kUnavailable, "too many requests are being prepared"),
              .retry_after_seconds = kFullRetrySeconds};
    default:
      return {.status = Status(Code::kCancelled, "the client went away")};
  }
}

asio::awaitable<Opened> open_generation(const Shared& shared, Exchange& exchange, AskReader read) {
  const TimePoint begun = RealClock().now();
  std::optional<Opening> opening;
  std::optional<Refusal> unread;
  Work work{.bytes = exchange.request().body.size()};
  work.piece = [&](const std::stop_token& stop) -> NextPiece {
    if (opening) return opening->step(stop);
    Outcome<const Ask*> ask = read();
    if (!ask.ok()) {
      unread = ask.refusal();
      return std::nullopt;
    }
    opening.emplace(shared, **ask, exchange, begun);
    return opening->step(stop);
  };
  const WorkEnd end = co_await shared.work.run(exchange, std::move(work));
  exchange.release_body();
  if (end != WorkEnd::kDone) co_return refusal_of(end);
  if (unread) co_return std::move(*unread);
  Outcome<GenerationParts> parts = opening->take();
  if (!parts.ok()) co_return parts.refusal();
  co_return std::make_unique<Generation>(shared, exchange, std::move(*parts));
}

}  // namespace umbel::serve
