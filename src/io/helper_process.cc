#include "io/helper_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace umbel {
namespace {

// What a helper may know of our environment; keys and tokens often stand in the rest.
constexpr const char* kEnvironmentKept[] = {"TZ", "TZDIR", "LD_LIBRARY_PATH", "ASAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS",
                                            "UBSAN_OPTIONS"};
constexpr size_t kHeaderBytes = 4;
constexpr size_t kPieceBytes = size_t{1} << 20;  // a frame's length is only believed piece by piece

Status gone(const char* what) { return Status(Code::kUnavailable, std::string("the helper process is gone: ") + what); }
Status system_failure(const char* what, int error) {
  return Status(Code::kUnavailable, std::string(what) + ": " + std::strerror(error));
}

std::array<char, kHeaderBytes> header_of(size_t size) {
  std::array<char, kHeaderBytes> header{};
  for (size_t i = 0; i < kHeaderBytes; ++i) header[i] = static_cast<char>((size >> (8 * i)) & 0xff);
  return header;
}

size_t size_in(const std::array<char, kHeaderBytes>& header) {
  size_t size = 0;
  for (size_t i = 0; i < kHeaderBytes; ++i) size |= size_t{static_cast<unsigned char>(header[i])} << (8 * i);
  return size;
}

Status too_large(size_t size, size_t most) {
  return Status(Code::kTooLong,
                "a frame of " + std::to_string(size) + " bytes; at most " + std::to_string(most) + " are allowed");
}

// read(into, count) fills exactly so many bytes or says why not.
template <typename Read>
Result<std::string> read_frame(size_t bytes_max, const Read& read) {
  std::array<char, kHeaderBytes> header{};
  RETURN_IF_ERROR(read(header.data(), header.size()));
  const size_t size = size_in(header);
  if (size > bytes_max) return too_large(size, bytes_max);
  std::string frame;
  while (frame.size() < size) {
    const size_t begin = frame.size();
    const size_t count = std::min(kPieceBytes, size - begin);
    frame.resize(begin + count);
    RETURN_IF_ERROR(read(frame.data() + begin, count));
  }
  return frame;
}

std::vector<std::string> kept_environment() {
  std::vector<std::string> kept;
  for (const char* name : kEnvironmentKept) {
    if (const char* value = std::getenv(name)) kept.push_back(std::string(name) + "=" + value);
  }
  return kept;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

// What the child does between being born and becoming the program.
struct SpawnPlan {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;

  explicit SpawnPlan(int socket) {
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, socket, kHelperSocket);
    for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
      posix_spawn_file_actions_addopen(&actions, standard, "/dev/null", O_RDWR, 0);
    }
    posix_spawn_file_actions_addclosefrom_np(&actions, kHelperSocket + 1);
    posix_spawnattr_init(&attributes);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);  // a terminal's Ctrl-C is not for it
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
};

Status set_limit(__rlimit_resource_t which, rlim_t most) {
  rlimit limit{};
  if (::getrlimit(which, &limit) != 0) return system_failure("getrlimit", errno);
  limit.rlim_cur = std::min(most, limit.rlim_max);
  limit.rlim_max = limit.rlim_cur;
  if (::setrlimit(which, &limit) != 0) return system_failure("setrlimit", errno);
  return ok_status();
}

}  // namespace

Result<std::unique_ptr<HelperProcess>> HelperProcess::start(const HelperCommand& command) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return system_failure("socketpair", errno);
  std::vector<std::string> arguments = {command.program.filename().string()};
  arguments.insert(arguments.end(), command.arguments.begin(), command.arguments.end());
  std::vector<std::string> environment = kept_environment();
  const SpawnPlan plan(ends[1]);
  pid_t id = 0;
  const int error = ::posix_spawn(&id, command.program.c_str(), &plan.actions, &plan.attributes,
                                  pointers(arguments).data(), pointers(environment).data());
  ::close(ends[1]);
  if (error != 0) {
    ::close(ends[0]);
    return system_failure(("cannot start " + command.program.string()).c_str(), error);
  }
  return std::unique_ptr<HelperProcess>(new HelperProcess(id, ends[0]));
}

HelperProcess::~HelperProcess() {
  end();
  ::close(socket_);
}

Status HelperProcess::wait_for(short events, TimePoint deadline) const {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - RealClock().now()).count();
    if (left <= 0) return Status(Code::kDeadlineExceeded, "the helper process took too long");
    pollfd item{.fd = socket_, .events = events, .revents = 0};
    const int ready = ::poll(&item, 1, static_cast<int>(std::min<int64_t>(left, INT_MAX)));
    if (ready > 0) return ok_status();
    if (ready < 0 && errno != EINTR) return system_failure("poll", errno);
  }
}

Status HelperProcess::send(std::string_view frame, TimePoint deadline) {
  if (frame.size() > UINT32_MAX) return too_large(frame.size(), UINT32_MAX);
  const auto header = header_of(frame.size());
  for (std::string_view rest : {std::string_view(header.data(), header.size()), frame}) {
    while (!rest.empty()) {
      const ssize_t count = ::send(socket_, rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count >= 0) {
        rest.remove_prefix(static_cast<size_t>(count));
      } else if (errno == EAGAIN) {
        RETURN_IF_ERROR(wait_for(POLLOUT, deadline));
      } else if (errno != EINTR) {
        return gone(std::strerror(errno));
      }
    }
  }
  return ok_status();
}

Status HelperProcess::read_exactly(char* into, size_t size, TimePoint deadline) {
  while (size > 0) {
    const ssize_t count = ::recv(socket_, into, size, MSG_DONTWAIT);
    if (count > 0) {
      into += count;
      size -= static_cast<size_t>(count);
    } else if (count == 0) {
      return gone("end of file");
    } else if (errno == EAGAIN) {
      RETURN_IF_ERROR(wait_for(POLLIN, deadline));
    } else if (errno != EINTR) {
      return gone(std::strerror(errno));
    }
  }
  return ok_status();
}

Result<std::string> HelperProcess::receive(size_t bytes_max, TimePoint deadline) {
  return read_frame(bytes_max, [&](char* into, size_t size) { return read_exactly(into, size, deadline); });
}

bool HelperProcess::has_left() const {
  pollfd item{.fd = socket_, .events = POLLIN, .revents = 0};
  return ::poll(&item, 1, 0) != 0;  // between frames nothing comes but an end of file
}

HelperEnd HelperProcess::end() {
  if (id_ == 0) return end_;
  ::kill(id_, SIGKILL);  // does nothing to one that has ended
  int status = 0;
  while (::waitpid(id_, &status, 0) < 0 && errno == EINTR) {
  }
  id_ = 0;
  end_ = {.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
          .exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 0};
  return end_;
}

Status send_to_parent(std::string_view frame) {
  if (frame.size() > UINT32_MAX) return too_large(frame.size(), UINT32_MAX);
  const auto header = header_of(frame.size());
  for (std::string_view rest : {std::string_view(header.data(), header.size()), frame}) {
    while (!rest.empty()) {
      const ssize_t count = ::send(kHelperSocket, rest.data(), rest.size(), MSG_NOSIGNAL);
      if (count < 0 && errno != EINTR) return gone(std::strerror(errno));
      if (count > 0) rest.remove_prefix(static_cast<size_t>(count));
    }
  }
  return ok_status();
}

Result<std::string> receive_from_parent(size_t bytes_max) {
  return read_frame(bytes_max, [](char* into, size_t size) -> Status {
    while (size > 0) {
      const ssize_t count = ::recv(kHelperSocket, into, size, 0);
      if (count == 0) return gone("end of file");
      if (count < 0 && errno != EINTR) return gone(std::strerror(errno));
      if (count > 0) {
        into += count;
        size -= static_cast<size_t>(count);
      }
    }
    return ok_status();
  });
}

Status confine_this_process(size_t memory_bytes) {
  const size_t base = address_space_bytes();
  if (base == 0) return Status(Code::kUnavailable, "the system does not say how much memory this process has");
  ::tzset();  // the last file that it reads
  RETURN_IF_ERROR(set_limit(RLIMIT_CORE, 0));
  RETURN_IF_ERROR(set_limit(RLIMIT_FSIZE, 0));
  RETURN_IF_ERROR(set_limit(RLIMIT_NPROC, 0));
  RETURN_IF_ERROR(set_limit(RLIMIT_NOFILE, kHelperSocket + 1));
  RETURN_IF_ERROR(set_limit(RLIMIT_AS, base + memory_bytes));
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return system_failure("prctl", errno);
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return system_failure("prctl", errno);
  return ok_status();
}

Status limit_cpu_time(Duration most) {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  rlimit limit{};
  if (::getrlimit(RLIMIT_CPU, &limit) != 0) return system_failure("getrlimit", errno);
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(most).count();
  limit.rlim_cur = std::min(limit.rlim_max, static_cast<rlim_t>(used.tv_sec + 1 + seconds));
  if (::setrlimit(RLIMIT_CPU, &limit) != 0) return system_failure("setrlimit", errno);
  return ok_status();
}

size_t address_space_bytes() {
  // Pages, in the first field. Read without a file stream: this is called where no file can be opened any more, too.
  static const int descriptor = ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  std::array<char, 64> text{};
  if (descriptor < 0 || ::pread(descriptor, text.data(), text.size() - 1, 0) <= 0) return 0;
  return std::strtoull(text.data(), nullptr, 10) * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace umbel
