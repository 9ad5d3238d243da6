#include "serve/request_log.h"

#include <cmath>

#include "base/log.h"
#include "base/printable.h"

namespace umbel::serve {
namespace {

constexpr size_t kDigestShown = 12;
constexpr size_t kRefusalLengthMax = 300;  // bytes: refusals quote strangers' words

}  // namespace

void record_request(const Shared& shared, const Exchange& exchange, const Generation& generation, int status) {
  const Identity& identity = generation.identity();
  const std::string adapter = identity.adapter.empty() ? "base" : identity.adapter;
  const int wire = exchange.status() != 0 ? exchange.status() : status;
  const RequestRecord record{.route = exchange.request().path,
                             .adapter = adapter,
                             .status = wire,
                             .failed_after = wire < 400 && status != wire ? status : 0,
                             .prompt_tokens = generation.prompt_tokens(),
                             .answer_tokens = generation.answer_tokens(),
                             .total = generation.elapsed(),
                             .prepared = generation.prepared_after(),
                             .queued = generation.answer(0).times.queued,
                             .first_token = generation.first_token_after()};
  shared.metrics.count_request(record);
  const double first_ms =
      generation.first_token_after() ? 1e3 * to_seconds(*generation.first_token_after()) : std::nan("");
  const std::string shown =
      identity.adapter.empty()
          ? adapter
          : fmt::format("{}@{}:{}", adapter, identity.version, identity.digest.substr(0, kDigestShown));
  LOG_INFO("{} {} {}{} adapter={} prompt={} answer={} first={:.1f}ms total={:.1f}ms", exchange.request().id, record.route, wire,
           record.failed_after != 0 ? fmt::format(" then failed with {}", record.failed_after) : "", shown, record.prompt_tokens,
           record.answer_tokens, first_ms, 1e3 * to_seconds(record.total));
}

void record_reply(const Shared& shared, const Exchange& exchange, const char* route, int status) {
  shared.metrics.count_reply(route, status);
  LOG_INFO("{} {} {}", exchange.request().id, route, status);
}

void record_refusal(const Shared& shared, const Exchange& exchange, Dialect dialect, const Failure& failure) {
  const int status = exchange.gone() ? 499 : error_status(dialect, failure);
  shared.metrics.count_refusal(exchange.request().path, status);
  LOG_INFO("{} {} {} refused: {}", exchange.request().id, exchange.request().path, status,
           printable(failure.message, kRefusalLengthMax));
}

void record_unknown_fields(const Exchange& exchange, const std::vector<std::string>& names) {
  if (names.empty()) return;
  std::string list = names[0];
  for (size_t i = 1; i < names.size(); ++i) list += ", " + names[i];
  LOG_INFO("{} {} ignored unknown fields: {}", exchange.request().id, exchange.request().path, list);
}

}  // namespace umbel::serve
