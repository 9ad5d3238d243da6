#include "text/stop.h"

#include <algorithm>
#include <utility>

namespace umbel {
namespace {

// The length of the longest suffix of text that is a proper prefix of stop.
size_t open_suffix(std::string_view text, std::string_view stop) {
  for (size_t length = std::min(text.size(), stop.size() - 1); length > 0; --length) {
    if (text.substr(text.size() - length) == stop.substr(0, length)) return length;
  }
  return 0;
}

}  // namespace

StopMatcher::StopMatcher(std::vector<std::string> stops, bool include_stop)
    : stops_(std::move(stops)), include_stop_(include_stop) {
  std::erase_if(stops_, [](const std::string& stop) { return stop.empty(); });
}

std::string StopMatcher::push(std::string_view text) {
  if (stopped_) return {};
  held_.append(text);
  const std::string* first = nullptr;
  size_t first_begin = 0;
  for (const std::string& stop : stops_) {
    const size_t begin = held_.find(stop);
    if (begin == std::string::npos) continue;
    const size_t end = begin + stop.size();
    const size_t first_end = first == nullptr ? 0 : first_begin + first->size();
    if (first == nullptr || end < first_end || (end == first_end && begin < first_begin)) {
      first = &stop;
      first_begin = begin;
    }
  }
  if (first != nullptr) {
    stopped_ = true;
    matched_ = *first;
    held_.resize(first_begin + (include_stop_ ? first->size() : 0));
    return std::exchange(held_, {});
  }
  size_t keep = 0;
  for (const std::string& stop : stops_) keep = std::max(keep, open_suffix(held_, stop));
  std::string out = held_.substr(0, held_.size() - keep);
  held_.erase(0, out.size());
  return out;
}

std::string StopMatcher::flush() {
  if (stopped_) return {};
  return std::exchange(held_, {});
}

}  // namespace umbel
