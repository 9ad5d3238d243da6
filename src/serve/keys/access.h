// Access: what a caller may do and see. A caller without identity may do nothing; on a server without keys everybody has
// the identity of one who may do everything (KeyRing::everybody).
//
// What a caller may not use is not there for it: lists leave it out, names of it get the answer of names that nobody has.
#pragma once

#include <string_view>

#include "engine/request.h"
#include "serve/gate.h"
#include "serve/keys/key_ring.h"
#include "serve/refusal.h"

namespace umbel::serve {

// An adapter by its name.
bool may_use_adapter(const Caller& caller, std::string_view adapter);
bool may_use_base(const Caller& caller);
bool has_scope(const Caller& caller, Scope scope);

// The key's own limit of a body; nullopt = none.
std::optional<size_t> body_bytes_limit(const Caller& caller);
// For the engine: how much of it the key may have at once, and whose prefix blocks it shares: those of requests of the
// same key with the same asked-for salt.
TenantCaps tenant_caps(const Caller& caller);
std::string prefix_salt(const Caller& caller, const std::string& asked);

// Takes the tokens that a request may need from the key's minute.
struct TokenAdmission {
  std::unique_ptr<TokenHold> hold;     // null when refused
  std::optional<RateRefusal> refusal;
};
TokenAdmission hold_tokens(const Caller& caller, int64_t estimate);
// The request has ended: counts what it used and settles the hold (null = none).
void settle_tokens(const Caller& caller, TokenHold* hold, const RequestAccount& used);

// A limit of the key that said no, as 429.
Refusal rate_refusal(const RateRefusal& refusal);

}  // namespace umbel::serve
