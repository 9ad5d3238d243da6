// Transport: the bytes of one connection, plain or TLS, with one deadline at a time. Used on the connection's thread only.
//
// A deadline that passes closes the socket: what waits then ends, and so does everything after it.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <span>
#include <string_view>

#include "base/clock.h"
#include "serve/gate.h"

namespace boost::asio::ssl {
class context;
}

namespace umbel::serve {

class Transport {
 public:
  // tls: null = plain.
  Transport(boost::asio::ip::tcp::socket socket, std::shared_ptr<boost::asio::ssl::context> tls);
  ~Transport();
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  const Peer& peer() const { return peer_; }
  boost::asio::any_io_executor executor();
  boost::asio::ip::tcp::socket& socket();

  // Everything until the next call has to be done within time.
  void expires_after(Duration time);
  void expires_never();

  // TLS only: to be done first. False when it failed.
  boost::asio::awaitable<bool> handshake();
  // How many bytes came; 0 = none will come any more.
  boost::asio::awaitable<size_t> read_some(std::span<char> into);
  // Whether all of it was handed to the system.
  boost::asio::awaitable<bool> write(std::string_view bytes);
  // Tells the client that no more comes, and reads what it still sends, to throw it away: at most bytes_max, until the
  // deadline. So an answer is not lost to a reset.
  boost::asio::awaitable<void> linger(size_t bytes_max);
  // Tells a TLS client that no more comes.
  boost::asio::awaitable<void> finish();
  void close();
  // The other side has ended or lost the connection, whatever it sent before that and nobody has read.
  bool peer_left();
  // What has come from the network and nobody has read.
  size_t unread_bytes();
  // Throws at most so much of it away; nothing can be read after that.
  void discard(size_t bytes_max);

 private:
  struct Streams;
  std::unique_ptr<Streams> streams_;
  Peer peer_;
};

}  // namespace umbel::serve
