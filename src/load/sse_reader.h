// SseReader: bytes of a text/event-stream in, data of whole events out (WHATWG HTML, "server-sent events"; only the data
// field matters here). Lines longer than 16 MiB are dropped.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace umbel::load {

class SseReader {
 public:
  // Calls `event` with the data of every event that `bytes` completes.
  void push(std::string_view bytes, const std::function<void(std::string_view)>& event);

 private:
  void take_line(std::string_view line, const std::function<void(std::string_view)>& event);
  std::string line_;
  std::string data_;
  bool has_data_ = false;
};

}  // namespace umbel::load
