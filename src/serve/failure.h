// Failure: why a request is refused, and its JSON in each dialect.
#pragma once

#include <optional>
#include <string>

#include "base/status.h"
#include "serve/http_message.h"
#include "serve/refusal.h"

namespace umbel::serve {

enum class Dialect : uint8_t { kOpenAi, kLorax };

struct Failure {
  int http = 500;
  std::string message;
  std::string param;  // the request's field, or ""
  std::string code;   // OpenAI's machine-readable word, or ""
  std::optional<double> retry_after_seconds;
};

// The status table's HTTP code (base/status.h), with the words that clients look for.
// Bounded and printable, whatever the message and the field quote.
Failure failure_of(const Status& status, const std::string& param = {});
Failure failure_of(const Refusal& refusal);

// OpenAI: {"error": {message, type, param, code}}. LoRAX: {"error": message, "error_type": word}.
Json error_body(Dialect dialect, const Failure& failure);
// LoRAX answers 422 where OpenAI answers 400 for a bad field.
int error_status(Dialect dialect, const Failure& failure);
HttpReply error_reply(Dialect dialect, const Failure& failure);

}  // namespace umbel::serve
