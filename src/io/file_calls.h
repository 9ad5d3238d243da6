// FileCalls: the system calls that an atomic write is made of, so that a test can make any of them fail.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>

namespace umbel {

using Path = std::filesystem::path;

// Each returns what the system call returns, and on failure leaves the reason in errno.
class FileCalls {
 public:
  virtual ~FileCalls() = default;
  virtual int open(const Path& path, int flags, mode_t mode);
  virtual ssize_t write(int descriptor, const void* bytes, size_t count);
  virtual int fsync(int descriptor);
  virtual int close(int descriptor);
  virtual int rename(const Path& from, const Path& to);
  virtual int unlink(const Path& path);
};

// The plain system calls. Stateless: any thread.
FileCalls& real_file_calls();

// The twin that fails on demand: the n-th call (from 1) of the named kind fails with the given errno, all others work.
// A short write (half of what was asked for, at least 1 byte) can be asked for too. One thread.
class FaultyFileCalls final : public FileCalls {
 public:
  enum class Kind { kOpen, kWrite, kFsync, kClose, kRename };
  void fail(Kind kind, int nth, int error) { faults_[kind] = {nth, error}; }
  void shorten_writes() { short_writes_ = true; }

  int open(const Path& path, int flags, mode_t mode) override;
  ssize_t write(int descriptor, const void* bytes, size_t count) override;
  int fsync(int descriptor) override;
  int close(int descriptor) override;
  int rename(const Path& from, const Path& to) override;

 private:
  struct Fault {
    int nth = 0;
    int error = 0;
  };
  // True when this call is the one that shall fail; errno is set then.
  bool fails(Kind kind);

  std::map<Kind, Fault> faults_;
  std::map<Kind, int> counts_;
  bool short_writes_ = false;
};

}  // namespace umbel
