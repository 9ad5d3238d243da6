// Owners for what the C ABI hands out, and its failures as Status. Private to text/*.cc and data/parquet_worker.cc.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "text/rust/abi.h"

namespace umbel::text_internal {

// Owns one UmbelBytes; frees it on the way out.
class RustBytes {
 public:
  RustBytes() = default;
  RustBytes(const RustBytes&) = delete;
  RustBytes& operator=(const RustBytes&) = delete;
  ~RustBytes() { umbel_bytes_free(bytes_); }

  UmbelBytes* out() { return &bytes_; }
  std::string_view view() const {
    return bytes_.data == nullptr ? std::string_view()
                                  : std::string_view(reinterpret_cast<const char*>(bytes_.data), bytes_.size);
  }

 private:
  UmbelBytes bytes_ = {};
};

// Owns one UmbelSpans.
class RustSpans {
 public:
  RustSpans() = default;
  RustSpans(const RustSpans&) = delete;
  RustSpans& operator=(const RustSpans&) = delete;
  ~RustSpans() { umbel_spans_free(spans_); }

  UmbelSpans* out() { return &spans_; }
  const UmbelSpan* begin() const { return spans_.data; }
  const UmbelSpan* end() const { return spans_.data + spans_.size; }
  size_t size() const { return spans_.size; }

 private:
  UmbelSpans spans_ = {};
};

// The ABI's non-zero return code and message as a Status. REQUIRES: code != 0.
inline Status rust_failure(int32_t code, const RustBytes& message) {
  std::string text(message.view());
  if (code == 1) return invalid_argument(std::move(text));
  if (code == 2) return unsupported(std::move(text));
  return internal_error(std::move(text));
}

}  // namespace umbel::text_internal
