// Usage: what keys have used since the server began, for GET /v1/usage and for /metrics.
#pragma once

#include <string>
#include <vector>

#include "serve/http_message.h"
#include "serve/keys/access.h"
#include "serve/keys/audit_log.h"

namespace umbel::serve {

// The keys whose figures the caller may see: all with the scope `admin` or where there are no keys, else its own.
std::vector<KeyRef> usage_shown(const std::vector<KeyRef>& keys, const Caller& caller);

// {"object": "list", "data": [{"key", "requests", "rate_limited", "prompt_tokens", "completion_tokens", "total_tokens",
// "limits"}]}
Json usage_json(const std::vector<KeyRef>& keys);
// The audit log's own counters.
std::string audit_exposition(const AuditLog& audit);
// Prometheus' text form: umbel_key_*_total{key}; "" without keys. After a thousand keys the rest is one
// series.
std::string usage_exposition(const std::vector<KeyRef>& keys);

}  // namespace umbel::serve
