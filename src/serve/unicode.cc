#include "serve/unicode.h"

#include <algorithm>

#include "base/utf8.h"

namespace umbel::serve {

CodePointIndex::CodePointIndex(std::string_view text) : text_(text) {
  points_.reserve(text.size() / kStride + 1);
  size_t points = 0;
  for (size_t begin = 0; begin <= text.size(); begin += kStride) {
    points_.push_back(points);
    points += utf8_count(text.substr(begin, kStride));
  }
}

size_t CodePointIndex::before(size_t byte) const {
  byte = std::min(byte, text_.size());
  const size_t block = byte / kStride;
  return points_[block] + utf8_count(text_.substr(block * kStride, byte % kStride));
}

}  // namespace umbel::serve
