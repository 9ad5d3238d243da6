#include "serve/generation.h"

#include <algorithm>
#include <numeric>
#include <random>

#include "base/random.h"

namespace umbel::serve {

namespace asio = boost::asio;

namespace {

constexpr size_t kNamesShownMax = 50;
constexpr size_t kPromptTail = 8;
// No tokenizer's tokens are so long on average: a text of more bytes than the context times this is refused before the
// work of tokenizing it.
constexpr size_t kTokenBytesMax = 256;

uint64_t random_seed() {
  thread_local std::mt19937_64 generator{std::random_device{}()};
  return generator() >> 1;  // fits a JSON integer of any client
}

// The k-th choice of a prompt draws its own stream; the first one's is the seed as given.
uint64_t choice_seed(uint64_t seed, uint64_t choice) { return choice == 0 ? seed : mix_key({seed, choice}) >> 1; }

Failure unknown_model(const ServeParts& parts, const std::string& name) {
  std::string known = parts.model.name;
  size_t more = 0;
  if (parts.library != nullptr) {
    size_t shown = 1;
    for (const AdapterInfo& info : parts.library->list()) {
      if (info.state == AdapterState::kFailed) continue;
      if (shown++ >= kNamesShownMax)
        ++more;
      else
        known += ", " + info.id.name;
    }
  }
  if (more > 0) known += " and " + std::to_string(more) + " more (GET /v1/models)";
  return {.http = 404,
          .message = "there is no model or adapter `" + name.substr(0, 200) + "`; known: " + known,
          .param = "model",
          .code = "model_not_found"};
}

}  // namespace

std::unique_ptr<Generation> Generation::start(const Shared& shared, const Ask& ask, Exchange& exchange,
                                              Failure& failure) {
  std::unique_ptr<Generation> made(new Generation(shared, exchange));
  AdapterRef ref;
  if (!made->resolve(ask, ref, failure) || !made->tokenize(ask, failure) || !made->submit(ask, ref, failure))
    return nullptr;
  return made;
}

Generation::~Generation() = default;

bool Generation::resolve(const Ask& ask, AdapterRef& ref, Failure& failure) {
  const ServeParts& parts = shared_.parts;
  model_ = ask.model.empty() ? parts.model.name : ask.model;
  if (model_ == parts.model.name) return true;
  if (parts.library == nullptr) {
    failure = unknown_model(parts, model_);
    return false;
  }
  Result<AdapterRef> found = parts.library->resolve(model_);
  if (!found.ok()) {
    failure =
        found.status().code() == Code::kNotFound ? unknown_model(parts, model_) : failure_of(found.status(), "model");
    return false;
  }
  ref = *found;
  adapter_ = model_;
  return true;
}

bool Generation::tokenize(const Ask& ask, Failure& failure) {
  std::vector<Prompt> prompts = ask.prompts;
  if (ask.chat) {
    auto chat_template = shared_.templates.find(adapter_);
    Result<ChatText> text =
        chat_template.ok() ? (*chat_template)->render(*ask.chat) : Result<ChatText>(chat_template.status());
    if (!text.ok()) {
      failure = failure_of(text.status(), ask.prompt_field);
      return false;
    }
    prompts = {text->text};
  }
  for (Prompt& prompt : prompts) {
    const bool made = std::holds_alternative<std::string>(prompt)
                          ? take_text(ask, std::move(std::get<std::string>(prompt)), failure)
                          : take_ids(ask, std::move(std::get<std::vector<TokenId>>(prompt)), failure);
    if (!made) return false;
  }
  prepared_ = elapsed();
  return true;
}

bool Generation::take_text(const Ask& ask, std::string text, Failure& failure) {
  const size_t context = static_cast<size_t>(shared_.parts.engine->limits().context_max);
  if (text.size() > context * kTokenBytesMax) {
    failure = {.http = 400,
               .message = "this model's context has " + std::to_string(context) + " tokens; the " +
                          std::to_string(text.size()) + " bytes of `" + ask.prompt_field + "` can't fit",
               .param = ask.prompt_field,
               .code = "context_length_exceeded"};
    return false;
  }
  auto ids = shared_.parts.tokenizer->encode(text, /*add_special=*/!ask.chat);  // a template writes its own
  if (!ids.ok()) {
    failure = failure_of(ids.status(), ask.prompt_field);
    return false;
  }
  prompt_texts_.push_back(std::move(text));
  return add_prompt(ask, std::move(*ids), failure);
}

bool Generation::take_ids(const Ask& ask, std::vector<TokenId> ids, Failure& failure) {
  std::string text;
  if (ask.echo) {
    auto decoded = shared_.parts.tokenizer->decode(ids, ask.skip_special);
    if (!decoded.ok()) {
      failure = failure_of(decoded.status(), ask.prompt_field);
      return false;
    }
    text = std::move(*decoded);
  }
  prompt_texts_.push_back(std::move(text));
  return add_prompt(ask, std::move(ids), failure);
}

bool Generation::add_prompt(const Ask& ask, std::vector<TokenId> ids, Failure& failure) {
  if (ask.truncate && ids.size() > static_cast<size_t>(*ask.truncate))
    ids.erase(ids.begin(), ids.end() - *ask.truncate);
  if (ids.empty()) {
    failure = {.http = 400,
               .message = std::string("`") + ask.prompt_field + "` is empty: it needs at least one token",
               .param = ask.prompt_field};
    return false;
  }
  prompts_.push_back(std::move(ids));
  return true;
}

// How many tokens the answer to this prompt may have.
std::optional<int32_t> Generation::answer_room(const Ask& ask, size_t prompt, Failure& failure) const {
  const int64_t context = shared_.parts.engine->limits().context_max;
  const int64_t length = static_cast<int64_t>(prompts_[prompt].size());
  const int64_t room = context - length;
  const int64_t least = ask.max_tokens ? *ask.max_tokens : 1;
  if (room >= least)
    return static_cast<int32_t>(ask.max_tokens ? *ask.max_tokens
                                               : std::min<int64_t>(ask.default_max_tokens.value_or(room), room));
  std::string message = "this model's context has " + std::to_string(context) + " tokens, but " +
                        std::to_string(length + least) + " were asked for: " + std::to_string(length) + " in `" +
                        ask.prompt_field + "` and " + std::to_string(least) + " for the answer";
  const bool prompt_alone = room < 1;
  failure = {.http = 400,
             .message = std::move(message),
             .param = prompt_alone ? ask.prompt_field : ask.max_tokens_field,
             .code = "context_length_exceeded"};
  return std::nullopt;
}

bool Generation::submit(const Ask& ask, const AdapterRef& ref, Failure& failure) {
  const ServeParts& parts = shared_.parts;
  per_prompt_ = static_cast<size_t>(std::max(ask.n, ask.best_of));
  const size_t total = per_prompt_ * prompts_.size();
  if (total > static_cast<size_t>(shared_.options.choices_max)) {
    failure = {.http = 400,
               .message = "the request asks for " + std::to_string(total) + " answers (prompts times n); at most " +
                          std::to_string(shared_.options.choices_max) + " are allowed",
               .param = "n"};
    return false;
  }
  const uint64_t seed = ask.seeded ? ask.sampling.seed : random_seed();
  for (size_t choice = 0; choice < total; ++choice) {
    const std::vector<TokenId>& prompt = prompts_[choice / per_prompt_];
    const std::optional<int32_t> room = answer_room(ask, choice / per_prompt_, failure);
    if (!room) return false;
    Request request{.prompt = prompt,
                    .adapter = ref,
                    .sampling = ask.sampling,
                    .max_tokens = *room,
                    .min_tokens = ask.min_tokens,
                    .ignore_eos = ask.ignore_eos,
                    .eos_ids = parts.model.eos_ids,
                    .stop_ids = ask.stop_ids,
                    .logprobs = ask.logprobs,
                    .prompt_logprobs = ask.prompt_logprobs};
    if (*room == 0) request.prompt_logprobs = std::max(ask.prompt_logprobs, 0);  // the engine's "score only"
    if (per_prompt_ > static_cast<size_t>(ask.n))
      request.logprobs = std::max(ask.logprobs, 0);  // best_of compares them
    request.sampling.seed = choice_seed(seed, choice % per_prompt_);
    seeds_.push_back(request.sampling.seed);
    auto stream = parts.engine->submit(std::move(request));
    if (!stream.ok()) {
      failure = failure_of(stream.status(),
                           stream.status().code() == Code::kInvalidArgument || stream.status().code() == Code::kTooLong
                               ? ask.prompt_field
                               : "");
      if (failure.http == 429 || failure.http == 503) failure.retry_after_seconds = parts.engine->retry_after_seconds();
      return false;
    }
    SessionOptions options{.tokenizer = parts.tokenizer,
                           .stops = ask.stops,
                           .include_stop = ask.include_stop,
                           .skip_special = ask.skip_special,
                           .min_tokens = ask.min_tokens};
    options.prompt_tail.assign(prompt.end() - static_cast<ptrdiff_t>(std::min(prompt.size(), kPromptTail)),
                               prompt.end());
    sessions_.push_back(std::make_unique<Session>(*stream, std::move(options), exchange_.bell()));
  }
  last_token_at_.resize(total);
  return true;
}

asio::awaitable<Generation::Next> Generation::next() {
  for (;;) {
    if (exchange_.gone()) co_return Next{};
    bool running = false;
    for (size_t tried = 0; tried < sessions_.size(); ++tried) {
      const size_t choice = (turn_ + tried) % sessions_.size();
      std::optional<Progress> progress = sessions_[choice]->poll();
      running |= !sessions_[choice]->done();
      if (!progress) continue;
      turn_ = choice + 1;
      observe(choice, *progress);
      Next result;
      result.step = Step{choice, std::move(*progress)};
      co_return result;
    }
    if (!running) co_return Next{};
    const bool rung = co_await exchange_.bell()->wait(shared_.options.comment_interval);
    if (!rung) {
      Next result;
      result.silent = true;
      co_return result;
    }
  }
}

asio::awaitable<bool> Generation::finish() {
  for (;;) {
    const Next event = co_await next();
    if (!event.step && !event.silent) break;
  }
  co_return !exchange_.gone();
}

void Generation::observe(size_t choice, const Progress& progress) {
  const TimePoint now = clock_.now();
  if (!progress.tokens.empty()) {
    std::optional<TimePoint>& last = last_token_at_[choice];
    if (last) {
      shared_.metrics.observe_token_gap(now - *last);
    } else {
      shared_.metrics.observe_first_token(now - begun_);
      if (!first_token_) first_token_ = now - begun_;
    }
    last = now;
  }
  const Answer& done = answer(choice);
  if (progress.finish != FinishReason::kNone && done.times.total > Duration{})
    shared_.metrics.observe_queue(done.times.queued);
}

std::vector<size_t> Generation::returned(const Ask& ask) const {
  std::vector<size_t> picked;
  const auto mean = [this](size_t choice) {
    const Answer& made = answer(choice);
    return made.tokens.empty() ? 0.0 : made.logprob_sum() / static_cast<double>(made.tokens.size());
  };
  for (size_t first = 0; first < choices(); first += per_prompt_) {
    std::vector<size_t> order(per_prompt_);
    std::iota(order.begin(), order.end(), first);
    if (per_prompt_ > static_cast<size_t>(ask.n)) {
      std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return mean(a) > mean(b); });
    }
    picked.insert(picked.end(), order.begin(), order.begin() + ask.n);
  }
  return picked;
}

std::optional<Failure> Generation::failure() const {
  for (const auto& session : sessions_) {
    const Answer& made = session->answer();
    if (made.finish == FinishReason::kError || made.finish == FinishReason::kCancelled) {
      Failure failure = failure_of(made.status);
      if (failure.http == 404 || failure.http == 409 || failure.http == 422) failure.param = "model";
      return failure;
    }
  }
  return std::nullopt;
}

int64_t Generation::prompt_tokens() const {
  int64_t count = 0;
  for (const auto& prompt : prompts_) count += static_cast<int64_t>(prompt.size());
  return count;
}

int64_t Generation::answer_tokens() const {
  int64_t count = 0;
  for (const auto& session : sessions_) count += static_cast<int64_t>(session->answer().tokens.size());
  return count;
}

Json Generation::usage() const {
  int64_t cached = 0;
  for (size_t choice = 0; choice < choices(); choice += per_prompt_) cached += answer(choice).cached_tokens;
  return {{"prompt_tokens", prompt_tokens()},
          {"completion_tokens", answer_tokens()},
          {"total_tokens", prompt_tokens() + answer_tokens()},
          {"prompt_tokens_details", {{"cached_tokens", cached}}}};
}

}  // namespace umbel::serve
