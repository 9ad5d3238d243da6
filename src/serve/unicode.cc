#include "serve/unicode.h"

#include <algorithm>

namespace umbel::serve {

size_t code_points(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

CodePointIndex::CodePointIndex(std::string_view text) : text_(text) {
  points_.reserve(text.size() / kStride + 1);
  size_t points = 0;
  for (size_t begin = 0; begin <= text.size(); begin += kStride) {
    points_.push_back(points);
    points += code_points(text.substr(begin, kStride));
  }
}

size_t CodePointIndex::before(size_t byte) const {
  byte = std::min(byte, text_.size());
  const size_t block = byte / kStride;
  return points_[block] + code_points(text_.substr(block * kStride, byte % kStride));
}

}  // namespace umbel::serve
