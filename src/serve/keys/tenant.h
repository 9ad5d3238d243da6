// Tenant: what the server remembers about one key's name while it runs: its rate limits and what it has used.
//
// Any thread. It lives as long as the key stands in the file, or a request of it runs. Counters begin at zero when the
// server does: Prometheus and the audit log keep what must outlive it.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "serve/keys/key_spec.h"
#include "serve/keys/rate_limit.h"

namespace umbel::serve {

struct KeyUsage {
  int64_t requests = 0;      // admitted at the door
  int64_t rate_limited = 0;  // refused by a limit a minute
  int64_t prompt_tokens = 0;
  int64_t answer_tokens = 0;
};

// A limit that said no.
struct RateRefusal {
  const char* unit = "";  // "requests", "tokens"
  int64_t per_minute = 0;
  Duration wait{};
};

class TokenHold;

class Tenant : public std::enable_shared_from_this<Tenant> {
 public:
  // number: distinct among all tenants; 0 = everybody on a server without keys.
  Tenant(std::string name, uint32_t number) : name_(std::move(name)), number_(number) {}

  const std::string& name() const { return name_; }
  uint32_t number() const { return number_; }

  void set_limits(const KeyLimits& limits, TimePoint now);
  // Counts one request, or says why not now.
  std::optional<RateRefusal> admit_request(TimePoint now);
  // Takes an estimate of prompt and answer; the hold settles it. Null with refusal filled in: not now.
  std::unique_ptr<TokenHold> hold_tokens(int64_t estimate, TimePoint now, RateRefusal& refusal);
  void count_tokens(int64_t prompt, int64_t answer);

  // OpenAI's x-ratelimit-* headers, names in lower case; only those of limits that there are.
  std::vector<std::pair<std::string, std::string>> rate_headers(TimePoint now);
  KeyUsage usage() const;

 private:
  friend class TokenHold;

  const std::string name_;
  const uint32_t number_;
  std::mutex mutex_;  // of the two limits
  RateLimit requests_limit_;
  RateLimit tokens_limit_;
  std::atomic<int64_t> requests_{0}, rate_limited_{0}, prompt_tokens_{0}, answer_tokens_{0};
};

// Tokens taken for one request that runs. Destroyed without settle(), it gives all of them back.
class TokenHold {
 public:
  TokenHold(std::shared_ptr<Tenant> tenant, RateLimit::Taken taken) : tenant_(std::move(tenant)), taken_(taken) {}
  ~TokenHold();
  TokenHold(const TokenHold&) = delete;
  TokenHold& operator=(const TokenHold&) = delete;
  // Once: so many were used.
  void settle(int64_t tokens, TimePoint now);

 private:
  std::shared_ptr<Tenant> tenant_;  // null once settled
  const RateLimit::Taken taken_;
};

}  // namespace umbel::serve
