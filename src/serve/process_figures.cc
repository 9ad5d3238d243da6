#include "serve/process_figures.h"

#include <dirent.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

namespace umbel::serve {
namespace {

// Fields of /proc/self/stat (proc(5)) behind the program's name, which may hold blanks: field 3 is at 0.
std::vector<std::string> stat_fields() {
  std::ifstream file("/proc/self/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return {};
  std::istringstream rest(text.substr(name_end + 1));
  return {std::istream_iterator<std::string>(rest), std::istream_iterator<std::string>()};
}

double clock_seconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

int open_fds() {
  DIR* folder = opendir("/proc/self/fd");
  if (folder == nullptr) return 0;
  int count = 0;
  while (const dirent* entry = readdir(folder)) count += entry->d_name[0] != '.' ? 1 : 0;
  closedir(folder);
  return count - 1;  // the folder's own
}

}  // namespace

ProcessFigures process_figures() {
  ProcessFigures figures{.cpu_seconds = clock_seconds(CLOCK_PROCESS_CPUTIME_ID), .open_fds = open_fds()};
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) figures.max_fds = static_cast<double>(limit.rlim_cur);
  const std::vector<std::string> fields = stat_fields();
  if (fields.size() <= 20) return figures;
  figures.threads = std::atoi(fields[17].c_str());
  const double since_boot = std::strtod(fields[19].c_str(), nullptr) / static_cast<double>(sysconf(_SC_CLK_TCK));
  figures.start_time_seconds = clock_seconds(CLOCK_REALTIME) - clock_seconds(CLOCK_BOOTTIME) + since_boot;
  figures.virtual_bytes = std::strtoull(fields[20].c_str(), nullptr, 10);
  return figures;
}

}  // namespace umbel::serve
