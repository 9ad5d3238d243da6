// Server: the HTTP face of one engine. apps/ makes the parts, starts it, and shuts it down.
#pragma once

#include <memory>

#include "base/status.h"
#include "serve/parts.h"

namespace umbel::serve {

class Server {
 public:
  // Listens when this returns. A port in use, or an address that is not this machine's, is a Status with the remedy.
  // parts' pointers outlive the server.
  static Result<std::unique_ptr<Server>> start(ServeParts parts, ServeOptions options);
  virtual ~Server() = default;  // shutdown(0)

  virtual uint16_t port() const = 0;
  // New requests get 503, running ones may finish within drain_timeout and are cancelled then; returns when all is
  // closed. Idempotent. Drains the engine. Not from a handler's thread.
  virtual void shutdown(Duration drain_timeout) = 0;
};

}  // namespace umbel::serve
