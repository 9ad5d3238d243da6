// Running the program itself, as a user would: UMBEL_PROGRAM names it (set by CMake).
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "io/file.h"
#include "io/json.h"
#include "load/client.h"

namespace umbel::testing {

inline Path project_dir() {
  const char* dir = std::getenv("UMBEL_SOURCE_DIR");
  return dir != nullptr ? Path(dir) : Path(".");
}

inline std::string program() {
  const char* path = std::getenv("UMBEL_PROGRAM");
  return path != nullptr ? path : "umbel";
}

// A folder over another, files replaced.
inline constexpr auto kReplace = std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing;

struct Finished {
  int status = -1;     // exit status
  std::string out;     // standard output
  std::string error;   // standard error
};

// arguments: a shell line. input: standard input.
inline Finished run_program(const std::string& arguments, const std::string& input = "") {
  std::string pattern = (std::filesystem::temp_directory_path() / "umbel_run_XXXXXX").string();
  const Path dir = mkdtemp(pattern.data());
  std::ofstream(dir / "in") << input;
  const std::string line = program() + " " + arguments + " < " + (dir / "in").string() + " > " + (dir / "out").string() + " 2> " +
                           (dir / "err").string();
  const int raw = std::system(line.c_str());
  Finished run{.status = WIFEXITED(raw) ? WEXITSTATUS(raw) : -1};
  run.out = read_file(dir / "out").value();
  run.error = read_file(dir / "err").value();
  std::filesystem::remove_all(dir);
  return run;
}

// A server of its own process on a free port, ended by SIGTERM.
class ServerProcess {
 public:
  // arguments: more of them.
  explicit ServerProcess(const std::string& adapters, std::vector<std::string> arguments = {}) {
    const std::string path = program();
    std::vector<std::string> words = {path, "serve", "seedling", "--adapters", adapters, "--port", "0", "--log-level", "warn", "--kv-bytes", "64MB"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    int pipe_ends[2];
    CHECK(pipe(pipe_ends) == 0, "a pipe for the server's greeting");
    child_ = fork();
    if (child_ == 0) {
      dup2(pipe_ends[1], STDOUT_FILENO);
      execv(path.c_str(), argv.data());
      _exit(127);
    }
    close(pipe_ends[1]);
    FILE* greeting = fdopen(pipe_ends[0], "r");
    std::array<char, 1000> line{};
    if (fgets(line.data(), line.size(), greeting) != nullptr) greeting_ = line.data();
    fclose(greeting);
  }
  ~ServerProcess() { stop(); }
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  // Its exit status.
  int stop(int signal = SIGTERM) {
    if (child_ <= 0) return status_;
    kill(child_, signal);
    return wait();
  }
  // A second signal while it drains.
  int stop_at_once() {
    kill(child_, SIGTERM);
    std::this_thread::sleep_for(std::chrono::milliseconds(200));  // two at the same moment would be one
    return stop();
  }
  int wait() {
    int raw = 0;
    waitpid(child_, &raw, 0);
    child_ = -1;
    return status_ = WIFEXITED(raw) ? WEXITSTATUS(raw) : -1;
  }
  pid_t pid() const { return child_; }
  const std::string& greeting() const { return greeting_; }
  // "http://127.0.0.1:PORT", out of the greeting.
  std::string url() const {
    const size_t begin = greeting_.find("http://");
    return begin == std::string::npos ? "" : greeting_.substr(begin, greeting_.find(' ', begin) - begin);
  }

 private:
  pid_t child_ = -1;
  int status_ = -1;
  std::string greeting_;
};

}  // namespace umbel::testing
