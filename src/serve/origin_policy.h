// OriginPolicy and host names: which web pages may read this server's answers (CORS), and under which names a server
// without a key is asked (a page may point a name of its own at 127.0.0.1: DNS rebinding). Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "serve/http_message.h"

namespace umbel::serve {

// "example.org:8080", "[::1]": lower case; the port 0 where none stands there. nullopt: no such thing.
struct HostPort {
  std::string host;  // an IPv6 address without its brackets
  uint16_t port = 0;
  bool operator==(const HostPort&) const = default;
};
std::optional<HostPort> parse_host(std::string_view text);

// "https://example.org:8443" as browsers send it in Origin; the port is 80 or 443 where none stands there.
struct WebOrigin {
  std::string scheme;  // "http" or "https"
  HostPort at;
  bool operator==(const WebOrigin&) const = default;
};
std::optional<WebOrigin> parse_origin(std::string_view text);

bool is_loopback_name(std::string_view host);  // localhost, *.localhost, 127.0.0.0/8, ::1
// A name that a stranger's DNS can point anywhere: neither an address nor a loopback name, and with a dot in it.
bool is_public_name(std::string_view host);

class OriginPolicy {
 public:
  OriginPolicy() = default;  // pages of this machine: loopback names, any scheme and port
  // allowed: origins as browsers send them, or "*"; instead of the default.
  static Result<OriginPolicy> create(const std::vector<std::string>& allowed);

  // The value of Access-Control-Allow-Origin for this Origin header, or "".
  std::string allow(std::string_view origin) const;
  // Listed by its own name, which "*" and the default are not.
  bool names(const WebOrigin& origin) const;
  // CORS headers of an answer to this request.
  HttpHeaders answer_headers(const HttpRequest& request) const;
  // The answer to a preflight. methods: "GET, POST".
  HttpReply preflight(const HttpRequest& request, const std::string& methods) const;

 private:
  enum class Rule : uint8_t { kLoopback, kListed, kAny };
  Rule rule_ = Rule::kLoopback;
  std::vector<WebOrigin> listed_;
};

// Whether a page of this origin was served by this server itself, by what the browser says (Origin and Host).
bool same_origin(const WebOrigin& origin, std::string_view host_header);

}  // namespace umbel::serve
