#include "serve/http.h"

#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/log.h"

namespace umbel::serve {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
constexpr Duration kAcceptPause = std::chrono::milliseconds(100);  // after "too many open files"
constexpr size_t kHeadersMax = 200;
// A client that still sends when it is refused must not lose the answer to a reset: so much is read and thrown away.
constexpr size_t kLingerBytesMax = size_t{64} << 20;
constexpr Duration kLingerTime = std::chrono::seconds(2);

// What all connections of one door share. Outlives them.
struct DoorState {
  const ServeOptions options;
  const Handler handler;
  const DialectOf dialect_of;
  std::atomic<bool> keep_alive{true};
  std::atomic<int> connections{0};
  std::atomic<int> running{0};
  std::mutex mutex;  // of bells
  std::unordered_map<const void*, std::weak_ptr<Bell>> bells;
};

std::string lower(beast::string_view text) {
  std::string result(text);
  for (char& c : result) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return result;
}

// Counts one up for as long as it lives.
class Counted {
 public:
  explicit Counted(std::atomic<int>& counter) : counter_(counter) { ++counter_; }
  ~Counted() { --counter_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  std::atomic<int>& counter_;
};

class Connection final : public Exchange, public std::enable_shared_from_this<Connection> {
 public:
  Connection(tcp::socket socket, DoorState& door)
      : door_(door),
        stream_(std::move(socket)),
        bell_(std::make_shared<Bell>(stream_.get_executor())),
        counted_(door.connections) {
    std::lock_guard lock(door_.mutex);
    door_.bells.emplace(this, bell_);
  }
  ~Connection() override {
    bell_->close();
    std::lock_guard lock(door_.mutex);
    door_.bells.erase(this);
  }

  asio::awaitable<void> run(bool refuse);

  const HttpRequest& request() const override { return request_; }
  bool gone() const override { return gone_ && !delivered_; }
  const std::shared_ptr<Bell>& bell() const override { return bell_; }
  asio::awaitable<void> reply(HttpReply reply) override;
  asio::awaitable<bool> begin_stream(HttpReply head) override;
  asio::awaitable<bool> write(std::string bytes) override;
  asio::awaitable<void> end_stream() override;

 private:
  using Parser = http::request_parser<http::string_body>;
  asio::awaitable<bool> read_request(bool first);
  asio::awaitable<void> refuse_request(error_code error);
  asio::awaitable<void> linger();
  asio::awaitable<void> handle();
  void take_request(Parser& parser);
  void watch();
  void on_readable(error_code error);
  asio::awaitable<bool> send(std::string bytes);
  HttpHeaders common_headers() const;

  DoorState& door_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_;
  std::shared_ptr<Bell> bell_;
  Counted counted_;
  HttpRequest request_;
  asio::cancellation_signal watch_stop_;
  bool keep_alive_ = false;
  bool http_1_0_ = false;
  bool gone_ = false;
  bool delivered_ = false;  // the whole answer is out: who leaves now has it
  bool replied_ = false;
  bool chunked_ = false;
};

asio::awaitable<void> Connection::run(bool refuse) {
  const auto self = shared_from_this();  // alive as long as the coroutine
  for (bool first = true;; first = false) {
    if (!co_await read_request(first)) break;
    if (refuse) {
      keep_alive_ = false;
      // A named value: g++ 12 destroys braced temporaries inside a co_await twice.
      const Failure full{
          .http = 503, .message = "too many connections", .code = "overloaded", .retry_after_seconds = 1};
      co_await reply(error_reply(door_.dialect_of(request_.path), full));
      break;
    }
    co_await handle();
    if (!keep_alive_ || gone_) break;
  }
  error_code ignored;
  stream_.socket().shutdown(tcp::socket::shutdown_both, ignored);
}

asio::awaitable<bool> Connection::read_request(bool first) {
  Parser parser;
  parser.header_limit(static_cast<uint32_t>(door_.options.header_bytes_max));
  parser.body_limit(door_.options.body_bytes_max);
  request_ = {};
  stream_.expires_after(first ? door_.options.read_timeout : door_.options.idle_timeout);
  const auto [head_error, head_bytes] = co_await http::async_read_header(stream_, buffer_, parser, kTuple);
  if (head_error) {
    if (!parser.get().target().empty()) take_request(parser);  // its path tells the dialect
    co_await refuse_request(head_error);
    co_return false;
  }
  take_request(parser);
  if (beast::iequals(parser.get()[http::field::expect], "100-continue")) {
    if (!co_await send("HTTP/1.1 100 Continue\r\n\r\n")) co_return false;
  }
  stream_.expires_after(door_.options.read_timeout);
  const auto [body_error, body_bytes] = co_await http::async_read(stream_, buffer_, parser, kTuple);
  if (body_error) {
    co_await refuse_request(body_error);
    co_return false;
  }
  stream_.expires_never();
  request_.body = std::move(parser.get().body());
  co_return true;
}

void Connection::take_request(Parser& parser) {
  const auto& head = parser.get();
  request_.method = std::string(head.method_string());
  const std::string target(head.target());
  const size_t mark = target.find('?');
  request_.path = target.substr(0, mark);
  if (mark != std::string::npos) request_.query = target.substr(mark + 1);
  for (const auto& field : head) {
    if (request_.headers.size() >= kHeadersMax) break;
    request_.headers.emplace_back(lower(field.name_string()), std::string(field.value()));
  }
  request_.id = request_id(request_.header("x-request-id"));
  http_1_0_ = head.version() < 11;
  keep_alive_ = parser.is_header_done() && parser.keep_alive();
}

// The request could not be read: say why where HTTP still allows it, then the connection ends. A timeout has closed it
// already.
asio::awaitable<void> Connection::refuse_request(error_code error) {
  keep_alive_ = false;
  replied_ = false;
  Failure failure{.http = 400, .message = "not a valid HTTP request: " + error.message()};
  const size_t limit =
      error == http::error::header_limit ? door_.options.header_bytes_max : door_.options.body_bytes_max;
  if (error == http::error::body_limit) {
    failure = {.http = 413,
               .message = "the request body is larger than " + std::to_string(limit) + " bytes",
               .code = "body_too_large"};
  } else if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    failure = {.http = 431, .message = "the request's header is larger than " + std::to_string(limit) + " bytes"};
  } else if (error == http::error::end_of_stream || error == http::error::partial_message ||
             error.category() != http::make_error_code(http::error::bad_method).category()) {
    co_return;
  }
  if (request_.id.empty()) request_.id = request_id({});
  co_await reply(error_reply(door_.dialect_of(request_.path), failure));
  co_await linger();
}

asio::awaitable<void> Connection::linger() {
  error_code ignored;
  stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
  stream_.expires_after(kLingerTime);
  std::vector<char> scratch(size_t{64} << 10);
  for (size_t total = 0; total < kLingerBytesMax;) {
    const auto [error, count] = co_await stream_.async_read_some(asio::buffer(scratch), kTuple);
    if (error) co_return;
    total += count;
  }
}

asio::awaitable<void> Connection::handle() {
  const Counted running(door_.running);
  replied_ = false;
  delivered_ = false;
  chunked_ = false;
  watch();
  std::string thrown;
  try {
    co_await door_.handler(*this);
  } catch (const std::exception& error) {
    thrown = error.what();
  }
  watch_stop_.emit(asio::cancellation_type::all);
  if (thrown.empty() && (replied_ || gone_)) co_return;
  LOG_ERROR("{} {} {}: {}", request_.id, request_.method, request_.path,
            thrown.empty() ? "no answer was given" : thrown);
  keep_alive_ = false;
  if (replied_) co_return;
  const Failure ours{.http = 500, .message = "internal error; the server's log has " + request_.id};
  co_await reply(error_reply(door_.dialect_of(request_.path), ours));
}

void Connection::watch() {
  stream_.socket().async_wait(
      tcp::socket::wait_read,
      asio::bind_cancellation_slot(
          watch_stop_.slot(), asio::bind_executor(stream_.get_executor(), [self = weak_from_this()](error_code error) {
            if (const auto alive = self.lock()) alive->on_readable(error);
          })));
}

void Connection::on_readable(error_code error) {
  if (error == asio::error::operation_aborted) return;
  char byte = 0;
  const ssize_t got = ::recv(stream_.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (got > 0) return;  // the next request comes early: the client is there
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return watch();
  gone_ = true;
  bell_->ring();
}

HttpHeaders Connection::common_headers() const {
  const bool stays = keep_alive_ && door_.keep_alive.load();
  return {{"x-request-id", request_.id},
          {"access-control-allow-origin", "*"},
          {"access-control-expose-headers", "x-request-id, retry-after"},
          {"connection", stays ? "keep-alive" : "close"}};
}

asio::awaitable<bool> Connection::send(std::string bytes) {
  if (gone_) co_return false;
  stream_.expires_after(door_.options.write_timeout);
  const auto [error, written] = co_await asio::async_write(stream_, asio::buffer(bytes), kTuple);
  stream_.expires_never();
  if (error) gone_ = true;
  co_return !error;
}

asio::awaitable<void> Connection::reply(HttpReply reply) {
  replied_ = true;
  if (!door_.keep_alive.load()) keep_alive_ = false;
  HttpHeaders headers = common_headers();
  if (reply.status != 204) headers.emplace_back("content-length", std::to_string(reply.body.size()));
  std::string bytes = head_text(reply, headers);
  if (request_.method != "HEAD") bytes += reply.body;
  delivered_ = co_await send(std::move(bytes));
}

asio::awaitable<bool> Connection::begin_stream(HttpReply head) {
  replied_ = true;
  chunked_ = !http_1_0_;
  if (!chunked_ || !door_.keep_alive.load()) keep_alive_ = false;
  HttpHeaders headers = common_headers();
  headers.emplace_back("cache-control", "no-cache");
  headers.emplace_back("x-accel-buffering", "no");
  if (chunked_) headers.emplace_back("transfer-encoding", "chunked");
  co_return co_await send(head_text(head, headers));
}

asio::awaitable<bool> Connection::write(std::string bytes) {
  if (bytes.empty()) co_return !gone_;
  if (!chunked_) co_return co_await send(std::move(bytes));
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string size;
  for (size_t rest = bytes.size(); rest > 0; rest /= 16) size += kDigits[rest % 16];
  std::reverse(size.begin(), size.end());
  co_return co_await send(size + "\r\n" + bytes + "\r\n");
}

asio::awaitable<void> Connection::end_stream() {
  if (chunked_) {
    delivered_ = co_await send("0\r\n\r\n");
  } else {
    delivered_ = !gone_;
  }
}

class Door final : public HttpDoor {
 public:
  Door(const ServeOptions& options, Handler handler, DialectOf dialect_of)
      : state_{.options = options, .handler = std::move(handler), .dialect_of = std::move(dialect_of)},
        acceptor_(io_) {}
  ~Door() override { close(Duration{}); }

  Status listen();
  uint16_t port() const override { return port_; }
  int connections() const override { return state_.connections.load(); }
  int requests_running() const override { return state_.running.load(); }
  void stop_keep_alive() override { state_.keep_alive.store(false); }
  void close(Duration patience) override;

 private:
  asio::awaitable<void> accept_loop();

  DoorState state_;
  asio::io_context io_;
  tcp::acceptor acceptor_;
  uint16_t port_ = 0;
  std::mutex close_mutex_;
  bool closed_ = false;
  std::vector<std::thread> threads_;
};

Status Door::listen() {
  const ServeOptions& options = state_.options;
  const std::string where = options.host + ":" + std::to_string(options.port);
  error_code error;
  tcp::resolver resolver(io_);
  const auto found = resolver.resolve(options.host, std::to_string(options.port), tcp::resolver::passive, error);
  if (error || found.empty())
    return invalid_argument("--host " + options.host + ": " + error.message() +
                            "; give an address of this machine, e.g. 127.0.0.1 or 0.0.0.0");
  const tcp::endpoint endpoint = found.begin()->endpoint();
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (error == asio::error::address_in_use) {
    return Status(Code::kAlreadyExists, where + " is in use by another program; stop it or give another --port");
  }
  if (error == asio::error::access_denied) {
    return Status(Code::kPermissionDenied, where + " may not be opened by this user; give a --port of 1024 or more");
  }
  if (error) return invalid_argument("can't listen on " + where + ": " + error.message());
  port_ = acceptor_.local_endpoint(error).port();
  asio::co_spawn(io_, accept_loop(), asio::detached);
  for (int thread = 0; thread < std::max(options.http_threads, 1); ++thread) {
    threads_.emplace_back([this] { io_.run(); });
  }
  return ok_status();
}

asio::awaitable<void> Door::accept_loop() {
  asio::steady_timer pause(io_);
  for (;;) {
    tcp::socket socket(asio::make_strand(io_));
    const auto [error] = co_await acceptor_.async_accept(socket, kTuple);
    if (error == asio::error::operation_aborted || error == asio::error::bad_descriptor) co_return;
    if (error) {
      LOG_WARN("a connection could not be accepted: {}", error.message());
      pause.expires_after(kAcceptPause);
      co_await pause.async_wait(kTuple);
      continue;
    }
    error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    const bool refuse = state_.connections.load() >= state_.options.connections_max;
    const auto executor = socket.get_executor();
    auto connection = std::make_shared<Connection>(std::move(socket), state_);
    asio::co_spawn(executor, connection->run(refuse), [](std::exception_ptr thrown) {
      if (thrown) LOG_ERROR("a connection ended with an exception");
    });
  }
}

void Door::close(Duration patience) {
  std::lock_guard lock(close_mutex_);
  if (closed_) return;
  closed_ = true;
  const auto end = std::chrono::steady_clock::now() + patience;
  while (state_.running.load() > 0 && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  io_.stop();
  for (std::thread& thread : threads_) thread.join();
  // The io_context dies with this door, but streams may keep bells longer.
  std::lock_guard bells_lock(state_.mutex);
  for (const auto& [connection, bell] : state_.bells) {
    if (const auto alive = bell.lock()) alive->close();
  }
}

}  // namespace

Result<std::unique_ptr<HttpDoor>> HttpDoor::open(const ServeOptions& options, Handler handler, DialectOf dialect_of) {
  auto door = std::make_unique<Door>(options, std::move(handler), std::move(dialect_of));
  RETURN_IF_ERROR(door->listen());
  return std::unique_ptr<HttpDoor>(std::move(door));
}

}  // namespace umbel::serve
