#include "serve/session.h"

namespace umbel::serve {

double Answer::logprob_sum() const {
  double sum = 0.0;
  for (const AnswerToken& token : tokens) {
    if (token.logprobs) sum += token.logprobs->logprob;
  }
  return sum;
}

Session::Session(std::shared_ptr<Stream> stream, SessionOptions options, const std::shared_ptr<Bell>& bell)
    : stream_(std::move(stream)),
      options_(std::move(options)),
      detokenizer_(options_.tokenizer, options_.skip_special, options_.prompt_tail),
      matcher_(options_.stops, options_.include_stop ? StopText::kKept : StopText::kCut) {
  stream_->set_bell([weak = std::weak_ptr<Bell>(bell)] {
    if (const auto bell = weak.lock()) bell->ring();
  });
}

Session::~Session() {
  if (!done() || answer_.finish == FinishReason::kStop) stream_->abandon();
}

std::optional<Progress> Session::poll() {
  if (done()) return std::nullopt;
  std::optional<TokenEvent> event = stream_->poll();
  if (!event) return std::nullopt;
  Progress progress;
  progress.finish = event->finish;
  for (TokenLogprobs& entry : event->prompt_logprobs) answer_.prompt_logprobs.push_back(std::move(entry));
  if (event->token) take_token(*event, progress);
  if (progress.finish != FinishReason::kNone) {
    if (answer_.stop_string.empty()) {
      progress.text += admit(detokenizer_.flush());
      if (answer_.stop_string.empty() && options_.stops != nullptr) progress.text += matcher_.flush();
    }
    if (!answer_.stop_string.empty()) progress.finish = FinishReason::kStop;
    answer_.status = std::move(event->status);
    if (progress.finish == FinishReason::kCancelled && answer_.status.ok()) {
      answer_.status = Status(Code::kCancelled, "the request was cancelled: the server is shutting down");
    }
  }
  if (event->finish != FinishReason::kNone) {
    answer_.prompt_tokens = event->prompt_tokens;
    answer_.cached_tokens = event->cached_tokens;
    answer_.times = event->times;
  }
  answer_.finish = progress.finish;
  answer_.text += progress.text;
  for (const AnswerToken& token : progress.tokens) answer_.tokens.push_back(token);
  return progress;
}

void Session::take_token(const TokenEvent& event, Progress& progress) {
  AnswerToken token{.id = *event.token, .text_begin = bytes_in_, .logprobs = event.logprobs};
  const bool ends = event.finish == FinishReason::kEos || event.finish == FinishReason::kStop;
  if (!ends || options_.include_stop) {
    token.text = detokenizer_.push(token.id);
    const bool too_early = static_cast<int32_t>(answer_.tokens.size()) < options_.min_tokens;
    bytes_in_ += token.text.size();
    progress.text = too_early ? token.text : admit(token.text);
    if (!too_early && hides(token.id)) {
      progress.text += matcher_.push_hidden(options_.tokenizer->token(token.id).value_or(""));
      if (matcher_.stopped()) answer_.stop_string = matcher_.matched();
    }
  }
  if (!answer_.stop_string.empty() && progress.finish == FinishReason::kNone) {
    progress.finish = FinishReason::kStop;
    stream_->abandon();
  }
  progress.tokens.push_back(std::move(token));
}

bool Session::hides(TokenId id) const {
  return options_.stops_at_special && options_.skip_special && options_.tokenizer->is_special(id);
}

std::string Session::admit(std::string text) {
  if (options_.stops == nullptr) return text;
  std::string shown = matcher_.push(text);
  if (matcher_.stopped()) answer_.stop_string = matcher_.matched();
  return shown;
}

}  // namespace umbel::serve
