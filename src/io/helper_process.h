// HelperProcess: a second process for work that may die, endlessly loop or eat memory: what strangers wrote is run there.
// It has one end of a socket pair as descriptor kHelperSocket and nothing else of ours: no files, no sockets, and of the
// environment only the time zone and what a loader or a sanitizer needs. Frames go over the pair: a length (u32,
// little-endian) and so many bytes.
//
// The helper's own side, called in the other program, is the second half of this file.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "io/file_calls.h"

namespace umbel {

inline constexpr int kHelperSocket = 3;

struct HelperCommand {
  Path program = "/proc/self/exe";     // this very program, also after its file was replaced
  std::vector<std::string> arguments;  // those behind the program's name
};

// How a helper ended: one of the two is not zero, or both are (a plain exit).
struct HelperEnd {
  int signal = 0;
  int exit_status = 0;
};

// One thread at a time. Destroying it kills the process.
class HelperProcess {
 public:
  // kUnavailable when the system has no process or descriptor left, or the program cannot be run.
  static Result<std::unique_ptr<HelperProcess>> start(const HelperCommand& command);
  HelperProcess(const HelperProcess&) = delete;
  HelperProcess& operator=(const HelperProcess&) = delete;
  ~HelperProcess();

  // kDeadlineExceeded, or kUnavailable when the helper is gone; end() says how.
  Status send(std::string_view frame, TimePoint deadline);
  // As send(); a frame of more than bytes_max is kTooLong. After any failure the helper is of no more use.
  Result<std::string> receive(size_t bytes_max, TimePoint deadline);
  // Between two frames: has it ended by itself?
  bool has_left() const;
  // Kills what still runs.
  HelperEnd end();
  pid_t id() const { return id_; }

 private:
  HelperProcess(pid_t id, int socket) : id_(id), socket_(socket) {}
  Status wait_for(short events, TimePoint deadline) const;
  Status read_exactly(char* into, size_t size, TimePoint deadline);

  pid_t id_;  // 0 once it was waited for
  int socket_;
  HelperEnd end_;
};

// --- in the helper ---

// Blocking. kUnavailable when the other side is gone.
Status send_to_parent(std::string_view frame);
Result<std::string> receive_from_parent(size_t bytes_max);

// From here on this process gets no more than so many bytes of address space beyond what it has, dumps no core, opens no
// file, writes none, starts no process and gains no privilege. It needs no signal when its parent dies: its next receive
// ends, and a running piece of work ends with its CPU time.
Status confine_this_process(size_t memory_bytes);
// SIGXCPU when this process uses more CPU time from now on. Whole seconds, rounded up.
Status limit_cpu_time(Duration most);
// Bytes of address space that this process has; 0 where the system does not say.
size_t address_space_bytes();

}  // namespace umbel
