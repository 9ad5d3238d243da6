// Generation: one request's answers under way, as one Session per choice.
//
// Owned by the handler's coroutine. Destroying it cancels what still runs.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "serve/ask.h"
#include "serve/http.h"
#include "serve/keys/access.h"
#include "serve/identity.h"
#include "serve/refusal.h"
#include "serve/session.h"
#include "serve/shared.h"

namespace umbel::serve {

// What a Generation is made of; serve/opening.h makes it.
struct GenerationParts {
  Identity identity;
  std::shared_ptr<const TokenTexts> words;  // the tokenizer of what answers
  std::vector<std::vector<TokenId>> prompts;
  std::vector<std::string> prompt_texts;
  std::vector<std::vector<uint32_t>> prompt_offsets;  // where tokens begin in their text, in code points; echo only
  size_t per_prompt = 1;
  std::vector<std::unique_ptr<Session>> sessions;  // choices in order
  std::vector<uint64_t> seeds;
  TimePoint begun;      // when the request arrived
  Duration prepared{};  // checks and tokenizing
  std::unique_ptr<TokenHold> hold;  // of the key's tokens a minute; null = none
};

class Generation {
 public:
  Generation(const Shared& shared, Exchange& exchange, GenerationParts parts);
  ~Generation();  // counts what was used, for the key and the exchange's account

  struct Step {
    size_t choice = 0;
    Progress progress;
  };
  // The next event of any choice. Null when all choices are done or the client has gone; silent when an SSE comment is
  // due.
  struct Next {
    std::optional<Step> step;
    bool silent = false;
  };
  boost::asio::awaitable<Next> next();
  // Runs to the end. False when the client has gone.
  boost::asio::awaitable<bool> finish();

  // Choices in order: all of prompt 0, then all of prompt 1, ...; each prompt has max(n, best_of).
  size_t choices() const { return parts_.sessions.size(); }
  const Answer& answer(size_t choice) const { return parts_.sessions[choice]->answer(); }
  const std::vector<TokenId>& prompt(size_t choice) const { return parts_.prompts[choice / parts_.per_prompt]; }
  // The prompt as text: as it was given, or decoded from ids.
  const std::string& prompt_text(size_t choice) const { return parts_.prompt_texts[choice / parts_.per_prompt]; }
  // Where the prompt's tokens begin in prompt_text(), in code points; only with echo and logprobs, else empty.
  std::span<const uint32_t> prompt_offsets(size_t choice) const {
    return parts_.prompt_offsets[choice / parts_.per_prompt];
  }
  uint64_t seed(size_t choice) const { return parts_.seeds[choice]; }

  // The choices to return, best first within a prompt when best_of > n, else all in order.
  std::vector<size_t> returned(const Ask& ask) const;
  // Why the first choice that failed did, if any.
  std::optional<Refusal> failure() const;
  // {prompt_tokens, completion_tokens, total_tokens}: prompts counted once, all choices counted; and
  // prompt_tokens_details where the operator shows cached tokens.
  Json usage() const;
  int64_t answer_tokens() const;
  int64_t prompt_tokens() const;

  // Bytes of the answer's choice as JSON, roughly: what writing it costs.
  size_t answer_bytes(size_t choice) const;

  const TokenTexts& words() const { return *parts_.words; }
  const Identity& identity() const { return parts_.identity; }
  const ServedModel& base() const { return shared_.parts.model; }
  Duration elapsed() const { return clock_.now() - parts_.begun; }
  std::optional<Duration> first_token_after() const { return first_token_; }
  Duration prepared_after() const { return parts_.prepared; }

 private:
  void observe(size_t choice, const Progress& progress);

  const Shared& shared_;
  Exchange& exchange_;
  RealClock clock_;
  const GenerationParts parts_;
  std::vector<std::optional<TimePoint>> last_token_at_;
  size_t turn_ = 0;  // fairness among choices
  std::optional<Duration> first_token_;
  std::optional<PeerMetrics::AdapterUse> use_;  // null = base
};

}  // namespace umbel::serve
