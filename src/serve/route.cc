#include "serve/route.h"

namespace umbel::serve {
namespace {

bool matches(const Route& route, std::string_view path) {
  if (!route.path.ends_with('*')) return route.path == path;
  return path.starts_with(std::string_view(route.path).substr(0, route.path.size() - 1));
}

}  // namespace

Router::Match Router::find(std::string_view method, std::string_view path) const {
  if (method == "HEAD") method = "GET";
  Match match;
  for (const Route& route : routes_) {
    if (!matches(route, path)) continue;
    if (route.method == method) {
      match.route = &route;
      return match;
    }
    if (!match.allowed.empty()) match.allowed += ", ";
    match.allowed += route.method;
  }
  return match;
}

Dialect Router::dialect_of(std::string_view path) const {
  for (const Route& route : routes_) {
    if (matches(route, path)) return route.dialect;
  }
  return Dialect::kOpenAi;
}

}  // namespace umbel::serve
