// Session: one answer being made: token events in, text out that never shows half a code point or part of a stop
// string.
//
// One reader (a connection's thread); not thread-safe. Destroying an unfinished session abandons its stream, so the
// engine cancels the request.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/events.h"
#include "serve/bell.h"
#include "text/detokenizer.h"
#include "text/stop.h"

namespace umbel::serve {

struct SessionOptions {
  std::shared_ptr<const Tokenizer> tokenizer;
  std::vector<TokenId> prompt_tail;  // the last few prompt ids
  std::shared_ptr<const StopList> stops;  // null = none
  // Some stop string has a special token in it: these count as text there, shown or not.
  bool stops_at_special = false;
  // Keep the stop string (LoRAX, vLLM's include_stop_str_in_output), or the stop token's text.
  bool include_stop = false;
  bool skip_special = true;
  int32_t min_tokens = 0;  // stop strings count only in text after so many tokens
};

struct AnswerToken {
  TokenId id = 0;
  std::string text;       // what this token added to the text before stop strings are looked for; often empty or longer
  size_t text_begin = 0;  // bytes of answer text before it
  std::optional<TokenLogprobs> logprobs;
};

// What one event brought.
struct Progress {
  std::string text;                 // may be shown now
  std::vector<AnswerToken> tokens;  // 0 or 1
  FinishReason finish = FinishReason::kNone;
};

struct Answer {
  std::string text;  // all that may be shown so far
  std::vector<AnswerToken> tokens;
  std::vector<TokenLogprobs> prompt_logprobs;
  FinishReason finish = FinishReason::kNone;
  std::string stop_string;  // the stop string that ended it, or ""
  Status status;            // finish == kError or kCancelled: why
  int32_t prompt_tokens = 0;
  int32_t cached_tokens = 0;
  RequestTimes times;
  double logprob_sum() const;  // of tokens that have one
};

class Session {
 public:
  Session(std::shared_ptr<Stream> stream, SessionOptions options, const std::shared_ptr<Bell>& bell);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // The next event, when one has come. After done() there is none.
  std::optional<Progress> poll();
  bool done() const { return answer_.finish != FinishReason::kNone; }
  const Answer& answer() const { return answer_; }
  Answer& answer() { return answer_; }

 private:
  void take_token(const TokenEvent& event, Progress& progress);
  bool hides(TokenId id) const;
  // Text that may be shown now that this piece has come; finds stop strings.
  std::string admit(std::string text);

  std::shared_ptr<Stream> stream_;
  const SessionOptions options_;
  Detokenizer detokenizer_;
  StopMatcher matcher_;
  size_t bytes_in_ = 0;  // text from the detokenizer so far
  Answer answer_;
};

}  // namespace umbel::serve
