// Any bytes as the body of a generation request, in both dialects: an Ask within its limits, or a failure that is the
// client's (4xx), in a reply that can be written as JSON.
#include <optional>

#include "fuzz.h"
#include "serve/failure.h"
#include "serve/lorax_request.h"
#include "serve/openai_request.h"

namespace {

using namespace umbel;
using namespace umbel::serve;

void check_failure(const Failure& failure) {
  CHECK(failure.http >= 400 && failure.http < 500, "a body's fault is the client's");
  for (Dialect dialect : {Dialect::kOpenAi, Dialect::kLorax}) (void)error_body(dialect, failure).dump();
}

void check_ask(const Fields& fields, const Ask& ask, const ServeOptions& options) {
  if (!fields.ok()) {
    check_failure(failure_of(fields.status(), fields.param()));
    return;
  }
  CHECK(ask.n >= 1 && ask.best_of >= ask.n && ask.best_of <= options.request.choices_max, "choices within their limit");
  CHECK(ask.stops.size() <= options.request.stops_max, "stop strings within their limit");
  CHECK(ask.prompts.size() <= static_cast<size_t>(options.request.choices_max), "prompts within their limit");
  size_t bytes = 0;
  for (const std::string& stop : ask.stops) bytes += stop.size();
  CHECK(bytes <= options.request.stops_bytes_max, "the bytes of stop strings within their limit");
  for (const std::string& name : fields.unknown()) CHECK(is_utf8(name), "names for the log are text");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = fuzz::text_of(data, size);
  const Result<Json> body = parse_json(text, "request body", JsonKeys::kLastCounts, kRequestJsonLimits);
  if (!body.ok()) {
    check_failure(failure_of(body.status()));
    return 0;
  }
  const ServeParts parts;
  const ServeOptions options;
  if (body->is_object()) {
    Fields completion(*body);
    const Ask completed = parse_completion(completion, parts, options);
    check_ask(completion, completed, options);
    const Result<OrderedJson> ordered = parse_ordered_json(text, "request body", kRequestJsonLimits);
    CHECK(ordered.ok(), "a body that is JSON is ordered JSON");
    Fields chat(*body);
    const Ask chatted = parse_chat(chat, *ordered, parts, options);
    check_ask(chat, chatted, options);
  }
  const Outcome<LoraxAsk> lorax = parse_lorax(*body, LoraxStream::kField, options);
  if (!lorax.ok()) check_failure(failure_of(lorax.refusal()));
  return 0;
}
