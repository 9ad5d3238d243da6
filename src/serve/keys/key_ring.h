// KeyRing: the keys that count now: those of the file (--keys) and the one of the command line (--api-key), looked up
// by digest. The file is looked at every second; what changed counts for requests that begin after it. A running
// answer goes on when its key expires or is revoked.
//
// Any thread. A file that is broken when it is read again changes nothing and is told in the log.
//
// About time: a guess is hashed before anything is compared, so the time of a lookup tells nothing about any key; the
// digests themselves are compared in constant time all the same.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "io/file.h"
#include "serve/keys/key_spec.h"
#include "serve/keys/tenant.h"

namespace umbel::serve {

// One key as it stands now. Never changed: a new file makes new ones, which share the Tenant of their name.
struct ActiveKey {
  KeySpec spec;
  std::shared_ptr<Tenant> tenant;
};
using KeyRef = std::shared_ptr<const ActiveKey>;

struct KeyRingOptions {
  Path file;                             // "" = none
  std::optional<std::string> api_key;    // has every scope
  Duration watch_interval = from_seconds(1.0);  // zero = not watched: poll() is called
  const Clock* clock = nullptr;          // of rates; null = the real one; outlives the ring
};

class KeyRing {
 public:
  // Refused: an empty api_key, a file that can't be read or is not valid. Warns of a file that everybody may read.
  static Result<std::unique_ptr<KeyRing>> open(const KeyRingOptions& options);
  ~KeyRing();
  KeyRing(const KeyRing&) = delete;
  KeyRing& operator=(const KeyRing&) = delete;

  // Neither a file nor a key: everybody may do everything.
  bool is_open() const { return open_; }
  // Who everybody is where is_open(): may do everything, under no name.
  const KeyRef& everybody() const { return everybody_; }
  // The key with this text, expired or not; null when there is none.
  KeyRef find(std::string_view key) const;
  // All keys, in the order of the file.
  std::vector<KeyRef> keys() const;
  TimePoint now() const { return clock_->now(); }

  // Looks at the file; reads it when it changed and has rested since the last look. True when it was read and counts.
  bool poll();

 private:
  struct Table {
    std::vector<KeyRef> keys;
    std::unordered_map<std::string, size_t> by_digest;
  };
  // What tells that a file is another one or has changed.
  struct Signature {
    uint64_t device = 0, inode = 0, size = 0;
    int64_t modified_ns = 0, changed_ns = 0;
    bool operator==(const Signature&) const = default;
  };

  explicit KeyRing(const KeyRingOptions& options);
  static std::optional<Signature> signature_of(const Path& path);
  Status read();
  void watch();

  const KeyRingOptions options_;
  const bool open_;
  const KeyRef everybody_;
  const RealClock real_clock_;
  const Clock* const clock_;
  mutable std::mutex mutex_;  // of table_
  std::shared_ptr<const Table> table_;

  // Of the watching thread (before it starts: of open()).
  std::unordered_map<std::string, std::shared_ptr<Tenant>> tenants_;
  uint32_t last_number_ = 0;
  std::optional<Signature> seen_, read_;

  std::mutex stop_mutex_;  // of stop_
  std::condition_variable stopped_;
  bool stop_ = false;
  std::thread watcher_;
};

}  // namespace umbel::serve
