#include "apps/answer.h"

namespace umbel::apps {

std::string_view finish_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone: return "none";
    case FinishReason::kLength: return "length";
    case FinishReason::kEos: return "eos";
    case FinishReason::kStop: return "stop";
    case FinishReason::kCancelled: return "cancelled";
    case FinishReason::kError: return "error";
  }
  return "none";
}

Result<Request> make_request(Workshop& workshop, std::vector<int32_t> prompt, const std::string& adapter,
                             const SamplingFlags& sampling) {
  Request request;
  ASSIGN_OR_RETURN(request.adapter, find_adapter(workshop, adapter));
  const int32_t room = workshop.engine->limits().context_max - static_cast<int32_t>(prompt.size());
  request.max_tokens = room > 0 ? std::min(sampling.max_tokens, room) : sampling.max_tokens;
  request.prompt = std::move(prompt);
  request.sampling = sampling.params(workshop.base.generation);
  request.ignore_eos = sampling.ignore_eos;
  request.eos_ids = workshop.base.generation.eos_ids;
  return request;
}

Result<AnswerResult> read_answer(Workshop& workshop, Stream& stream, const std::vector<std::string>& stop,
                                 const std::function<void(const std::string&)>& show) {
  AnswerResult answer;
  Detokenizer detokenizer(workshop.base.tokenizer, /*skip_special=*/true);
  StopMatcher matcher(stop, /*include_stop=*/false);
  const auto put = [&](const std::string& text) {
    answer.text += text;
    if (show && !text.empty()) show(text);
  };
  while (std::optional<TokenEvent> event = stream.next()) {
    if (event->finish == FinishReason::kError) return event->status;
    const bool is_end_token = event->finish == FinishReason::kEos;
    if (event->token && !is_end_token && !matcher.stopped()) {
      answer.token_ids.push_back(*event->token);
      put(matcher.push(detokenizer.push(*event->token)));
      if (matcher.stopped()) {
        stream.abandon();
        answer.finish = FinishReason::kStop;
      }
    }
    if (event->finish != FinishReason::kNone) {
      if (!matcher.stopped()) answer.finish = event->finish;
      answer.prompt_tokens = event->prompt_tokens;
      answer.times = event->times;
    }
  }
  if (!matcher.stopped()) {
    put(matcher.push(detokenizer.flush()));
    put(matcher.flush());
  }
  return answer;
}

}  // namespace umbel::apps
