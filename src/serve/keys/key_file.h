// The file of keys (docs/serving.md, "Keys and tenants"): YAML, so JSON too. Written by operators and by `umbel keys`.
//
//   keys:
//     - name: alice
//       sha256: 64 hexadecimal digits
//       scopes: [generate, metrics]        # without: [generate]
//       adapters: ["banking-*", poet]      # without: ["*"]
//       base: true                         # without: true
//       expires: 2027-01-31T00:00:00Z      # without: never
//       limits: {requests_per_minute: 60, tokens_per_minute: 20000, running: 4, queued: 16, body_bytes: 1048576}
//
// Strict: an unknown or doubled field, a name or digest that stands twice, a value out of range is an error that names
// the line and the field. At most kYamlBytesMax bytes and kKeysMax keys. Every reading costs its bytes, no more.
#pragma once

#include <functional>
#include <vector>

#include "io/file.h"
#include "io/yaml.h"
#include "serve/keys/key_spec.h"

namespace umbel::serve {

inline constexpr size_t kKeysMax = 100000;
inline constexpr size_t kKeyPatternsMax = 256;  // of one key

// what names the source in errors.
Result<std::vector<KeySpec>> parse_key_file(std::string_view text, const std::string& what);
Result<std::vector<KeySpec>> read_key_file(const Path& path);

// JSON, one key a line; parse_key_file gives the same keys back. REQUIRES keys that parse_key_file could give.
std::string key_file_text(const std::vector<KeySpec>& keys);

// Reads the file (none yet: no keys), lets change alter the keys, and puts the file in place whole, with the mode and
// group that it had, else for its owner alone. Two at once: one waits, at most ten seconds, for the other. What is not a
// valid file of keys is left as it is. Comments are not kept. For programs of one thread (it sets the umask).
Status edit_key_file(const Path& path, const std::function<Status(std::vector<KeySpec>&)>& change);

}  // namespace umbel::serve
