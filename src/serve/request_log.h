// The end of every request: one log line and its metrics.
#pragma once

#include "serve/failure.h"
#include "serve/generation.h"

namespace umbel::serve {

// status: how it ended, 499 when the client went away. What is counted and logged as the status is the one that went over the wire; a
// stream that failed behind its 200 is said beside it.
void record_request(const Shared& shared, const Exchange& exchange, const Generation& generation, int status);
// A request that generates nothing. route: the route's own path, never the stranger's.
void record_reply(const Shared& shared, const Exchange& exchange, const char* route, int status);
// Counted and logged with the status that this dialect sends.
void record_refusal(const Shared& shared, const Exchange& exchange, Dialect dialect, const Failure& failure);
void record_unknown_fields(const Exchange& exchange, const std::vector<std::string>& names);

}  // namespace umbel::serve
