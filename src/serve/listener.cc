#include "serve/listener.h"

#include <fcntl.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

namespace umbel::serve {

namespace asio = boost::asio;
using asio::ip::tcp;

Result<std::shared_ptr<const Listener>> Listener::open(const std::string& host, uint16_t port) {
  const std::string where = host + ":" + std::to_string(port);
  boost::system::error_code error;
  asio::io_context io;
  tcp::resolver resolver(io);
  const auto found = resolver.resolve(host, std::to_string(port), tcp::resolver::passive, error);
  if (error || found.empty()) {
    return invalid_argument("--host " + host + ": " + error.message() + "; give an address of this machine, e.g. 127.0.0.1 or 0.0.0.0");
  }
  const tcp::endpoint endpoint = found.begin()->endpoint();
  tcp::acceptor acceptor(io);
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error == asio::error::address_in_use) {
    return Status(Code::kAlreadyExists, where + " is in use by another program; stop it or give another --port");
  }
  if (error == asio::error::access_denied) {
    return Status(Code::kPermissionDenied, where + " may not be opened by this user; give a --port of 1024 or more");
  }
  if (error) return invalid_argument("can't listen on " + where + ": " + error.message());
  const uint16_t bound = acceptor.local_endpoint(error).port();
  (void)::fcntl(acceptor.native_handle(), F_SETFD, FD_CLOEXEC);  // helper processes have no business with it
  return std::shared_ptr<const Listener>(new Listener(acceptor.release(), bound, endpoint.protocol() == tcp::v6()));
}

Listener::~Listener() { (void)::close(descriptor_); }

int Listener::duplicate() const { return ::fcntl(descriptor_, F_DUPFD_CLOEXEC, 0); }

}  // namespace umbel::serve
