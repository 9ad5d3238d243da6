// RequestReader: one HTTP/1.x request out of bytes as they come; no socket, no clock, no waiting.
//
// Beast's parser reads what is regular; before it, each header is held to RFC 9112 where a proxy in front might read it
// otherwise (request smuggling): every line ends in CRLF, no folded lines, no blank before a colon, one Host, one
// Content-Length or exactly "Transfer-Encoding: chunked", not both. What breaks a rule ends the connection.
//
// Bounded: the header, one chunk's or the whole request's chunk extensions, and the trailer are each at most
// header_bytes_max. Trailers are dropped.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "serve/failure.h"
#include "serve/http_message.h"

namespace umbel::serve {

class RequestReader {
 public:
  static constexpr size_t kHeadersMax = 200;

  explicit RequestReader(size_t header_bytes_max);
  ~RequestReader();
  RequestReader(const RequestReader&) = delete;
  RequestReader& operator=(const RequestReader&) = delete;

  // Reads from the front of bytes; returns how many it has taken. The rest is given again, with more behind it. Stops
  // when the header is complete: the next call goes on with the body. Never needs more than header_bytes_max bytes at
  // once. REQUIRES: neither done() nor failed().
  size_t feed(std::string_view bytes);
  bool head_done() const { return head_done_; }
  bool done() const;
  // Why the request can't be read; the connection can't be used further.
  const std::optional<Failure>& failure() const { return failure_; }

  // From head_done() on; after a failure as far as it was read.
  HttpRequest& request() { return request_; }
  // nullopt: none was declared, so the body is chunked or empty.
  std::optional<uint64_t> content_length() const;
  bool chunked() const;
  bool has_body() const { return chunked() || content_length().value_or(0) > 0; }
  bool keep_alive() const;
  bool http_1_0() const;
  bool expects_continue() const { return expects_continue_; }

  // What follows is refused with 413 past this. REQUIRES: head_done(), before the body.
  void limit_body(size_t bytes_max);
  size_t body_bytes() const;
  // Moves the body into request().body. REQUIRES: done().
  void take_body();

 private:
  size_t feed_head(std::string_view bytes);
  void scan(std::string_view bytes);
  void take_head();
  void fail(int http, std::string message);
  void fail_of(int error, std::string_view text);

  struct Parser;  // Beast's
  const size_t header_bytes_max_;
  std::unique_ptr<Parser> parser_;
  HttpRequest request_;
  std::optional<Failure> failure_;
  size_t scanned_ = 0;  // of the header
  size_t head_bytes_ = 0;
  size_t body_bytes_max_ = 0;
  size_t extension_bytes_ = 0;
  bool head_done_ = false;
  bool expects_continue_ = false;
  bool blank_dropped_ = false;  // the empty line that a client may send before its request
};

}  // namespace umbel::serve
