#include "serve/keys/key_spec.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "io/sha256.h"
#include "serve/keys/glob.h"

namespace umbel::serve {
namespace {

constexpr size_t kNameBytesMax = 64;
constexpr std::string_view kKeyPrefix = "umbel_";

}  // namespace

const char* scope_name(Scope scope) {
  switch (scope) {
    case Scope::kGenerate:
      return "generate";
    case Scope::kAdmin:
      return "admin";
    case Scope::kMetrics:
      return "metrics";
    case Scope::kJobs:
      return "jobs";
  }
  return "";
}

std::optional<Scope> scope_of(std::string_view name) {
  for (const Scope scope : kScopes) {
    if (name == scope_name(scope)) return scope;
  }
  return std::nullopt;
}

bool KeySpec::has(Scope scope) const { return std::find(scopes.begin(), scopes.end(), scope) != scopes.end(); }

bool KeySpec::may_use(std::string_view adapter) const {
  return std::any_of(adapters.begin(), adapters.end(),
                     [&](const std::string& pattern) { return glob_match(pattern, adapter); });
}

Status check_key_name(std::string_view name) {
  const auto is_plain = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  };
  if (name == kCommandLineKey) return invalid_argument("`api-key` is the name of the command line's key; take another");
  if (!name.empty() && name.size() <= kNameBytesMax && std::all_of(name.begin(), name.end(), is_plain))
    return ok_status();
  return invalid_argument("a key's name has 1 to 64 of the characters A-Z a-z 0-9 . _ -");
}

Result<std::string> new_key() {
  std::array<unsigned char, 32> bits;  // getrandom gives up to 256 bytes whole
  ssize_t got = 0;
  do {
    got = ::getrandom(bits.data(), bits.size(), 0);
  } while (got < 0 && errno == EINTR);
  if (got != static_cast<ssize_t>(bits.size()))
    return Status(Code::kUnavailable, std::string("no randomness for a key: ") + std::strerror(errno));
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string key(kKeyPrefix);
  for (const unsigned char byte : bits) {
    key += kDigits[byte >> 4];
    key += kDigits[byte & 15];
  }
  return key;
}

std::string key_digest(std::string_view key) {
  Sha256 digest;
  digest.add(key.data(), key.size());
  return digest.hex();
}

}  // namespace umbel::serve
