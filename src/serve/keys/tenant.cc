#include "serve/keys/tenant.h"

namespace umbel::serve {

void Tenant::set_limits(const KeyLimits& limits, TimePoint now) {
  std::lock_guard lock(mutex_);
  requests_limit_.set_limit(limits.requests_per_minute, now);
  tokens_limit_.set_limit(limits.tokens_per_minute, now);
}

std::optional<RateRefusal> Tenant::admit_request(TimePoint now) {
  std::lock_guard lock(mutex_);
  if (requests_limit_.take(1, now)) {
    ++requests_;
    return std::nullopt;
  }
  ++rate_limited_;
  return RateRefusal{
      .unit = "requests", .per_minute = *requests_limit_.limit(), .wait = requests_limit_.wait(1, now)};
}

std::unique_ptr<TokenHold> Tenant::hold_tokens(int64_t estimate, TimePoint now, RateRefusal& refusal) {
  std::lock_guard lock(mutex_);
  if (const auto taken = tokens_limit_.take(estimate, now))
    return std::make_unique<TokenHold>(shared_from_this(), *taken);
  ++rate_limited_;
  refusal = {.unit = "tokens", .per_minute = *tokens_limit_.limit(), .wait = tokens_limit_.wait(estimate, now)};
  return nullptr;
}

void Tenant::count_tokens(int64_t prompt, int64_t answer) {
  prompt_tokens_ += prompt;
  answer_tokens_ += answer;
}

std::vector<std::pair<std::string, std::string>> Tenant::rate_headers(TimePoint now) {
  std::lock_guard lock(mutex_);
  std::vector<std::pair<std::string, std::string>> headers;
  const auto add = [&](const char* unit, RateLimit& limit) {
    if (!limit.limit()) return;
    const std::string end = unit;
    headers.emplace_back("x-ratelimit-limit-" + end, std::to_string(*limit.limit()));
    headers.emplace_back("x-ratelimit-remaining-" + end, std::to_string(limit.remaining(now)));
    headers.emplace_back("x-ratelimit-reset-" + end, duration_text(limit.reset(now)));
  };
  add("requests", requests_limit_);
  add("tokens", tokens_limit_);
  return headers;
}

KeyUsage Tenant::usage() const {
  return {.requests = requests_.load(),
          .rate_limited = rate_limited_.load(),
          .prompt_tokens = prompt_tokens_.load(),
          .answer_tokens = answer_tokens_.load()};
}

TokenHold::~TokenHold() { settle(0, RealClock().now()); }

void TokenHold::settle(int64_t tokens, TimePoint now) {
  const std::shared_ptr<Tenant> tenant = std::move(tenant_);
  tenant_ = nullptr;
  if (tenant == nullptr) return;
  std::lock_guard lock(tenant->mutex_);
  tenant->tokens_limit_.settle(taken_, tokens, now);
}

}  // namespace umbel::serve
