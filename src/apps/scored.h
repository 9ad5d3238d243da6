// Texts scored on a workshop's engine: how likely each of their last tokens is behind those before it (umbel score, exams of choices).
// One thread per workshop.
#pragma once

#include <memory>
#include <vector>

#include "apps/workshop.h"

namespace umbel::apps {

struct AskedScore {
  std::shared_ptr<Stream> stream;
  std::vector<TokenId> ids;  // those that are scored
};

// Scores ids[scored_from ...]. kInvalidArgument where nothing stands before the first of them; else as Engine::submit().
Result<AskedScore> ask_score(Workshop& shop, std::vector<TokenId> ids, size_t scored_from, const AdapterRef& adapter);
// Waits. One entry for each of `ids`.
Result<std::vector<TokenLogprobs>> read_score(const AskedScore& asked);
// The base's end token behind the ids, where there is one.
void add_end_token(const Workshop& shop, std::vector<TokenId>& ids);

}  // namespace umbel::apps
