// Log lines with a level, on stderr, through spdlog. Any thread. A record is one line of at most kPrintableLineMax bytes, with
// what strangers wrote into it escaped (base/printable.h), so callers pass names and messages as they are.
#pragma once

#include <spdlog/spdlog.h>

#include <string>

namespace umbel {

// level: trace, debug, info, warn, error, off. Unknown names give false and change nothing.
bool set_log_level(const std::string& level);

// Sets the pattern and sends everything to stderr (stdout belongs to answers). Called once by main.
void init_log();

}  // namespace umbel

#define LOG_DEBUG(...) SPDLOG_DEBUG(__VA_ARGS__)
#define LOG_INFO(...) ::spdlog::info(__VA_ARGS__)
#define LOG_WARN(...) ::spdlog::warn(__VA_ARGS__)
#define LOG_ERROR(...) ::spdlog::error(__VA_ARGS__)
