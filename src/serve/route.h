// Routes: the written list of what this server answers, and the way from a request to its handler.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "serve/http.h"

namespace umbel::serve {

struct Route {
  std::string method;
  std::string path;  // exact; with a trailing '*': everything that begins so
  Dialect dialect = Dialect::kOpenAi;
  enum class Access : uint8_t { kKey, kOpen };
  enum class Load : uint8_t { kAlways, kNotWhileDraining };
  Access access = Access::kKey;
  Load load = Load::kAlways;
  Handler handler;
};

class Router {
 public:
  explicit Router(std::vector<Route> routes) : routes_(std::move(routes)) {}

  struct Match {
    const Route* route = nullptr;
    std::string allowed;  // no route: the methods that this path has, ", " between them; "" = no such path
  };
  // HEAD finds what GET finds.
  Match find(std::string_view method, std::string_view path) const;
  Dialect dialect_of(std::string_view path) const;
  const std::vector<Route>& routes() const { return routes_; }

 private:
  std::vector<Route> routes_;
};

}  // namespace umbel::serve
