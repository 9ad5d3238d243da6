#include "apps/answer.h"

#include <algorithm>

#include "engine/room.h"
#include "text/end_tokens.h"

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

Result<Asked> ask(Workshop& workshop, std::vector<int32_t> prompt, const std::string& adapter, const SamplingFlags& sampling) {
  constexpr size_t kPromptTail = 8;  // ids, as many as the server gives
  Asked asked{.prompt_tail = {prompt.end() - static_cast<std::ptrdiff_t>(std::min(prompt.size(), kPromptTail)), prompt.end()}};
  ASSIGN_OR_RETURN(asked.tokenizer, tokenizer_of(workshop, adapter));
  Request request;
  ASSIGN_OR_RETURN(request.adapter, find_adapter(workshop, adapter));
  // What does not fit at all is the engine's to refuse.
  const int64_t room = request_tokens_max(workshop.engine->limits()) - static_cast<int64_t>(prompt.size());
  request.max_tokens = room > 0 ? static_cast<int32_t>(std::min<int64_t>(sampling.max_tokens, room)) : sampling.max_tokens;
  request.prompt = std::move(prompt);
  request.sampling = sampling.params(workshop.base.generation);
  request.ignore_eos = sampling.ignore_eos;
  request.eos_ids = workshop.base.generation.eos_ids;
  if (request.adapter != nullptr) {
    const AdapterInfo info = workshop.library->info(request.adapter);
    ASSIGN_OR_RETURN(const FolderReader folder, FolderReader::open(info.place));
    ASSIGN_OR_RETURN(request.eos_ids, with_end_tokens_of(folder, *asked.tokenizer, std::move(request.eos_ids)));
  }
  ASSIGN_OR_RETURN(asked.stream, workshop.engine->submit(std::move(request)));
  return asked;
}

Result<AnswerResult> read_answer(const Asked& asked, const std::vector<std::string>& stop,
                                 const std::function<void(const std::string&)>& show) {
  AnswerResult answer;
  Stream& stream = *asked.stream;
  Detokenizer detokenizer(asked.tokenizer, /*skip_special=*/true, asked.prompt_tail);
  StopMatcher matcher(std::make_shared<const StopList>(stop), StopText::kCut);
  const Tokenizer& tokenizer = *asked.tokenizer;
  const bool at_special = std::any_of(stop.begin(), stop.end(), [&](const std::string& text) { return holds_special_token(tokenizer, text); });
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
      if (at_special && tokenizer.is_special(*event->token)) put(matcher.push_hidden(tokenizer.token(*event->token).value_or("")));
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
