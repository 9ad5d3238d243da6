#include "store/digest.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

#include "io/sha256.h"

namespace umbel {
namespace {

constexpr size_t kPieceBytes = 1 << 20;

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
