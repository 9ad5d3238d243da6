// LoadingServer: what answers while the model is being loaded: 503 to everything, so that who waits for the server sees that it is
// coming, and that a port which is taken is told before minutes of loading.
#pragma once

#include <cstdint>
#include <memory>

#include "base/status.h"
#include "serve/parts.h"

namespace umbel::serve {

class LoadingServer {
 public:
  // Listens when this returns. Failures as Server::start()'s about the address and TLS.
  static Result<std::unique_ptr<LoadingServer>> start(const ServeOptions& options);
  virtual ~LoadingServer() = default;

  virtual uint16_t port() const = 0;
  // Answers nothing more; the socket goes on listening and is for ServeOptions::listener.
  virtual std::shared_ptr<const Listener> finish() = 0;
};

}  // namespace umbel::serve
