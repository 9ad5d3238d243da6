#include "io/file_calls.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

namespace umbel {

int FileCalls::open(const Path& path, int flags, mode_t mode) { return ::open(path.c_str(), flags, mode); }
ssize_t FileCalls::write(int descriptor, const void* bytes, size_t count) { return ::write(descriptor, bytes, count); }
int FileCalls::fsync(int descriptor) { return ::fsync(descriptor); }
int FileCalls::close(int descriptor) { return ::close(descriptor); }
int FileCalls::rename(const Path& from, const Path& to) { return ::rename(from.c_str(), to.c_str()); }
int FileCalls::unlink(const Path& path) { return ::unlink(path.c_str()); }

FileCalls& real_file_calls() {
  static FileCalls calls;  // has no state
  return calls;
}

bool FaultyFileCalls::fails(Kind kind) {
  const int count = ++counts_[kind];
  const auto fault = faults_.find(kind);
  if (fault == faults_.end() || fault->second.nth != count) return false;
  errno = fault->second.error;
  return true;
}

int FaultyFileCalls::open(const Path& path, int flags, mode_t mode) {
  return fails(Kind::kOpen) ? -1 : FileCalls::open(path, flags, mode);
}

ssize_t FaultyFileCalls::write(int descriptor, const void* bytes, size_t count) {
  if (fails(Kind::kWrite)) return -1;
  return FileCalls::write(descriptor, bytes, short_writes_ ? std::max<size_t>(1, count / 2) : count);
}

int FaultyFileCalls::fsync(int descriptor) { return fails(Kind::kFsync) ? -1 : FileCalls::fsync(descriptor); }

int FaultyFileCalls::close(int descriptor) {
  const bool fail = fails(Kind::kClose);
  const int error = errno;
  const int result = FileCalls::close(descriptor);  // the descriptor is gone in any case, as on Linux
  errno = error;
  return fail ? -1 : result;
}

int FaultyFileCalls::rename(const Path& from, const Path& to) {
  return fails(Kind::kRename) ? -1 : FileCalls::rename(from, to);
}

}  // namespace umbel
