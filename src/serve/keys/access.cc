#include "serve/keys/access.h"

#include <algorithm>

namespace umbel::serve {

bool may_use_adapter(const Caller& caller, std::string_view adapter) {
  return caller.identity != nullptr && caller.identity->spec.may_use(adapter);
}

bool may_use_base(const Caller& caller) { return caller.identity != nullptr && caller.identity->spec.base; }

bool has_scope(const Caller& caller, Scope scope) {
  return caller.identity != nullptr && caller.identity->spec.has(scope);
}

std::optional<size_t> body_bytes_limit(const Caller& caller) {
  if (caller.identity == nullptr || !caller.identity->spec.limits.body_bytes) return std::nullopt;
  return static_cast<size_t>(*caller.identity->spec.limits.body_bytes);
}

TenantCaps tenant_caps(const Caller& caller) {
  if (caller.identity == nullptr) return {};
  const auto capped = [](const std::optional<int64_t>& limit) {
    return static_cast<int32_t>(std::min<int64_t>(limit.value_or(0), INT32_MAX));
  };
  const KeyLimits& limits = caller.identity->spec.limits;
  return {.running_max = capped(limits.running), .queue_max = capped(limits.queued)};
}

std::string prefix_salt(const Caller& caller, const std::string& asked) {
  if (caller.key.empty()) return asked;
  return key_digest(caller.key + "\n" + asked);  // as long as a salt may be
}

TokenAdmission hold_tokens(const Caller& caller, int64_t estimate) {
  TokenAdmission admission;
  if (caller.identity == nullptr) return admission;
  RateRefusal refusal;
  admission.hold = caller.identity->tenant->hold_tokens(estimate, RealClock().now(), refusal);
  if (admission.hold == nullptr) admission.refusal = refusal;
  return admission;
}

void settle_tokens(const Caller& caller, TokenHold* hold, const RequestAccount& used) {
  if (caller.identity == nullptr) return;
  caller.identity->tenant->count_tokens(used.prompt_tokens, used.answer_tokens);
  if (hold != nullptr) hold->settle(used.prompt_tokens + used.answer_tokens, RealClock().now());
}

Refusal rate_refusal(const RateRefusal& refusal) {
  return {.status = Status(Code::kOverloaded, "this key's limit of " + std::to_string(refusal.per_minute) + " " +
                                                  refusal.unit + " a minute is reached; try again in " +
                                                  duration_text(refusal.wait)),
          .retry_after_seconds = to_seconds(refusal.wait),
          .code = "rate_limit_exceeded"};
}

}  // namespace umbel::serve
