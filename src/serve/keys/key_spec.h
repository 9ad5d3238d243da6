// KeySpec: what one API key is and may do, as a plain value; and how a key becomes its digest.
//
// A key made here is 256 random bits, so a plain SHA-256 of it can't be turned back or searched for: a slow password
// hash would only slow down every request. The file holds digests, never keys.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace umbel::serve {

enum class Scope : uint8_t { kGenerate, kAdmin, kMetrics, kJobs };
inline constexpr Scope kScopes[] = {Scope::kGenerate, Scope::kAdmin, Scope::kMetrics, Scope::kJobs};
const char* scope_name(Scope scope);
std::optional<Scope> scope_of(std::string_view name);

// nullopt = no limit of this key's own. Every number >= 1.
struct KeyLimits {
  std::optional<int64_t> requests_per_minute;
  std::optional<int64_t> tokens_per_minute;  // of prompts and answers
  std::optional<int64_t> running;            // sequences in the batch
  std::optional<int64_t> queued;             // sequences that wait
  std::optional<int64_t> body_bytes;         // of one request

  bool operator==(const KeyLimits&) const = default;
};

struct KeySpec {
  std::string name;                           // 1 to 64 of A-Z a-z 0-9 . _ -
  std::string sha256;                         // 64 lower-case hexadecimal digits
  std::vector<Scope> scopes;                  // distinct, in the order of kScopes
  std::vector<std::string> adapters = {"*"};  // globs (serve/keys/glob.h); none = no adapter
  bool base = true;                           // may use the base alone
  KeyLimits limits;
  std::optional<int64_t> expires_s;  // seconds since 1970, UTC: from then on the key is refused
  std::optional<int64_t> created_s;

  bool has(Scope scope) const;
  // name: an adapter's.
  bool may_use(std::string_view adapter) const;
  bool operator==(const KeySpec&) const = default;
};

// The name of the command line's key (--api-key); no other key may have it.
inline constexpr const char* kCommandLineKey = "api-key";
// kInvalidArgument says what a name may be.
Status check_key_name(std::string_view name);

// "umbel_" and 64 hexadecimal digits of the system's randomness. kUnavailable when there is none.
Result<std::string> new_key();
// What stands in the file: SHA-256 of the key's bytes, in hexadecimal.
std::string key_digest(std::string_view key);

}  // namespace umbel::serve
