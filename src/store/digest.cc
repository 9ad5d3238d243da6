#include "store/digest.h"

#include <openssl/evp.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <vector>

namespace umbel {
namespace {

constexpr size_t kPieceBytes = 1 << 20;

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
    CHECK(context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1, "SHA-256 is in every libcrypto");
  }
  void add(const void* bytes, size_t count) {
    CHECK(EVP_DigestUpdate(context_.get(), bytes, count) == 1, "a digest takes any bytes");
  }
  void add_u64(uint64_t value) {
    std::array<unsigned char, 8> bytes;
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<unsigned char>(value >> (8 * i));
    add(bytes.data(), bytes.size());
  }
  std::string hex() {
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

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

Status add_file(const Path& path, std::vector<char>& piece, Sha256& digest) {
  const std::string name = path.filename().string();
  std::error_code error;
  // Anything but a regular file counts as absent: opening a named pipe would hang.
  const std::filesystem::file_status kind = std::filesystem::status(path, error);
  if (!std::filesystem::status_known(kind)) {
    return Status(Code::kUnavailable, "cannot look at " + path.string() + ": " + error.message());
  }
  const bool exists = std::filesystem::is_regular_file(kind);
  digest.add_u64(name.size());
  digest.add_u64(exists ? 1 : 0);
  digest.add(name.data(), name.size());
  if (!exists) return ok_status();
  std::ifstream file(path, std::ios::binary);
  if (!file) return Status(Code::kPermissionDenied, "cannot open " + path.string() + ": " + std::strerror(errno));
  uint64_t size = 0;
  while (file) {
    file.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    digest.add(piece.data(), static_cast<size_t>(file.gcount()));
    size += static_cast<uint64_t>(file.gcount());
  }
  if (file.bad()) return Status(Code::kUnavailable, "cannot read " + path.string() + ": " + std::strerror(errno));
  digest.add_u64(size);
  return ok_status();
}

}  // namespace

Result<std::string> digest_files(std::span<const Path> files) {
  Sha256 digest;
  std::vector<char> piece(kPieceBytes);
  for (const Path& path : files) RETURN_IF_ERROR(add_file(path, piece, digest));
  return digest.hex();
}

}  // namespace umbel
