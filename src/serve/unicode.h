// How many code points of a UTF-8 text stand before a byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace umbel::serve {

// utf8_count(text.substr(0, byte)) in any order at a constant price: one pass over the text, 8 bytes for 64 of it. text
// outlives it.
class CodePointIndex {
 public:
  explicit CodePointIndex(std::string_view text);
  // byte past the end counts as the end.
  size_t before(size_t byte) const;

 private:
  static constexpr size_t kStride = 64;
  std::string_view text_;
  std::vector<size_t> points_;  // before byte k * kStride
};

}  // namespace umbel::serve
