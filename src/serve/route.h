// Routes: the written list of what this server answers, and the way from a request to its handler.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "serve/gate.h"

namespace umbel::serve {

struct Route {
  std::string method;
  std::string path;  // exact; a part '*' stands for one part, at the end for all that follows
  Dialect dialect = Dialect::kOpenAi;
  // kKey: any key that counts; kGenerate, kAdmin, kMetrics: one with that scope; kOpen: none.
  enum class Access : uint8_t { kKey, kGenerate, kAdmin, kMetrics, kOpen };
  enum class Load : uint8_t { kAlways, kNotWhileDraining, kAlwaysAndWhenFull };
  Access access = Access::kKey;
  Load load = Load::kAlways;
  Handler handler;
  // kChanges: it changes what others see (loads, unloads); web pages of others must not reach it.
  enum class Effect : uint8_t { kAnswers, kChanges };
  Effect effect = Effect::kAnswers;
  // For /openapi.json and /docs.
  std::string summary;
  std::vector<std::string> fields;  // of its body, on its top level
};

class Router {
 public:
  explicit Router(std::vector<Route> routes) : routes_(std::move(routes)) {}

  struct Match {
    const Route* route = nullptr;
    std::string allowed;  // no route: the methods that this path has, ", " between them; "" = no such path
    std::string parameter;  // what stands for the last '*', percent-decoded once
    enum class Escapes : uint8_t { kValid, kInvalid } escapes = Escapes::kValid;  // %zz in the path
  };
  // HEAD finds what GET finds. The path is split at its slashes before it is percent-decoded.
  Match find(std::string_view method, std::string_view path) const;
  Dialect dialect_of(std::string_view path) const;
  const std::vector<Route>& routes() const { return routes_; }

 private:
  std::vector<Route> routes_;
};

}  // namespace umbel::serve
