#include "load/sse_reader.h"

namespace umbel::load {
namespace {
constexpr size_t kLineBytesMax = size_t{16} << 20;
}

void SseReader::push(std::string_view bytes, const std::function<void(std::string_view)>& event) {
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    if (end == std::string_view::npos) {
      if (line_.size() + bytes.size() <= kLineBytesMax) line_.append(bytes);
      return;
    }
    line_.append(bytes.substr(0, end));
    bytes.remove_prefix(end + 1);
    if (!line_.empty() && line_.back() == '\r') line_.pop_back();
    take_line(line_, event);
    line_.clear();
  }
}

void SseReader::take_line(std::string_view line, const std::function<void(std::string_view)>& event) {
  if (line.empty()) {
    if (has_data_) event(data_);
    data_.clear();
    has_data_ = false;
    return;
  }
  constexpr std::string_view kField = "data:";
  if (!line.starts_with(kField)) return;
  line.remove_prefix(kField.size());
  if (line.starts_with(' ')) line.remove_prefix(1);
  if (has_data_) data_ += '\n';
  data_.append(line);
  has_data_ = true;
}

}  // namespace umbel::load
