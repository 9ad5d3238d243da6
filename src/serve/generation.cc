#include "serve/generation.h"

#include <algorithm>
#include <new>
#include <numeric>

#include "serve/keys/audit_log.h"

namespace umbel::serve {

namespace asio = boost::asio;

Generation::Generation(const Shared& shared, Exchange& exchange, GenerationParts parts)
    : shared_(shared), exchange_(exchange), parts_(std::move(parts)), last_token_at_(parts_.sessions.size()) {
  if (!parts_.identity.adapter.empty()) use_.emplace(shared.metrics.peers(), parts_.identity.adapter);
}

Generation::~Generation() {
  RequestAccount& account = exchange_.account();
  account.prompt_tokens = prompt_tokens();
  account.answer_tokens = answer_tokens();
  settle_tokens(exchange_.caller(), parts_.hold.get(), account);
  try {
    account.adapter = parts_.identity.adapter;
    account.version = parts_.identity.version;
    account.digest = parts_.identity.digest;
    if (!shared_.options.audit_prompts) return;
    for (const std::string& text : parts_.prompt_texts)
      account.prompts.push_back(text.substr(0, kAuditPromptBytesMax + 1));
  } catch (const std::bad_alloc&) {  // the audit line says less then
  }
}

asio::awaitable<Generation::Next> Generation::next() {
  for (;;) {
    if (exchange_.gone()) co_return Next{};
    bool running = false;
    for (size_t tried = 0; tried < parts_.sessions.size(); ++tried) {
      const size_t choice = (turn_ + tried) % parts_.sessions.size();
      std::optional<Progress> progress = parts_.sessions[choice]->poll();
      running |= !parts_.sessions[choice]->done();
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
      if (!first_token_) first_token_ = now - parts_.begun;
      if (use_) use_->run();
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
  for (size_t first = 0; first < choices(); first += parts_.per_prompt) {
    std::vector<size_t> order(parts_.per_prompt);
    std::iota(order.begin(), order.end(), first);
    if (parts_.per_prompt > static_cast<size_t>(ask.n)) {
      std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return mean(a) > mean(b); });
    }
    picked.insert(picked.end(), order.begin(), order.begin() + ask.n);
  }
  return picked;
}

// The engine checks a request when it is submitted: what fails later for the world's sake is the adapter's files.
std::optional<Refusal> Generation::failure() const {
  for (const auto& session : parts_.sessions) {
    const Answer& made = session->answer();
    if (made.finish != FinishReason::kError && made.finish != FinishReason::kCancelled) continue;
    if (parts_.identity.adapter.empty()) return Refusal{.status = made.status};
    return without_folders(adapter_refusal(made.status), shared_.parts.hidden_folders);
  }
  return std::nullopt;
}

size_t Generation::answer_bytes(size_t choice) const {
  constexpr size_t kEntryBytes = 32;  // one token, or one alternative of it
  const Answer& made = answer(choice);
  size_t entries = made.tokens.size() + made.prompt_logprobs.size();
  for (const AnswerToken& token : made.tokens) entries += token.logprobs ? token.logprobs->top.size() : 0;
  if (!made.prompt_logprobs.empty()) entries += made.prompt_logprobs.size() * made.prompt_logprobs[0].top.size();
  return made.text.size() + entries * kEntryBytes;
}

int64_t Generation::prompt_tokens() const {
  int64_t count = 0;
  for (const auto& prompt : parts_.prompts) count += static_cast<int64_t>(prompt.size());
  return count;
}

int64_t Generation::answer_tokens() const {
  int64_t count = 0;
  for (const auto& session : parts_.sessions) count += static_cast<int64_t>(session->answer().tokens.size());
  return count;
}

Json Generation::usage() const {
  Json usage = {{"prompt_tokens", prompt_tokens()},
                {"completion_tokens", answer_tokens()},
                {"total_tokens", prompt_tokens() + answer_tokens()}};
  if (!shared_.options.show_cached_tokens) return usage;
  int64_t cached = 0;
  for (size_t choice = 0; choice < choices(); choice += parts_.per_prompt) cached += answer(choice).cached_tokens;
  usage["prompt_tokens_details"] = {{"cached_tokens", cached}};
  return usage;
}

}  // namespace umbel::serve
