// KeyCheck: who a request comes from, by its key; asked by the gate when the header is complete.
#pragma once

#include <optional>
#include <string>

#include "serve/gate.h"
#include "serve/keys/key_ring.h"
#include "serve/route.h"

namespace umbel::serve {

// Any thread, many at once; does not block.
class KeyCheck {
 public:
  // ring outlives it.
  explicit KeyCheck(const KeyRing& ring) : ring_(ring) {}

  // Fills in the caller as far as its key is known, and says why it may not: 401 without a key that counts (the same
  // answer whatever was sent), 403 without the route's scope, 429 past the key's requests a minute.
  std::optional<Failure> identify(const RequestHead& head, const Route& route, Caller& caller) const;
  // False = everybody may ask: the rules for servers without keys apply (loopback names, admin routes from loopback).
  bool guards() const { return !ring_.is_open(); }

 private:
  const KeyRing& ring_;
};

// The credentials of "Authorization: Bearer CREDENTIALS" (RFC 9110 11.1: the scheme in any case), or "". Several such
// headers count as none.
std::string_view bearer_token(const HttpRequest& request);

}  // namespace umbel::serve
