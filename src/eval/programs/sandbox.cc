#include "eval/programs/sandbox.h"

#include <unistd.h>

#include <filesystem>

#include "io/helper_process.h"
#include "io/json.h"

namespace umbel::eval {
namespace {

constexpr const char* kPython = "/usr/bin/python3";
constexpr Duration kStartMax = std::chrono::seconds(20);  // of the interpreter, on a busy machine
constexpr size_t kAnswerBytesMax = 16 << 10;

// Runs inside the sandbox. The first process reads the program from the descriptor that io/helper_process.h gives it, and keeps the verdict out of
// the program's reach; the second limits itself and becomes the program.
constexpr const char* kDriver = R"(
import ctypes, json, os, platform, resource, select, signal, struct, sys, time

def send(answer):
    answer = json.dumps(answer).encode()
    os.write(3, struct.pack('<I', len(answer)) + answer)

# The child's status; None, and it is killed, when it lives past the end.
def wait(child, end):
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done == child:
            return status
        if time.monotonic() >= end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.002)

def receive():
    data = b''
    while len(data) < 4 or len(data) < 4 + struct.unpack('<I', data[:4])[0]:
        piece = os.read(3, 1 << 16)
        if not piece:
            os._exit(9)
        data += piece
    return json.loads(data[4:])

# Numbers of system calls: refused outright, clone (threads only), clone3 (not there, so that the C library takes clone).
CALLS = {'x86_64': (0xC000003E, (57, 58, 59, 322, 41, 53, 101, 310, 311, 165, 272, 308, 321, 323, 425, 250, 248, 298, 155), 56, 435),
         'aarch64': (0xC00000B7, (221, 281, 198, 199, 117, 270, 271, 40, 97, 268, 280, 282, 425, 219, 217, 241, 41), 220, 435)}

def no_processes():
    arch, refused, clone, clone3 = CALLS[platform.machine()]
    EPERM, ENOSYS, ALLOW = 0x00050001, 0x00050026, 0x7fff0000
    LOAD, EQUAL, ATLEAST, BITS, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
    code = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, arch), (RETURN, 0, 0, 0x80000000), (LOAD, 0, 0, 0), (ATLEAST, 0, 1, 0x40000000), (RETURN, 0, 0, EPERM),
            (EQUAL, 0, 1, clone3), (RETURN, 0, 0, ENOSYS)]
    for call in refused:
        code += [(EQUAL, 0, 1, call), (RETURN, 0, 0, EPERM)]
    code += [(EQUAL, 0, 3, clone), (LOAD, 0, 0, 16), (BITS, 1, 0, 0x10000), (RETURN, 0, 0, EPERM), (RETURN, 0, 0, ALLOW)]
    filters = ctypes.create_string_buffer(b''.join(struct.pack('=HBBI', *one) for one in code))
    class Program(ctypes.Structure):
        _fields_ = [('count', ctypes.c_ushort), ('filters', ctypes.c_void_p)]
    program = Program(len(code), ctypes.addressof(filters))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong]
    if prctl(38, 1, None, 0, 0) != 0 or prctl(22, 2, ctypes.addressof(program), 0, 0) != 0:
        raise OSError('no seccomp')

def become(task, out, word):
    for limit, most in ((resource.RLIMIT_AS, task['memory']), (resource.RLIMIT_FSIZE, 0),
                        (resource.RLIMIT_NOFILE, 32), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(limit, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (task['cpu'], task['cpu'] + 1))
    no_processes()
    try:
        exec(compile(task['program'], '<answer>', 'exec'), {'__name__': 'answer'})
    except BaseException as error:
        os.write(out, ('-' + type(error).__name__ + ': ' + str(error)[:400]).encode('utf-8', 'replace')[:500])
        os._exit(1)
    os.write(out, word)
    os._exit(0)

def main():
    task = receive()
    send('ready')
    end = time.monotonic() + task['wall']
    word = b'+' + os.urandom(16)
    into, out = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(3)
        os.close(into)
        try:
            become(task, out, word)
        finally:
            os._exit(8)
    os.close(out)
    said, late = b'', False
    while len(said) < 1000:
        if not select.select([into], [], [], max(0, end - time.monotonic()))[0]:
            late = True
            break
        piece = os.read(into, 1000)
        if not piece:
            break
        said += piece
    status = wait(child, 0 if late or len(said) >= 1000 else end)
    late = late or status is None or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU)
    if said == word and status == 0:
        verdict = 'passed'
    elif late:
        verdict = 'late'
    elif said[:1] == b'-':
        verdict = said[1:].decode('utf-8', 'replace')
    elif os.WIFSIGNALED(status):
        verdict = 'signal %d' % os.WTERMSIG(status)
    else:
        verdict = 'it left before its end'
    send({'passed': verdict == 'passed' and said == word, 'late': late, 'reason': verdict})

main()
)";

Status missing(const std::string& why) {
  return unsupported("programs are only run in a sandbox, and " + why + "; on Debian: apt install bubblewrap python3");
}

// What the interpreter needs, as it lies on this system: links stay links.
void add_system_folders(std::vector<std::string>& arguments) {
  for (const char* folder : {"/usr/bin", "/usr/lib", "/usr/lib64"}) {
    if (std::filesystem::is_directory(folder)) arguments.insert(arguments.end(), {"--ro-bind", folder, folder});
  }
  for (const char* folder : {"/lib", "/lib64"}) {
    std::error_code failed;
    if (std::filesystem::is_symlink(folder)) {
      arguments.insert(arguments.end(), {"--symlink", std::filesystem::read_symlink(folder, failed).string(), folder});
    } else if (std::filesystem::is_directory(folder)) {
      arguments.insert(arguments.end(), {"--ro-bind", folder, folder});
    }
  }
}

std::vector<std::string> sandbox_arguments() {
  std::vector<std::string> arguments = {"--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--hostname", "sandbox",
                                        "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"};
  add_system_folders(arguments);
  arguments.insert(arguments.end(), {"--proc", "/proc", "--dev", "/dev", "--remount-ro", "/", "--chdir", "/", kPython, "-I", "-S", "-B", "-c", kDriver});
  return arguments;
}

}  // namespace

Result<Sandbox> Sandbox::open(const Path& bwrap) {
  if (::access(bwrap.c_str(), X_OK) != 0) return missing("bubblewrap (" + bwrap.string() + ") is not there");
  if (::access(kPython, X_OK) != 0) return missing(std::string(kPython) + " is not there");
  Sandbox sandbox(bwrap);
  const auto probe = sandbox.run("", {});
  if (!probe.ok()) return missing("this system does not allow one (" + probe.status().message() + ")");
  if (probe->end != ProgramEnd::kPassed) return missing("an empty program did not run in it (" + probe->reason + ")");
  return sandbox;
}

Result<ProgramResult> Sandbox::run(const std::string& program, const SandboxLimits& limits) const {
  if (program.size() > kProgramBytesMax) {
    return Status(Code::kTooLong, "the program has " + std::to_string(program.size()) + " bytes, at most " + std::to_string(kProgramBytesMax) + " are allowed");
  }
  ASSIGN_OR_RETURN(const auto helper, HelperProcess::start({.program = bwrap_, .arguments = sandbox_arguments()}));
  const RealClock clock;
  const TimePoint deadline = clock.now() + kStartMax + limits.wall;
  const Json task = {{"program", program}, {"cpu", limits.cpu_s}, {"memory", limits.memory_bytes}, {"wall", to_seconds(limits.wall)}};
  RETURN_IF_ERROR(helper->send(task.dump(-1, ' ', true, Json::error_handler_t::replace), deadline));
  const auto ready = helper->receive(kAnswerBytesMax, deadline);
  if (!ready.ok()) {
    const HelperEnd end = helper->end();
    return Status(Code::kUnavailable, "the sandbox did not start (exit status " + std::to_string(end.exit_status) + ", signal " + std::to_string(end.signal) + ")");
  }
  const auto frame = helper->receive(kAnswerBytesMax, deadline);
  if (!frame.ok()) {
    if (frame.status().code() == Code::kDeadlineExceeded) return ProgramResult{.end = ProgramEnd::kOutOfTime, .reason = "out of time"};
    return ProgramResult{.end = ProgramEnd::kFailed, .reason = "it ended its own sandbox"};
  }
  ASSIGN_OR_RETURN(const Json verdict, parse_json(*frame, "the sandbox's verdict", JsonKeys::kLastCounts, kRequestJsonLimits));
  ASSIGN_OR_RETURN(const bool passed, json_field<bool>(verdict, "passed"));
  ASSIGN_OR_RETURN(const bool late, json_field<bool>(verdict, "late"));
  ASSIGN_OR_RETURN(std::string reason, json_field<std::string>(verdict, "reason"));
  if (reason.size() > kReasonBytesMax) reason.resize(kReasonBytesMax);
  if (passed) return ProgramResult{.end = ProgramEnd::kPassed, .reason = ""};
  return ProgramResult{.end = late ? ProgramEnd::kOutOfTime : ProgramEnd::kFailed, .reason = late ? "out of time" : std::move(reason)};
}

}  // namespace umbel::eval
