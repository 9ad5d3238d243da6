#include "serve/read_buffer.h"

#include <algorithm>

namespace umbel::serve {

namespace asio = boost::asio;

namespace {
constexpr size_t kSkipReadBytes = size_t{32} << 10;
}

asio::awaitable<bool> ReadBuffer::fill(size_t bytes) {
  const size_t room = buffer_.max_size() - buffer_.size();
  const auto into = buffer_.prepare(std::min(bytes, room));
  if (into.size() == 0) co_return false;
  const size_t count = co_await transport_.read_some({static_cast<char*>(into.data()), into.size()});
  buffer_.commit(count);
  co_return count > 0;
}

asio::awaitable<bool> ReadBuffer::skip(size_t bytes) {
  for (;;) {
    const size_t taken = std::min(bytes, buffer_.size());
    buffer_.consume(taken);
    bytes -= taken;
    if (bytes == 0) co_return true;
    if (!co_await fill(kSkipReadBytes)) co_return false;
  }
}

}  // namespace umbel::serve
