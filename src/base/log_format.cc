#include "base/log_format.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <string>

namespace umbel {
namespace {

// The payload is printable UTF-8 already (base/log.cc): quotation marks and backslashes are what JSON wants escaped.
class JsonMessage final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& record, const std::tm&, spdlog::memory_buf_t& out) override {
    for (const char c : record.payload) {
      if (c == '"' || c == '\\') out.push_back('\\');
      out.push_back(c);
    }
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<JsonMessage>(); }
};

}  // namespace

void set_log_format(const LogFormat& format) {
  const bool utc = format.zone == LogFormat::Zone::kUtc;
  std::string pattern = "%Y-%m-%dT%H:%M:%S.%e";
  if (format.shape == LogFormat::Shape::kText) {
    pattern += std::string(utc ? "Z" : "") + " %^%L%$ %v";
  } else {
    pattern = R"({"time":")" + pattern + (utc ? "Z" : "%z") + R"(","level":"%l","message":"%*"})";
  }
  auto formatter = std::make_unique<spdlog::pattern_formatter>(utc ? spdlog::pattern_time_type::utc : spdlog::pattern_time_type::local);
  formatter->add_flag<JsonMessage>('*').set_pattern(pattern);
  spdlog::set_formatter(std::move(formatter));
}

}  // namespace umbel
