#include "serve/front_gate.h"

#include <algorithm>

#include "base/log.h"
#include "base/memory_reserve.h"
#include "base/printable.h"
#include "base/utc.h"
#include "serve/keys/access.h"

namespace umbel::serve {
namespace {

// A client's words in a message.
std::string shown(std::string_view text) { return "`" + printable(text, kPrintableNameMax) + "`"; }

// "application/json", with or without parameters.
bool is_json(std::string_view content_type) {
  constexpr std::string_view kJson = "application/json";
  const std::string_view type = content_type.substr(0, content_type.find_first_of("; \t"));
  return std::equal(type.begin(), type.end(), kJson.begin(), kJson.end(),
                    [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; });
}

}  // namespace

// A server without a key is everybody's who reaches it, so a page in a browser of this machine must not reach it under
// a name of its own (DNS rebinding).
std::optional<Failure> FrontGate::host_fault(const RequestHead& head) const {
  const std::string_view given = head.request.header("host");
  if (given.empty()) return std::nullopt;  // HTTP/1.0, or a target without authority: no browser's request
  const auto host = parse_host(given);
  if (!host) return Failure{.http = 400, .message = "the Host header " + shown(given) + " is no host name"};
  if (parts_.keys.guards() || head.peer.reach != Peer::Reach::kLoopback || !is_public_name(host->host)) {
    return std::nullopt;
  }
  const auto& allowed = parts_.options.allowed_hosts;
  const bool listed = host->host == parts_.options.host ||
                      std::find(allowed.begin(), allowed.end(), host->host) != allowed.end();
  if (listed) return std::nullopt;
  return Failure{.http = 403,
                 .message = "this server has no key and does not answer to the name " + shown(host->host) +
                            "; start it with --allow-host NAME, or with a key",
                 .code = "host_not_allowed"};
}

// Only for routes that change something: what a page of another site can send must not do it.
std::optional<Failure> FrontGate::page_fault(const RequestHead& head) const {
  const HttpRequest& request = head.request;
  const std::string_view type = request.header("content-type"), origin = request.header("origin");
  const bool from_page = !origin.empty() || !request.header("sec-fetch-site").empty();
  if (type.empty() ? from_page : !is_json(type)) {
    return Failure{.http = 415, .message = "this route wants the header \"Content-Type: application/json\""};
  }
  if (parts_.keys.guards()) return std::nullopt;
  if (head.peer.reach != Peer::Reach::kLoopback) {
    return Failure{.http = 403,
                   .message = "without a key this route answers to this machine only; start the server with --api-key",
                   .code = "loopback_only"};
  }
  if (origin.empty()) return std::nullopt;
  const auto page = parse_origin(origin);
  if (page && (same_origin(*page, request.header("host")) || parts_.origins.names(*page))) return std::nullopt;
  return Failure{.http = 403,
                 .message = "pages of " + shown(origin) + " may not use this route; start the server with a key, or name "
                            "the origin with --cors",
                 .code = "origin_not_allowed"};
}

std::optional<Failure> FrontGate::route_fault(const RequestHead& head, const Route& route) const {
  if (head.place == PlaceKind::kSpare && route.load != Route::Load::kAlwaysAndWhenFull) {
    return Failure{.http = 503, .message = "too many connections", .code = "overloaded", .retry_after_seconds = 1};
  }
  if (route.load != Route::Load::kAlwaysAndWhenFull && memory_is_short()) {
    return Failure{.http = 503,
                   .message = "the server is out of memory for more requests; try again",
                   .code = "out_of_memory",
                   .retry_after_seconds = 1};
  }
  if (route.load == Route::Load::kNotWhileDraining && parts_.draining.load()) {
    return Failure{
        .http = 503, .message = "the server is shutting down", .code = "shutting_down", .retry_after_seconds = 5};
  }
  return route.effect == Route::Effect::kChanges ? page_fault(head) : std::nullopt;
}

HttpReply FrontGate::no_route(const RequestHead& head, const Router::Match& match) const {
  const bool known = !match.allowed.empty();
  const std::string path = shown(head.request.path);
  Failure failure{.http = known ? 405 : 404,
                  .message = known ? path + " is there for " + match.allowed + " only" : "there is no route " + path};
  if (match.escapes == Router::Match::Escapes::kInvalid) {
    failure = {.http = 400, .message = "the path " + path + " has a % that is not followed by two hexadecimal digits"};
  }
  HttpReply reply = refuse(head, nullptr, failure);
  if (known) reply.headers.emplace_back("allow", match.allowed);
  return reply;
}

HttpReply FrontGate::refuse(const RequestHead& head, const Route* route, const Failure& failure) const {
  HttpReply reply = error_reply(route == nullptr ? dialect_of(head.request.path) : route->dialect, failure);
  if (route == nullptr) reply.status = failure.http;  // LoRAX's 422 is for fields
  const std::string& name = route == nullptr ? "other" : route->path;
  if (route == nullptr) {
    parts_.metrics.count_reply(name, reply.status);
  } else {
    parts_.metrics.count_refusal(name, reply.status);
  }
  LOG_INFO("{} {} {} refused, from {}: {}", head.request.id, name, reply.status, head.peer.address, failure.message);
  return reply;
}

HttpHeaders FrontGate::answer_headers(const HttpRequest& request, const Caller& caller) const {
  HttpHeaders headers = parts_.origins.answer_headers(request);
  if (caller.identity != nullptr) {
    for (auto& header : caller.identity->tenant->rate_headers(RealClock().now())) headers.push_back(std::move(header));
  }
  return headers;
}

void FrontGate::answered(const AnsweredRequest& done) {
  if (parts_.audit == nullptr) return;
  const Router::Match match = parts_.router.find(done.request.method, done.request.path);
  if (match.route != nullptr && match.route->access == Route::Access::kOpen) return;  // health: nobody's question
  parts_.audit->append({.at_ms = utc_now_ms(),
                        .request_id = done.request.id,
                        .key = done.caller.key,
                        .address = done.caller.address,
                        .method = done.request.method,
                        .route = done.request.path,
                        .adapter = done.account.adapter,
                        .version = done.account.version,
                        .digest = done.account.digest,
                        .status = done.status,
                        .prompt_tokens = done.account.prompt_tokens,
                        .answer_tokens = done.account.answer_tokens,
                        .duration = done.duration,
                        .prompts = done.account.prompts});
}

std::variant<Admission, HttpReply> FrontGate::pass(const RequestHead& head) {
  const HttpRequest& request = head.request;
  if (const auto failure = host_fault(head)) return refuse(head, nullptr, *failure);
  const Router::Match match = parts_.router.find(request.method, request.path);
  if (request.method == "OPTIONS" && !match.allowed.empty()) return parts_.origins.preflight(request, match.allowed);
  if (match.route == nullptr) return no_route(head, match);
  const Route& route = *match.route;
  if (const auto failure = parts_.keys.identify(head, route, head.caller)) return refuse(head, &route, *failure);
  if (const auto failure = route_fault(head, route)) return refuse(head, &route, *failure);
  const std::optional<size_t> body_limit = body_bytes_limit(head.caller);
  return Admission{.body_bytes_max = std::min(parts_.options.body_bytes_max, body_limit.value_or(SIZE_MAX)),
                   .handler = &route.handler,
                   .route = route.path,
                   .path_parameter = match.parameter};
}

}  // namespace umbel::serve
