// LogFormat: how log lines look (base/log.h): for people, or one JSON object a line for whoever collects them.
#pragma once

#include <cstdint>

namespace umbel {

struct LogFormat {
  // kText: "2026-12-01T02:30:00.123 I message"; kJson: {"time": "...", "level": "info", "message": "..."}, UTF-8.
  enum class Shape : uint8_t { kText, kJson };
  // kLocal: the machine's; in JSON with its offset from UTC. kUtc: "...Z".
  enum class Zone : uint8_t { kLocal, kUtc };
  Shape shape = Shape::kText;
  Zone zone = Zone::kLocal;
};

// From now on; any thread, but lines that are being written may still look as before. REQUIRES init_log().
void set_log_format(const LogFormat& format);

}  // namespace umbel
