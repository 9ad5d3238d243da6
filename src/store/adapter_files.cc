#include "store/adapter_files.h"

#include <vector>

#include "io/sha256.h"

namespace umbel {
namespace {

constexpr size_t kPieceBytes = 1 << 20;

Status add_content(const OpenFile& file, std::vector<char>& piece, Sha256& digest, const std::stop_token& stop) {
  uint64_t size = 0;
  while (true) {
    if (stop.stop_requested()) return Status(Code::kCancelled, "stopped while " + file.path().string() + " was read");
    ASSIGN_OR_RETURN(const size_t count, file.read_at(size, piece.data(), piece.size()));
    digest.add(piece.data(), count);
    size += count;
    if (count < piece.size()) break;
  }
  digest.add_u64(size);
  return ok_status();
}

}  // namespace

Result<AdapterFiles> AdapterFiles::open(const FolderPlace& place) {
  ASSIGN_OR_RETURN(FolderReader folder, FolderReader::open(place));
  AdapterFiles files(std::move(folder));
  for (const std::string& name : adapter_file_names()) {
    if (!files.folder_.has(name)) continue;
    Result<OpenFile> file = files.folder_.open_file(name);
    if (!file.ok()) return file.status();
    files.files_.emplace(name, std::move(file).value());
  }
  return files;
}

const OpenFile* AdapterFiles::find(const std::string& name) const {
  const auto found = files_.find(name);
  return found == files_.end() ? nullptr : &found->second;
}

Result<std::string> AdapterFiles::digest(std::stop_token stop) const {
  Sha256 digest;
  std::vector<char> piece(kPieceBytes);
  for (const std::string& name : adapter_file_names()) {
    const OpenFile* file = find(name);
    digest.add_u64(name.size());
    digest.add_u64(file != nullptr ? 1 : 0);
    digest.add(name.data(), name.size());
    if (file != nullptr) RETURN_IF_ERROR(add_content(*file, piece, digest, stop));
  }
  return digest.hex();
}

Status AdapterFiles::check_unchanged() const {
  for (const std::string& name : adapter_file_names()) {
    const OpenFile* file = find(name);
    const std::optional<FileStamp> now = folder_.stamp(name);
    const bool same = file == nullptr ? !now : now && *now == file->stamp();
    if (!same) return Status(Code::kUnavailable, "its folder changed meanwhile; send the request again");
  }
  return ok_status();
}

}  // namespace umbel
