// Identity: what answered a request: the base, the adapter, its version and digest; in headers, in the log, and as OpenAI's
// system_fingerprint.
#pragma once

#include <cstdint>
#include <string>

#include "serve/http_message.h"
#include "serve/parts.h"

namespace umbel::serve {

struct Identity {
  std::string model;    // as answers name it
  std::string adapter;  // "" = base
  int64_t version = 0;  // of the adapter
  std::string digest;   // SHA-256 of the adapter's files; "" = base
};

// x-model-id, and with an adapter x-adapter-id, -source, -version, -digest.
HttpHeaders identity_headers(const ServedModel& base, const Identity& identity);
// "fp_" and 16 hexadecimal digits: equal for equal program versions, bases, arithmetics and adapters' contents. Equal
// fingerprints, prompts and seeds give equal answers.
std::string system_fingerprint(const ServedModel& base, const Identity& identity);

}  // namespace umbel::serve
