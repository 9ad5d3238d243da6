// Opening: a Generation in the making, piece by piece on the work pool: the name resolved, the chat rendered, prompts
// tokenized and checked, requests submitted. The first thing that fails ends it, and nothing is left running then.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>

#include "serve/generation.h"
#include "serve/refusal.h"
#include "serve/resolve.h"

namespace umbel::serve {

class Opening {
 public:
  // ask outlives it. begun: when the request arrived.
  Opening(const Shared& shared, const Ask& ask, const Exchange& exchange, TimePoint begun);

  // One piece of the work; after it returned null, take() has the outcome. One thread at a time. After a stop was requested
  // it returns soon, and nobody asks for the outcome.
  NextPiece step(const std::stop_token& stop);
  Outcome<GenerationParts> take();

 private:
  std::optional<Refusal> begin();
  // What the Ask says about the adapter's own prompts, and its chat.
  std::optional<Refusal> make_prompts();
  void read_stops();
  std::optional<Refusal> take_prompt(Prompt prompt);
  std::optional<Refusal> check_bytes(const std::string& text) const;
  std::optional<Refusal> take_text(std::string text);
  std::optional<Refusal> take_ids(std::vector<TokenId> ids);
  std::optional<Refusal> add_prompt(std::vector<TokenId> ids);
  std::optional<Refusal> check_count() const;
  std::optional<Refusal> submit(size_t choice);
  Outcome<int32_t> answer_room(size_t prompt) const;
  std::optional<Refusal> hold();
  Request request_of(size_t choice, int32_t room) const;
  size_t next_bytes() const;

  const Shared& shared_;
  const Ask& ask_;
  const Caller caller_;
  const std::shared_ptr<Bell> bell_;
  RealClock clock_;
  GenerationParts made_;
  ResolvedModel model_;
  std::shared_ptr<const StopList> stops_;  // null = none
  bool stops_at_special_ = false;
  bool specials_written_ = false;  // in prompts: the tokenizer adds none
  bool begun_ = false;
  std::vector<Prompt> prompts_;  // still to be tokenized from next_ on
  size_t next_ = 0;
  std::optional<Refusal> refusal_;
};

// Reads the body into an Ask that outlives the generation, or says why not. Called on a pool thread.
using AskReader = std::function<Outcome<const Ask*>()>;
using Opened = Outcome<std::unique_ptr<Generation>>;

// Reading and opening on the work pool. A client that leaves meanwhile is kCancelled.
boost::asio::awaitable<Opened> open_generation(const Shared& shared, Exchange& exchange, AskReader read);
// Why work was not done: kCancelled when the client left, else kOverloaded or kUnavailable.
Refusal refusal_of(WorkEnd end);

}  // namespace umbel::serve
