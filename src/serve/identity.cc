#include "serve/identity.h"

#include "io/sha256.h"

namespace umbel::serve {

HttpHeaders identity_headers(const ServedModel& base, const Identity& identity) {
  HttpHeaders headers = {{"x-compute-type", "cpu"}, {"x-model-id", base.name}};
  if (identity.adapter.empty()) return headers;
  headers.emplace_back("x-adapter-id", identity.adapter);
  headers.emplace_back("x-adapter-source", "local");
  headers.emplace_back("x-adapter-version", std::to_string(identity.version));
  headers.emplace_back("x-adapter-digest", identity.digest);
  return headers;
}

std::string system_fingerprint(const ServedModel& base, const Identity& identity) {
  Sha256 digest;
  for (const std::string& part : {base.version, base.digest, base.dtype, base.arithmetic, identity.digest}) digest.add_text(part);
  return "fp_" + digest.hex().substr(0, 16);
}

}  // namespace umbel::serve
