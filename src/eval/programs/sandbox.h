// Sandbox: a Python program that a model wrote, run where it can do no harm, to see whether it passes its tests.
//
// Every program gets a sandbox of its own from bubblewrap (Debian: bubblewrap) and Debian's python3: namespaces without network, without other
// processes and with no file of the host but those that the interpreter needs (/usr/bin, /usr/lib, read-only); nothing is writable; an environment
// without anything of ours. Inside, before the program begins: limits of CPU, address space, file size and descriptors, and a seccomp filter that
// refuses new processes (threads are allowed, within the memory), other programs, sockets, tracing, mounts and new namespaces. When this
// process dies, or the time is over, the sandbox is killed with all that is in it.
//
// What a program can do is lie: it runs in the interpreter that also runs its tests. Leaving early (sys.exit, os._exit) is a failure; a program that
// reads the interpreter's own frames to forge the word that means "passed" is not found out.
#pragma once

#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "io/file_calls.h"

namespace umbel::eval {

struct SandboxLimits {
  Duration wall = std::chrono::seconds(3);
  int cpu_s = 3;
  size_t memory_bytes = size_t{512} << 20;  // address space of the program with its interpreter
};

enum class ProgramEnd : uint8_t { kPassed, kFailed, kOutOfTime };

struct ProgramResult {
  ProgramEnd end = ProgramEnd::kFailed;
  std::string reason;  // of a failure: "AssertionError", "SyntaxError: ...", "signal 9"; a stranger's text, at most kReasonBytesMax
};
inline constexpr size_t kReasonBytesMax = 500;
inline constexpr size_t kProgramBytesMax = size_t{1} << 20;

// Any thread; several programs may run at once, each in its own thread, which must outlive it.
class Sandbox {
 public:
  // kUnsupported, naming the package, without bubblewrap or python3 or where the system does not allow namespaces. bwrap: where it is.
  static Result<Sandbox> open(const Path& bwrap = "/usr/bin/bwrap");

  // Passed: it ran to its end without an exception. kTooLong for a program past kProgramBytesMax; kUnavailable when no process is left.
  Result<ProgramResult> run(const std::string& program, const SandboxLimits& limits) const;

 private:
  explicit Sandbox(Path bwrap) : bwrap_(std::move(bwrap)) {}
  Path bwrap_;
};

}  // namespace umbel::eval
