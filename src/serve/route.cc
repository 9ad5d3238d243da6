#include "serve/route.h"

#include <optional>

namespace umbel::serve {
namespace {

// Whether the path is the route's, part by part; what stands for its '*' goes to rest, as it was sent.
bool matches(const Route& route, std::string_view path, std::string_view& rest) {
  std::string_view wanted = route.path;
  for (;;) {
    if (wanted == "*") {
      rest = path;
      return !path.empty();
    }
    const size_t wanted_end = wanted.find('/'), end = path.find('/');
    if (wanted.substr(0, wanted_end) == "*") {
      rest = path.substr(0, end);
      if (rest.empty()) return false;
    } else if (percent_decoded(path.substr(0, end)) != wanted.substr(0, wanted_end)) {
      return false;
    }
    if ((wanted_end == std::string_view::npos) != (end == std::string_view::npos)) return false;
    if (end == std::string_view::npos) return true;
    wanted.remove_prefix(wanted_end + 1);
    path.remove_prefix(end + 1);
  }
}

}  // namespace

Router::Match Router::find(std::string_view method, std::string_view path) const {
  if (method == "HEAD") method = "GET";
  Match match;
  if (!percent_decoded(path)) {
    match.escapes = Match::Escapes::kInvalid;
    return match;
  }
  std::string_view rest;
  for (const Route& route : routes_) {
    if (!matches(route, path, rest)) continue;
    if (route.method == method) {
      match.route = &route;
      match.parameter = percent_decoded(rest).value_or("");
      return match;
    }
    if (!match.allowed.empty()) match.allowed += ", ";
    match.allowed += route.method;
  }
  return match;
}

Dialect Router::dialect_of(std::string_view path) const {
  std::string_view rest;
  for (const Route& route : routes_) {
    if (matches(route, path, rest)) return route.dialect;
  }
  return Dialect::kOpenAi;
}

}  // namespace umbel::serve
