#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

namespace umbel {

bool set_log_level(const std::string& level) {
  const auto parsed = spdlog::level::from_str(level);
  if (parsed == spdlog::level::off && level != "off") return false;
  spdlog::set_level(parsed);
  return true;
}

void init_log() {
  if (!spdlog::get("umbel")) spdlog::set_default_logger(spdlog::stderr_color_mt("umbel"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%L%$ %v");
}

}  // namespace umbel
