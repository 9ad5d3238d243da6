// TlsIdentity: the certificate chain and private key (PEM files) with which this server shows itself, read again when
// the files change.
//
// Any thread. TLS 1.2 and 1.3; HTTP/1.1 is all that is offered (ALPN).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "base/clock.h"
#include "base/status.h"

namespace boost::asio::ssl {
class context;
}

namespace umbel::serve {

class TlsIdentity {
 public:
  // kInvalidArgument names the file that can't be read, or says that key and certificate do not belong together.
  static Result<std::unique_ptr<TlsIdentity>> load(const std::string& certificate_path, const std::string& key_path);

  // For a new handshake: of the files as they are now (looked at once a second at most). A pair that can't be used is
  // logged, and the one before stays.
  std::shared_ptr<boost::asio::ssl::context> context(TimePoint now);

 private:
  struct Stamp {
    int64_t size = -1, seconds = 0, nanoseconds = 0;
    uint64_t inode = 0;
    bool operator==(const Stamp&) const = default;
  };
  using Stamps = std::array<Stamp, 2>;
  TlsIdentity(std::string certificate_path, std::string key_path)
      : certificate_path_(std::move(certificate_path)), key_path_(std::move(key_path)) {}
  Stamps stamps() const;

  const std::string certificate_path_, key_path_;
  std::mutex mutex_;
  Stamps stamps_;
  TimePoint looked_at_{};
  std::shared_ptr<boost::asio::ssl::context> context_;
};

}  // namespace umbel::serve
