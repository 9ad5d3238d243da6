#include "serve/origin_policy.h"

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <charconv>

namespace umbel::serve {
namespace {

constexpr std::string_view kUsualHeaders = "content-type, authorization, x-request-id";
constexpr size_t kAskedHeadersMax = 64;
constexpr size_t kAskedBytesMax = 2048;

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return result;
}

std::optional<boost::asio::ip::address> address_of(std::string_view host) {
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(std::string(host), error);
  return error ? std::nullopt : std::optional(address);
}

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

// The header names that the page wants to send, when there are a bounded number of them and each is a name; else the
// usual ones.
std::string allowed_headers(std::string_view asked) {
  if (asked.empty() || asked.size() > kAskedBytesMax) return std::string(kUsualHeaders);
  std::string list;
  size_t count = 0;
  for (size_t begin = 0; begin <= asked.size();) {
    const size_t comma = std::min(asked.find(',', begin), asked.size());
    const std::string_view name = trim(asked.substr(begin, comma - begin));
    begin = comma + 1;
    if (name.empty()) continue;
    if (!is_token(name) || ++count > kAskedHeadersMax) return std::string(kUsualHeaders);
    list += (list.empty() ? "" : ", ") + lower(name);
  }
  return list.empty() ? std::string(kUsualHeaders) : list;
}

}  // namespace

std::optional<HostPort> parse_host(std::string_view text) {
  HostPort result;
  std::string_view host = text, port;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    host = text.substr(1, end - 1);
    const std::string_view rest = text.substr(end + 1);
    if (!rest.empty() && rest[0] != ':') return std::nullopt;
    port = rest.empty() ? rest : rest.substr(1);
    const auto address = address_of(host);
    if (!address || !address->is_v6()) return std::nullopt;
  } else if (const size_t colon = text.find(':'); colon != std::string_view::npos) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
  }
  result.host = lower(host);
  if (!text.starts_with('[') && !std::all_of(result.host.begin(), result.host.end(), is_name_character)) {
    return std::nullopt;
  }
  if (result.host.ends_with('.')) result.host.pop_back();
  if (result.host.empty()) return std::nullopt;
  if (!port.empty()) {
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), result.port);
    if (error != std::errc() || end != port.data() + port.size()) return std::nullopt;
  }
  return result;
}

std::optional<WebOrigin> parse_origin(std::string_view text) {
  const size_t mark = text.find("://");
  if (mark == std::string_view::npos) return std::nullopt;
  WebOrigin origin{.scheme = lower(text.substr(0, mark)), .at = {}};
  if (origin.scheme != "http" && origin.scheme != "https") return std::nullopt;
  const auto at = parse_host(text.substr(mark + 3));
  if (!at) return std::nullopt;
  origin.at = *at;
  if (origin.at.port == 0) origin.at.port = origin.scheme == "https" ? 443 : 80;
  return origin;
}

bool is_loopback_name(std::string_view host) {
  if (host == "localhost" || host.ends_with(".localhost")) return true;
  const auto address = address_of(host);
  return address && address->is_loopback();
}

bool is_public_name(std::string_view host) {
  return !is_loopback_name(host) && !address_of(host) && host.find('.') != std::string_view::npos;
}

bool same_origin(const WebOrigin& origin, std::string_view host_header) {
  auto host = parse_host(host_header);
  if (!host) return false;
  if (host->port == 0) host->port = origin.scheme == "https" ? 443 : 80;
  return *host == origin.at;
}

Result<OriginPolicy> OriginPolicy::create(const std::vector<std::string>& allowed) {
  OriginPolicy policy;
  if (allowed.empty()) return policy;
  policy.rule_ = Rule::kListed;
  for (const std::string& text : allowed) {
    if (text == "*") {
      policy.rule_ = Rule::kAny;
      continue;
    }
    const auto origin = parse_origin(text);
    if (!origin) {
      return invalid_argument("--cors " + text.substr(0, 200) +
                              ": give an origin as browsers send it, e.g. https://app.example.org or "
                              "http://localhost:3000, or *");
    }
    policy.listed_.push_back(*origin);
  }
  return policy;
}

bool OriginPolicy::names(const WebOrigin& origin) const {
  return std::find(listed_.begin(), listed_.end(), origin) != listed_.end();
}

std::string OriginPolicy::allow(std::string_view text) const {
  if (rule_ == Rule::kAny) return "*";
  const auto origin = parse_origin(text);
  if (!origin) return {};
  const bool allowed = rule_ == Rule::kListed ? names(*origin) : is_loopback_name(origin->at.host);
  return allowed ? std::string(text) : std::string();
}

HttpHeaders OriginPolicy::answer_headers(const HttpRequest& request) const {
  HttpHeaders headers;
  if (std::string allowed = allow(request.header("origin")); !allowed.empty()) {
    headers.emplace_back("access-control-allow-origin", std::move(allowed));
    headers.emplace_back("access-control-expose-headers", "x-request-id, retry-after");
  }
  if (rule_ != Rule::kAny) headers.emplace_back("vary", "Origin");
  return headers;
}

HttpReply OriginPolicy::preflight(const HttpRequest& request, const std::string& methods) const {
  HttpReply reply{.status = 204};
  if (allow(request.header("origin")).empty()) return reply;
  reply.headers = {{"access-control-allow-methods", methods},
                   {"access-control-allow-headers", allowed_headers(request.header("access-control-request-headers"))},
                   {"access-control-max-age", "600"}};
  return reply;
}

}  // namespace umbel::serve
