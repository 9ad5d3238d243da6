#include "serve/connection.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <new>
#include <optional>

#include "base/log.h"
#include "serve/peer_watch.h"
#include "serve/read_buffer.h"
#include "serve/request_reader.h"
#include "serve/transport.h"

namespace umbel::serve {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

// A client that still sends when it is refused must not lose the answer to a reset: so much is read and thrown away.
constexpr size_t kLingerBytesMax = size_t{64} << 20;
constexpr Duration kLingerTime = std::chrono::seconds(2);
constexpr size_t kSkippedBodyMax = size_t{64} << 10;  // a refused request's body up to this does not end its connection
constexpr size_t kHeadReadBytes = size_t{4} << 10, kBodyReadBytes = size_t{32} << 10;

class Connection final : public Exchange, public std::enable_shared_from_this<Connection> {
 public:
  Connection(tcp::socket socket, DoorState& door)
      : door_(door),
        transport_(std::move(socket), door.tls ? door.tls->context(RealClock().now()) : nullptr),
        buffer_(transport_, door.options.header_bytes_max + kBodyReadBytes),
        watch_(transport_),
        bell_(std::make_shared<Bell>(transport_.executor())),
        share_(door.bodies),
        counted_(door.connections) {
    std::lock_guard lock(door_.mutex);
    door_.bells.emplace(this, bell_);
  }
  ~Connection() override {
    bell_->close();
    std::lock_guard lock(door_.mutex);
    door_.bells.erase(this);
  }

  bool take_place();  // before run(); false: all are taken
  asio::awaitable<void> run();
  const HttpRequest& request() const override { return request_; }
  const Caller& caller() const override { return caller_; }
  RequestAccount& account() override { return account_; }
  void release_body() override {
    request_.body = {};
    share_.release();
  }
  bool gone() const override { return gone_ && !delivered_; }
  const std::shared_ptr<Bell>& bell() const override { return bell_; }
  asio::awaitable<void> reply(HttpReply reply) override;
  asio::awaitable<bool> begin_stream(HttpReply head) override;
  asio::awaitable<bool> write(std::string bytes) override;
  asio::awaitable<void> end_stream() override;

 private:
  // That went over the wire; 499 when the client left before its answer was whole; 0 = no answer yet.
  int status() const override { return gone() ? 499 : status_; }
  enum class Next : uint8_t { kRequest, kEnd };
  asio::awaitable<Next> serve_one(Duration patience);
  asio::awaitable<Next> apologise();
  void report();
  asio::awaitable<bool> read_head(RequestReader& reader, Duration patience);
  asio::awaitable<bool> read_body(RequestReader& reader);
  asio::awaitable<bool> reserve(size_t bytes);
  asio::awaitable<void> refuse(Failure failure);
  asio::awaitable<Next> turn_away(const RequestReader& reader, HttpReply reply);
  asio::awaitable<void> linger() {
    transport_.expires_after(kLingerTime);
    co_await transport_.linger(kLingerBytesMax);
  }
  asio::awaitable<Next> handle();
  void notice(PeerWatch::Event event);
  asio::awaitable<bool> send(std::string bytes);
  HttpHeaders common_headers() const;

  DoorState& door_;
  std::unique_ptr<Places::Place> place_;
  Transport transport_;
  ReadBuffer buffer_;
  PeerWatch watch_;
  std::shared_ptr<Bell> bell_;
  BodyBudget::Share share_;
  Counted counted_;
  HttpRequest request_;
  Caller caller_;
  RequestAccount account_;
  Admission admission_;
  std::optional<TimePoint> head_at_;  // when the header was complete; reported requests have none
  int status_ = 0;
  bool keep_alive_ = false;
  bool http_1_0_ = false;
  bool gone_ = false;
  bool delivered_ = false;  // the whole answer is out: who leaves now has it
  bool replied_ = false;
  bool chunked_ = false;
};

bool Connection::take_place() {
  place_ = door_.places.take(transport_.peer(), [executor = transport_.executor(), self = weak_from_this()] {
    try {
      asio::post(executor, [self] {
        if (const auto alive = self.lock()) alive->transport_.close();
      });
    } catch (const std::bad_alloc&) {  // it goes when it next asks for its place
    }
  });
  return place_ != nullptr;
}

asio::awaitable<void> Connection::run() {
  transport_.expires_after(door_.options.header_timeout);
  if (!co_await transport_.handshake()) co_return;
  Duration patience = door_.options.read_timeout;
  for (Next next = Next::kRequest; next == Next::kRequest; patience = door_.options.idle_timeout) {
    bool out_of_memory = false;
    try {
      next = co_await serve_one(patience);
    } catch (const std::bad_alloc&) {
      out_of_memory = true;  // its reader and its body's bytes are free again
    } catch (const std::exception& error) {
      LOG_ERROR("{}: a connection ended with {}", request_.id, error.what());
      next = Next::kEnd;
    }
    if (out_of_memory) next = co_await apologise();
    report();
  }
  transport_.expires_after(kLingerTime);
  if (!gone_) co_await transport_.finish();
  transport_.close();
}

// Tells the gate of the answer to a request whose header was read.
void Connection::report() {
  if (!head_at_) return;
  door_.gate.answered({.request = request_,
                       .caller = caller_,
                       .account = account_,
                       .status = status(),
                       .duration = RealClock().now() - *head_at_});
  head_at_.reset();
}

asio::awaitable<Connection::Next> Connection::apologise() {
  LOG_WARN("{} {}: out of memory", request_.id, request_.method);
  keep_alive_ = false;
  release_body();
  if (replied_) co_return Next::kEnd;
  const Failure full{.http = 503,
                     .message = "the server is out of memory for this request",
                     .code = "out_of_memory",
                     .retry_after_seconds = 1};
  co_await refuse(full);
  co_return Next::kEnd;
}

asio::awaitable<Connection::Next> Connection::serve_one(Duration patience) {
  RequestReader reader(door_.options.header_bytes_max);
  place_->wait();
  request_ = {};
  caller_ = {.address = transport_.peer().address};
  account_ = {};
  admission_ = {};
  head_at_.reset();
  status_ = 0;
  keep_alive_ = replied_ = delivered_ = chunked_ = false;
  if (!co_await read_head(reader, patience)) co_return Next::kEnd;
  head_at_ = RealClock().now();
  const RequestHead head{
      .request = request_, .peer = transport_.peer(), .place = place_->kind(), .caller = caller_};
  std::variant<Admission, HttpReply> answer = door_.gate.pass(head);
  if (auto* reply = std::get_if<HttpReply>(&answer)) {
    co_return co_await turn_away(reader, std::move(*reply));
  }
  admission_ = std::move(std::get<Admission>(answer));
  request_.path = admission_.route;
  request_.path_parameter = admission_.path_parameter;
  place_->wait();  // for the body, as one that has shown its header
  if (reader.has_body() && !co_await read_body(reader)) co_return Next::kEnd;
  if (!place_->work()) co_return Next::kEnd;
  transport_.expires_never();
  const Next next = co_await handle();
  release_body();
  co_return next;
}

// patience: until the first byte; then the whole header has header_timeout, however it comes.
asio::awaitable<bool> Connection::read_head(RequestReader& reader, Duration patience) {
  if (buffer_.size() == 0) {
    buffer_.shrink_to_fit();
    transport_.expires_after(patience);
    if (!co_await buffer_.fill(kHeadReadBytes)) co_return false;
  }
  transport_.expires_after(door_.options.header_timeout);
  while (!reader.head_done() && !reader.failure()) {
    const size_t taken = reader.feed(buffer_.view());
    buffer_.consume(taken);
    if (reader.head_done() || reader.failure()) break;
    if (taken > 0 && buffer_.size() > 0) continue;
    if (!co_await buffer_.fill(kHeadReadBytes)) co_return false;
  }
  request_ = std::move(reader.request());
  if (reader.failure()) {
    co_await refuse(*reader.failure());
    co_return false;
  }
  http_1_0_ = reader.http_1_0();
  keep_alive_ = reader.keep_alive();
  co_return true;
}

// False when the connection ends; the client has its answer then.
asio::awaitable<bool> Connection::read_body(RequestReader& reader) {
  // What comes with a GET means nothing, and may come without a key.
  const bool reads_only = request_.method == "GET" || request_.method == "HEAD";
  const size_t bytes_max = std::min(admission_.body_bytes_max, reads_only ? kSkippedBodyMax : SIZE_MAX);
  const uint64_t declared = reader.content_length().value_or(0);
  if (declared > bytes_max) {
    const Failure large{.http = 413,
                        .message = "the request body is larger than " + std::to_string(bytes_max) + " bytes",
                        .code = "body_too_large"};
    co_await refuse(large);
    co_return false;
  }
  reader.limit_body(bytes_max);
  transport_.expires_never();
  if (!co_await reserve(reader.chunked() ? std::min(bytes_max, BodyBudget::kSmallBytes) : declared)) co_return false;
  if (reader.expects_continue() && !co_await send("HTTP/1.1 100 Continue\r\n\r\n")) co_return false;
  const TimePoint end = RealClock().now() + door_.options.read_timeout;
  while (!reader.done()) {
    buffer_.consume(reader.feed(buffer_.view()));
    if (reader.done()) break;
    if (reader.failure()) {
      co_await refuse(*reader.failure());
      co_return false;
    }
    // What the next read may add has to have its place before.
    const size_t next_bytes = reader.body_bytes() + kBodyReadBytes;
    if (next_bytes > share_.bytes() && share_.bytes() < bytes_max && reader.chunked()) {
      transport_.expires_never();
      if (!co_await reserve(std::min(bytes_max, std::max(next_bytes, 2 * share_.bytes())))) co_return false;
    }
    transport_.expires_after(std::max(end - RealClock().now(), Duration{}));
    if (!co_await buffer_.fill(kBodyReadBytes)) co_return false;
  }
  reader.take_body();
  request_.body = std::move(reader.request().body);
  co_return true;
}

// A part of the budget of all bodies, waited for as long as body_wait. False when there is none: answered with 503.
asio::awaitable<bool> Connection::reserve(size_t bytes) {
  const TimePoint end = RealClock().now() + door_.options.body_wait;
  while (!share_.grow(bytes, bell_)) {
    const Duration rest = end - RealClock().now();
    if (rest <= Duration{} || transport_.peer_left()) {
      share_.release();
      const Failure full{.http = 503,
                         .message = "the server holds as many bytes of request bodies as it may; try again",
                         .code = "overloaded",
                         .retry_after_seconds = 1};
      co_await refuse(full);
      co_return false;
    }
    (void)co_await bell_->wait(rest);
  }
  co_return true;
}

// The door's own refusal, after which the connection ends.
asio::awaitable<void> Connection::refuse(Failure failure) {
  keep_alive_ = false;
  if (request_.id.empty()) request_.id = request_id({});
  HttpReply answer = error_reply(door_.gate.dialect_of(request_.path), failure);
  answer.status = failure.http;  // what is wrong with the message, not with a field: the same in every dialect
  co_await reply(std::move(answer));
  co_await linger();
}

// The gate's answer to a request whose body nobody has read.
asio::awaitable<Connection::Next> Connection::turn_away(const RequestReader& reader, HttpReply answer) {
  const uint64_t declared = reader.content_length().value_or(0);
  const bool small = !reader.chunked() && !reader.expects_continue() && declared <= kSkippedBodyMax;
  if (!small) keep_alive_ = false;
  co_await reply(std::move(answer));
  if (!keep_alive_) {
    if (reader.has_body()) co_await linger();
    co_return Next::kEnd;
  }
  transport_.expires_after(kLingerTime);
  const bool skipped = co_await buffer_.skip(declared);
  co_return skipped && !gone_ ? Next::kRequest : Next::kEnd;
}

asio::awaitable<Connection::Next> Connection::handle() {
  const Counted running(door_.running);
  watch_.start(weak_from_this(), [this](PeerWatch::Event event) { notice(event); });
  std::string thrown;
  bool out_of_memory = false;
  try {
    co_await (*admission_.handler)(*this);
  } catch (const std::bad_alloc&) {
    out_of_memory = true;
  } catch (const std::exception& error) {
    thrown = error.what();
  }
  watch_.stop();
  if (out_of_memory) co_return co_await apologise();
  if (thrown.empty() && (replied_ || gone_)) co_return keep_alive_ && !gone_ ? Next::kRequest : Next::kEnd;
  LOG_ERROR("{} {}: {}", request_.id, request_.method, thrown.empty() ? "no answer was given" : thrown);
  keep_alive_ = false;
  if (replied_) co_return Next::kEnd;
  const Failure ours{.http = 500, .message = "internal error; the server's log has " + request_.id};
  co_await reply(error_reply(door_.gate.dialect_of(request_.path), ours));
  co_return Next::kEnd;
}

void Connection::notice(PeerWatch::Event event) {
  keep_alive_ = false;
  if (event != PeerWatch::Event::kLeft) return;
  gone_ = true;
  bell_->ring();
}

HttpHeaders Connection::common_headers() const {
  const bool stays = keep_alive_ && door_.keep_alive.load();
  HttpHeaders headers = door_.gate.answer_headers(request_, caller_);
  headers.emplace_back("x-request-id", request_.id);
  headers.emplace_back("connection", stays ? "keep-alive" : "close");
  return headers;
}

asio::awaitable<bool> Connection::send(std::string bytes) {
  if (gone_) co_return false;
  transport_.expires_after(door_.options.write_timeout);
  const bool sent = co_await transport_.write(bytes);
  transport_.expires_never();
  if (!sent) gone_ = true;
  co_return sent;
}

asio::awaitable<void> Connection::reply(HttpReply reply) {
  if (!door_.keep_alive.load()) keep_alive_ = false;
  HttpHeaders headers = common_headers();
  if (reply.status != 204) headers.emplace_back("content-length", std::to_string(reply.body.size()));
  std::string bytes = head_text(reply, headers);
  if (request_.method != "HEAD") bytes += reply.body;
  replied_ = true;
  status_ = reply.status;
  delivered_ = co_await send(std::move(bytes));
}

asio::awaitable<bool> Connection::begin_stream(HttpReply head) {
  chunked_ = !http_1_0_;
  if (!chunked_ || !door_.keep_alive.load()) keep_alive_ = false;
  HttpHeaders headers = common_headers();
  headers.emplace_back("cache-control", "no-cache");
  headers.emplace_back("x-accel-buffering", "no");
  if (chunked_) headers.emplace_back("transfer-encoding", "chunked");
  std::string bytes = head_text(head, headers);
  replied_ = true;
  status_ = head.status;
  co_return co_await send(std::move(bytes));
}

asio::awaitable<bool> Connection::write(std::string bytes) {
  if (bytes.empty()) co_return !gone_;
  if (!chunked_) co_return co_await send(std::move(bytes));
  std::string chunk = fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes);
  co_return co_await send(std::move(chunk));
}

asio::awaitable<void> Connection::end_stream() {
  if (chunked_) {
    delivered_ = co_await send("0\r\n\r\n");
  } else {
    delivered_ = !gone_;
  }
}

// Alive as long as its coroutine, which begins on another thread.
asio::awaitable<void> run(std::shared_ptr<Connection> connection) { co_await connection->run(); }

}  // namespace

void start_connection(tcp::socket socket, DoorState& door) {
  const auto executor = socket.get_executor();
  auto connection = std::make_shared<Connection>(std::move(socket), door);
  if (!connection->take_place()) return;
  asio::co_spawn(executor, run(std::move(connection)), [](std::exception_ptr thrown) {
    if (thrown) LOG_ERROR("a connection ended with an exception");
  });
}

}  // namespace umbel::serve
