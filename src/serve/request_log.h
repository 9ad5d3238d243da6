// The end of every request: one log line and its metrics.
#pragma once

#include "serve/generation.h"

namespace umbel::serve {

// status: the HTTP status that the client got; 499 when it went away.
void record_request(const Shared& shared, const Exchange& exchange, const Generation& generation, int status);
void record_refusal(const Shared& shared, const Exchange& exchange, const Failure& failure);
void record_unknown_fields(const Exchange& exchange, const std::vector<std::string>& names);

}  // namespace umbel::serve
