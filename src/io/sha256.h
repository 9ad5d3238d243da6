// SHA-256 of bytes that come in pieces.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

struct evp_md_ctx_st;  // of libcrypto

namespace umbel {

// One thread. hex() ends the digest: nothing may be added after it.
class Sha256 {
 public:
  Sha256();
  void add(const void* bytes, size_t count);
  // Eight bytes, little-endian.
  void add_u64(uint64_t value);
  // Length and bytes: a list of texts added so has one digest only.
  void add_text(std::string_view text);
  std::string hex();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

}  // namespace umbel
