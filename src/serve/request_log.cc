#include "serve/request_log.h"

#include <algorithm>
#include <cmath>

#include "base/log.h"

namespace umbel::serve {
namespace {

// Refusals quote strangers' words: one line, no control characters, not endless.
std::string one_line(std::string text) {
  constexpr size_t kLengthMax = 300;
  if (text.size() > kLengthMax) text = text.substr(0, kLengthMax) + "...";
  for (char& c : text) c = static_cast<unsigned char>(c) < ' ' || c == 0x7f ? ' ' : c;
  return text;
}

}  // namespace

void record_request(const Shared& shared, const Exchange& exchange, const Generation& generation, int status) {
  const std::string adapter = generation.adapter().empty() ? "base" : generation.adapter();
  const RequestRecord record{.route = exchange.request().path,
                             .adapter = adapter,
                             .status = status,
                             .prompt_tokens = generation.prompt_tokens(),
                             .answer_tokens = generation.answer_tokens(),
                             .total = generation.elapsed()};
  shared.metrics.count_request(record);
  const double first_ms =
      generation.first_token_after() ? 1e3 * to_seconds(*generation.first_token_after()) : std::nan("");
  LOG_INFO("{} {} {} adapter={} prompt={} answer={} first={:.1f}ms total={:.1f}ms", exchange.request().id, record.route,
           status, adapter, record.prompt_tokens, record.answer_tokens, first_ms, 1e3 * to_seconds(record.total));
}

void record_refusal(const Shared& shared, const Exchange& exchange, const Failure& failure) {
  shared.metrics.count_refusal(exchange.request().path, failure.http);
  LOG_INFO("{} {} {} refused: {}", exchange.request().id, exchange.request().path, failure.http,
           one_line(failure.message));
}

void record_unknown_fields(const Exchange& exchange, const std::vector<std::string>& names) {
  if (names.empty()) return;
  std::string list = names[0];
  for (size_t i = 1; i < names.size(); ++i) list += ", " + names[i];
  LOG_INFO("{} {} ignored unknown fields: {}", exchange.request().id, exchange.request().path, list);
}

}  // namespace umbel::serve
