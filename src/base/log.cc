#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

#include "base/log_format.h"
#include "base/printable.h"

namespace umbel {
namespace {

// A record is one line of bounded length, whatever the names in it hold.
class OneLineSink final : public spdlog::sinks::stderr_color_sink_mt {
 public:
  void log(const spdlog::details::log_msg& record) override {
    const std::string text = printable({record.payload.data(), record.payload.size()});
    spdlog::details::log_msg clean = record;
    clean.payload = text;
    spdlog::sinks::stderr_color_sink_mt::log(clean);
  }
};

}  // namespace

bool set_log_level(const std::string& level) {
  const auto parsed = spdlog::level::from_str(level);
  if (parsed == spdlog::level::off && level != "off") return false;
  spdlog::set_level(parsed);
  return true;
}

void init_log() {
  constexpr const char* kName = "umbel";
  if (!spdlog::get(kName)) spdlog::set_default_logger(std::make_shared<spdlog::logger>(kName, std::make_shared<OneLineSink>()));
  set_log_format({});
}

}  // namespace umbel
