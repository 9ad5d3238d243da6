// ReadBuffer: bytes that a connection has received and nobody has used yet, at most so many. On the transport's thread.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <string_view>

#include "serve/transport.h"

namespace umbel::serve {

class ReadBuffer {
 public:
  ReadBuffer(Transport& transport, size_t bytes_max) : transport_(transport), buffer_(bytes_max) {}

  std::string_view view() const { return {static_cast<const char*>(buffer_.data().data()), buffer_.size()}; }
  size_t size() const { return buffer_.size(); }
  void consume(size_t bytes) { buffer_.consume(bytes); }
  void shrink_to_fit() { buffer_.shrink_to_fit(); }

  // Waits for more, at most so many. False when none will come, or none may.
  boost::asio::awaitable<bool> fill(size_t bytes);
  // Throws the next bytes away. False when they do not come.
  boost::asio::awaitable<bool> skip(size_t bytes);

 private:
  Transport& transport_;
  boost::beast::flat_buffer buffer_;
};

}  // namespace umbel::serve
