// AuditLog: who asked what, one JSON line per request, appended to a file by a thread of its own.
//
// Any thread may append(): it never waits for the disk. What the disk refuses, and what comes faster than it is written
// (past kQueueBytesMax, or past the memory there is), is lost and counted; serving goes on. The file is opened again when it was renamed or removed,
// so logrotate needs no signal. A line has at most kAuditLineBytesMax bytes, ASCII only, whole or not there at all.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "io/append_file.h"

namespace umbel::serve {

inline constexpr size_t kAuditLineBytesMax = size_t{64} << 10;
// Of all prompts of a line; one byte becomes six at most ("\u0000"), and the rest of a line stays below 24 KiB.
inline constexpr size_t kAuditPromptBytesMax = size_t{6} << 10;

struct AuditRecord {
  int64_t at_ms = 0;  // UTC, when the answer ended
  std::string request_id;
  std::string key;      // its name; "" = none, or none that is known
  std::string address;  // of the client
  std::string method;
  std::string route;
  std::string adapter;  // "" = the base, or not a request for one
  int64_t version = 0;
  std::string digest;
  int status = 0;  // over the wire; 499 = the client left
  int64_t prompt_tokens = 0;
  int64_t answer_tokens = 0;
  Duration duration{};
  std::vector<std::string> prompts;  // only with --audit-prompts; cut where the line would be too long
};

// The line with its newline. Fields that are empty are left out. Bytes that are no UTF-8 become U+FFFD.
std::string audit_line(const AuditRecord& record);

class AuditLog {
 public:
  static constexpr size_t kQueueBytesMax = size_t{4} << 20;

  // Makes the file (for its owner alone) or appends to it. calls: a test's seam; outlives the log.
  static Result<std::unique_ptr<AuditLog>> open(const Path& path, FileCalls& calls = real_file_calls());
  ~AuditLog();  // writes what is queued
  AuditLog(const AuditLog&) = delete;
  AuditLog& operator=(const AuditLog&) = delete;

  void append(const AuditRecord& record);
  int64_t lines_written() const { return written_.load(); }
  int64_t lines_lost() const { return lost_.load(); }

 private:
  AuditLog(const Path& path, FileCalls& calls, AppendFile file);
  void run();
  Status write(const std::string& lines);

  const Path path_;
  FileCalls& calls_;
  std::optional<AppendFile> file_;  // of the writing thread; empty = could not be opened again
  bool failing_ = false;            // told in the log already

  std::mutex mutex_;  // of the members below
  std::condition_variable changed_;
  std::string queue_;
  int64_t queued_lines_ = 0;
  bool stop_ = false;

  std::atomic<int64_t> written_{0}, lost_{0};
  std::thread writer_;
};

}  // namespace umbel::serve
