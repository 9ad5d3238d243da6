#include "io/sha256.h"

#include <openssl/evp.h>

#include <array>

#include "base/check.h"

namespace umbel {

void Sha256::Free::operator()(evp_md_ctx_st* context) const { EVP_MD_CTX_free(context); }

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  CHECK(context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1, "SHA-256 is in every libcrypto");
}

void Sha256::add(const void* bytes, size_t count) {
  CHECK(EVP_DigestUpdate(context_.get(), bytes, count) == 1, "a digest takes any bytes");
}

void Sha256::add_u64(uint64_t value) {
  std::array<unsigned char, 8> bytes;
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<unsigned char>(value >> (8 * i));
  add(bytes.data(), bytes.size());
}

void Sha256::add_text(std::string_view text) {
  add_u64(text.size());
  add(text.data(), text.size());
}

std::string Sha256::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes;
  unsigned int size = 0;
  CHECK(EVP_DigestFinal_ex(context_.get(), bytes.data(), &size) == 1, "a digest ends once");
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

}  // namespace umbel
