#include "serve/transport.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <optional>
#include <vector>

namespace umbel::serve {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);

Peer peer_of(const tcp::socket& socket) {
  error_code error;
  asio::ip::address address = socket.remote_endpoint(error).address();
  if (error) return {};
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  }
  Peer peer{.address = address.to_string(),
            .reach = address.is_loopback() ? Peer::Reach::kLoopback : Peer::Reach::kNetwork,
            .site = {}};
  peer.site = peer.address;
  if (address.is_v6()) {
    auto bytes = address.to_v6().to_bytes();
    std::fill(bytes.begin() + 8, bytes.end(), 0);
    peer.site = asio::ip::address_v6(bytes).to_string() + "/64";
  }
  return peer;
}

}  // namespace

struct Transport::Streams {
  Streams(tcp::socket socket, std::shared_ptr<asio::ssl::context> tls_in)
      : tls(std::move(tls_in)), plain(std::move(socket)) {
    if (tls) secure.emplace(plain, *tls);
  }
  const std::shared_ptr<asio::ssl::context> tls;  // outlives its streams, whatever has been read since
  boost::beast::tcp_stream plain;
  std::optional<asio::ssl::stream<boost::beast::tcp_stream&>> secure;
};

Transport::Transport(tcp::socket socket, std::shared_ptr<asio::ssl::context> tls) : peer_(peer_of(socket)) {
  error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  streams_ = std::make_unique<Streams>(std::move(socket), std::move(tls));
}

Transport::~Transport() = default;

asio::any_io_executor Transport::executor() { return streams_->plain.get_executor(); }
tcp::socket& Transport::socket() { return streams_->plain.socket(); }
void Transport::expires_after(Duration time) { streams_->plain.expires_after(time); }
void Transport::expires_never() { streams_->plain.expires_never(); }

asio::awaitable<bool> Transport::handshake() {
  if (!streams_->secure) co_return true;
  const auto [error] = co_await streams_->secure->async_handshake(asio::ssl::stream_base::server, kTuple);
  co_return !error;
}

asio::awaitable<size_t> Transport::read_some(std::span<char> into) {
  const auto buffer = asio::buffer(into.data(), into.size());
  if (streams_->secure) {
    const auto [error, count] = co_await streams_->secure->async_read_some(buffer, kTuple);
    co_return error ? 0 : count;
  }
  const auto [error, count] = co_await streams_->plain.async_read_some(buffer, kTuple);
  co_return error ? 0 : count;
}

asio::awaitable<bool> Transport::write(std::string_view bytes) {
  const auto buffer = asio::buffer(bytes.data(), bytes.size());
  if (streams_->secure) {
    const auto [error, count] = co_await asio::async_write(*streams_->secure, buffer, kTuple);
    co_return !error;
  }
  const auto [error, count] = co_await asio::async_write(streams_->plain, buffer, kTuple);
  co_return !error;
}

asio::awaitable<void> Transport::finish() {
  if (streams_->secure) (void)co_await streams_->secure->async_shutdown(kTuple);
}

asio::awaitable<void> Transport::linger(size_t bytes_max) {
  co_await finish();
  error_code ignored;
  socket().shutdown(tcp::socket::shutdown_send, ignored);
  std::vector<char> scratch(size_t{16} << 10);
  for (size_t total = 0; total < bytes_max;) {
    const auto [error, count] = co_await streams_->plain.async_read_some(asio::buffer(scratch), kTuple);
    if (error) co_return;
    total += count;
  }
}

void Transport::close() { streams_->plain.close(); }

bool Transport::peer_left() {
  pollfd question{.fd = socket().native_handle(), .events = POLLRDHUP, .revents = 0};
  return ::poll(&question, 1, 0) > 0;
}

size_t Transport::unread_bytes() {
  int bytes = 0;
  return ::ioctl(socket().native_handle(), FIONREAD, &bytes) == 0 && bytes > 0 ? static_cast<size_t>(bytes) : 0;
}

void Transport::discard(size_t bytes_max) {
  (void)!::recv(socket().native_handle(), nullptr, bytes_max, MSG_TRUNC | MSG_DONTWAIT);  // Linux: not even copied
}

}  // namespace umbel::serve
