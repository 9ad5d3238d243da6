// Listener: a TCP socket that listens. It outlives the doors that accept from it, one after another: who connects between two doors
// waits in the system's queue and is not refused.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"

namespace umbel::serve {

class Listener {
 public:
  // kAlreadyExists when the port is taken, kPermissionDenied when it may not be opened, kInvalidArgument for an address that is not this
  // machine's; each with the remedy. port 0 = any free one.
  static Result<std::shared_ptr<const Listener>> open(const std::string& host, uint16_t port);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  uint16_t port() const { return port_; }
  bool is_v6() const { return is_v6_; }
  // Another descriptor of the socket, the caller's; -1 when there are no more.
  int duplicate() const;

 private:
  Listener(int descriptor, uint16_t port, bool is_v6) : descriptor_(descriptor), port_(port), is_v6_(is_v6) {}
  const int descriptor_;
  const uint16_t port_;
  const bool is_v6_;
};

}  // namespace umbel::serve
