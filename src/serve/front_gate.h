// FrontGate: the server's gate. In this order: host name, preflight, route, place, key, shutdown, whose page asks.
#pragma once

#include <atomic>

#include "serve/gate.h"
#include "serve/key_check.h"
#include "serve/keys/audit_log.h"
#include "serve/metrics.h"
#include "serve/origin_policy.h"
#include "serve/parts.h"
#include "serve/route.h"

namespace umbel::serve {

// What it stands on; all of it outlives the gate.
struct FrontGateParts {
  const ServeOptions& options;
  const Router& router;
  const KeyCheck& keys;
  const OriginPolicy& origins;
  Metrics& metrics;
  AuditLog* audit;  // null = none
  const std::atomic<bool>& draining;
};

class FrontGate final : public Gate {
 public:
  explicit FrontGate(const FrontGateParts& parts) : parts_(parts) {}

  std::variant<Admission, HttpReply> pass(const RequestHead& head) override;
  Dialect dialect_of(std::string_view path) const override { return parts_.router.dialect_of(path); }
  HttpHeaders answer_headers(const HttpRequest& request, const Caller& caller) const override;
  void answered(const AnsweredRequest& request) override;

 private:
  std::optional<Failure> host_fault(const RequestHead& head) const;
  std::optional<Failure> route_fault(const RequestHead& head, const Route& route) const;
  std::optional<Failure> page_fault(const RequestHead& head) const;
  HttpReply no_route(const RequestHead& head, const Router::Match& match) const;
  HttpReply refuse(const RequestHead& head, const Route* route, const Failure& failure) const;

  const FrontGateParts parts_;
};

}  // namespace umbel::serve
