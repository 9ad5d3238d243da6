#include "apps/scored.h"

#include <utility>

namespace umbel::apps {

Result<AskedScore> ask_score(Workshop& shop, std::vector<TokenId> ids, size_t scored_from, const AdapterRef& adapter) {
  if (scored_from == 0) return invalid_argument("the prompt has no token, and this tokenizer adds no BOS: nothing to condition on");
  AskedScore asked{.stream = nullptr, .ids = {ids.begin() + static_cast<std::ptrdiff_t>(scored_from), ids.end()}};
  Request request;
  request.prompt = std::move(ids);
  request.adapter = adapter;
  request.max_tokens = 0;
  request.prompt_logprobs = 0;
  ASSIGN_OR_RETURN(asked.stream, shop.engine->submit(std::move(request)));
  return asked;
}

Result<std::vector<TokenLogprobs>> read_score(const AskedScore& asked) {
  std::vector<TokenLogprobs> scored;
  while (std::optional<TokenEvent> event = asked.stream->next()) {
    if (event->finish == FinishReason::kError) return event->status;
    // All come with the first event, from the second token of the whole on.
    const size_t count = event->prompt_logprobs.size();
    for (size_t i = count - std::min(count, asked.ids.size()); i < count; ++i) scored.push_back(std::move(event->prompt_logprobs[i]));
  }
  if (scored.size() != asked.ids.size()) return internal_error("a text is scored token by token");
  return scored;
}

void add_end_token(const Workshop& shop, std::vector<TokenId>& ids) {
  if (!shop.base.generation.eos_ids.empty()) ids.push_back(shop.base.generation.eos_ids.front());
}

}  // namespace umbel::apps
