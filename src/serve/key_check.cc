#include "serve/key_check.h"

#include <algorithm>
#include <functional>

#include "base/utc.h"
#include "serve/keys/access.h"

namespace umbel::serve {
namespace {

// A longer one is no key of ours, and is not worth hashing.
constexpr size_t kKeyBytesMax = 4096;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

std::optional<Scope> scope_for(Route::Access access) {
  switch (access) {
    case Route::Access::kGenerate:
      return Scope::kGenerate;
    case Route::Access::kAdmin:
      return Scope::kAdmin;
    case Route::Access::kMetrics:
      return Scope::kMetrics;
    case Route::Access::kKey:
    case Route::Access::kOpen:
      return std::nullopt;
  }
  return std::nullopt;
}

Failure key_missing() {
  return {.http = 401,
          .message = "this server needs its API key: send the header \"Authorization: Bearer KEY\"",
          .code = "invalid_api_key"};
}

// Where nobody has a key, each address takes its turn. Of this machine all are one: it may be a proxy's.
uint32_t tenant_of(const Peer& peer) {
  if (peer.reach == Peer::Reach::kLoopback) return 0;
  return static_cast<uint32_t>(std::hash<std::string>{}(peer.site)) | 1U;
}

}  // namespace

std::string_view bearer_token(const HttpRequest& request) {
  constexpr std::string_view kScheme = "bearer ";
  const auto named = [](const auto& header) { return header.first == "authorization"; };
  if (std::count_if(request.headers.begin(), request.headers.end(), named) != 1) return {};
  std::string_view given = request.header("authorization");
  if (given.size() <= kScheme.size()) return {};
  for (size_t i = 0; i < kScheme.size(); ++i) {
    if (lower(given[i]) != kScheme[i]) return {};
  }
  given.remove_prefix(std::min(given.find_first_not_of(' ', kScheme.size()), given.size()));  // 1*SP
  return given;
}

std::optional<Failure> KeyCheck::identify(const RequestHead& head, const Route& route, Caller& caller) const {
  if (ring_.is_open()) {
    caller.identity = ring_.everybody();
    caller.tenant = tenant_of(head.peer);
  }
  if (ring_.is_open() || route.access == Route::Access::kOpen) return std::nullopt;
  const std::string_view token = bearer_token(head.request);
  const KeyRef key = token.empty() || token.size() > kKeyBytesMax ? nullptr : ring_.find(token);
  if (key == nullptr) return key_missing();
  caller.key = key->spec.name;
  caller.tenant = key->tenant->number();
  caller.identity = key;
  if (key->spec.expires_s && utc_now_ms() / 1000 >= *key->spec.expires_s) {
    return Failure{.http = 401, .message = "this key has expired", .code = "invalid_api_key"};
  }
  if (const auto scope = scope_for(route.access); scope && !key->spec.has(*scope)) {
    return Failure{.http = 403,
                   .message = std::string("this key may not do this: it lacks the scope `") + scope_name(*scope) + "`",
                   .code = "insufficient_scope"};
  }
  if (const auto refusal = key->tenant->admit_request(ring_.now())) return failure_of(rate_refusal(*refusal));
  return std::nullopt;
}

}  // namespace umbel::serve
