#include "serve/failure.h"

#include <algorithm>
#include <cmath>

#include "base/printable.h"

namespace umbel::serve {
namespace {

constexpr size_t kMessageBytesMax = 2000;  // messages quote what clients and templates say

const char* openai_type(int http) {
  if (http == 401) return "authentication_error";
  if (http == 403) return "permission_error";
  if (http == 404) return "not_found_error";
  if (http == 409) return "conflict_error";
  if (http == 429) return "rate_limit_error";
  if (http == 503) return "service_unavailable_error";
  if (http == 504) return "timeout_error";
  return http >= 500 ? "server_error" : "invalid_request_error";
}

// LoRAX's words; its clients turn validation, generation and overloaded into exceptions of their own and judge the rest
// by the HTTP status.
const char* lorax_type(int http) {
  if (http == 401) return "unauthorized";
  if (http == 403) return "forbidden";
  if (http == 404) return "not_found";
  if (http == 424) return "generation";
  if (http == 429) return "overloaded";
  if (http == 503) return "unavailable";
  if (http == 504) return "timeout";
  return http >= 500 ? "incomplete_generation" : "validation";
}

}  // namespace

Failure failure_of(const Status& status, const std::string& param) {
  Failure failure{.http = http_status(status.code()),
                  .message = printable(status.message(), kMessageBytesMax, LineBreaks::kKept),
                  .param = printable(param, kPrintableNameMax)};
  switch (status.code()) {
    case Code::kTooLong:
      if (!failure.param.empty()) failure.code = "context_length_exceeded";  // else the body itself is too much
      break;
    case Code::kOverloaded:
      failure.code = "overloaded";
      break;
    case Code::kUnsupported:
      failure.code = "unsupported";
      break;
    case Code::kCancelled:  // the client is still there, so it was the server that gave up
      failure.http = 503;
      failure.code = "shutting_down";
      if (failure.message.empty()) failure.message = "the server is shutting down";
      break;
    default:
      break;
  }
  return failure;
}

Failure failure_of(const Refusal& refusal) {
  Failure failure = failure_of(refusal.status, refusal.field);
  failure.retry_after_seconds = refusal.retry_after_seconds;
  if (!refusal.code.empty()) failure.code = refusal.code;
  if (failure.http == 404 && refusal.field == kModelField) failure.code = "model_not_found";
  return failure;
}

int error_status(Dialect dialect, const Failure& failure) {
  return dialect == Dialect::kLorax && failure.http == 400 ? 422 : failure.http;
}

Json error_body(Dialect dialect, const Failure& failure) {
  if (dialect == Dialect::kLorax) {
    return {{"error", failure.message}, {"error_type", lorax_type(error_status(dialect, failure))}};
  }
  Json error = {
      {"message", failure.message}, {"type", openai_type(failure.http)}, {"param", nullptr}, {"code", nullptr}};
  if (!failure.param.empty()) error["param"] = failure.param;
  if (!failure.code.empty()) error["code"] = failure.code;
  return {{"error", error}};
}

HttpReply error_reply(Dialect dialect, const Failure& failure) {
  HttpReply reply = json_reply(error_status(dialect, failure), error_body(dialect, failure));
  if (failure.retry_after_seconds) {
    const double seconds = std::clamp(std::ceil(*failure.retry_after_seconds), 1.0, 3600.0);
    reply.headers.emplace_back("retry-after", std::to_string(static_cast<int>(seconds)));
  }
  if (failure.http == 401) reply.headers.emplace_back("www-authenticate", "Bearer");
  return reply;
}

}  // namespace umbel::serve
