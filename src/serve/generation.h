// Generation: one request's answers under way: an Ask resolved, tokenized, checked and submitted, as one Session per
// choice.
//
// Owned by the handler's coroutine. Destroying it cancels what still runs.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "serve/ask.h"
#include "serve/failure.h"
#include "serve/http.h"
#include "serve/metrics.h"
#include "serve/parts.h"
#include "serve/session.h"
#include "serve/template_shelf.h"
#include "serve/token_texts.h"

namespace umbel::serve {

// What all handlers share; outlives the door.
struct Shared {
  const ServeParts& parts;
  const ServeOptions& options;
  Metrics& metrics;
  const TokenTexts& texts;
  TemplateShelf& templates;
};

class Generation {
 public:
  // Null with failure filled in; nothing is left running then.
  static std::unique_ptr<Generation> start(const Shared& shared, const Ask& ask, Exchange& exchange, Failure& failure);
  ~Generation();

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
  size_t choices() const { return sessions_.size(); }
  const Answer& answer(size_t choice) const { return sessions_[choice]->answer(); }
  size_t choices_per_prompt() const { return per_prompt_; }
  const std::vector<TokenId>& prompt(size_t choice) const { return prompts_[choice / per_prompt_]; }
  // The prompt as text: as it was given, or decoded from ids.
  const std::string& prompt_text(size_t choice) const { return prompt_texts_[choice / per_prompt_]; }
  uint64_t seed(size_t choice) const { return seeds_[choice]; }

  // The choices to return, best first within a prompt when best_of > n, else all in order.
  std::vector<size_t> returned(const Ask& ask) const;
  // The first choice that failed, if any.
  std::optional<Failure> failure() const;
  // {prompt_tokens, completion_tokens, total_tokens, prompt_tokens_details}: prompts counted once, all choices counted.
  Json usage() const;
  int64_t answer_tokens() const;
  int64_t prompt_tokens() const;

  const std::string& model() const { return model_; }      // as answers name it
  const std::string& adapter() const { return adapter_; }  // "" = base
  Duration elapsed() const { return clock_.now() - begun_; }
  std::optional<Duration> first_token_after() const { return first_token_; }
  Duration prepared_after() const { return prepared_; }  // checks and tokenizing

 private:
  explicit Generation(const Shared& shared, Exchange& exchange)
      : shared_(shared), exchange_(exchange), begun_(clock_.now()) {}
  bool resolve(const Ask& ask, AdapterRef& ref, Failure& failure);
  bool tokenize(const Ask& ask, Failure& failure);
  bool take_text(const Ask& ask, std::string text, Failure& failure);
  bool take_ids(const Ask& ask, std::vector<TokenId> ids, Failure& failure);
  bool add_prompt(const Ask& ask, std::vector<TokenId> ids, Failure& failure);
  bool submit(const Ask& ask, const AdapterRef& ref, Failure& failure);
  std::optional<int32_t> answer_room(const Ask& ask, size_t prompt, Failure& failure) const;
  void observe(size_t choice, const Progress& progress);

  const Shared& shared_;
  Exchange& exchange_;
  RealClock clock_;
  const TimePoint begun_;
  std::string model_, adapter_;
  std::vector<std::vector<TokenId>> prompts_;
  std::vector<std::string> prompt_texts_;
  size_t per_prompt_ = 1;
  std::vector<std::unique_ptr<Session>> sessions_;
  std::vector<uint64_t> seeds_;
  std::vector<std::optional<TimePoint>> last_token_at_;
  size_t turn_ = 0;  // fairness among choices
  std::optional<Duration> first_token_;
  Duration prepared_{};
};

}  // namespace umbel::serve
