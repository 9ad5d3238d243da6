#include "base/utc.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>

namespace umbel {
namespace {

constexpr int64_t kFirstSecond = -62167219200;  // 0000-01-01T00:00:00Z
constexpr int64_t kLastSecond = 253402300799;   // 9999-12-31T23:59:59Z

// Digits only, the whole of text.
bool read_number(std::string_view text, int& value) {
  value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    value = value * 10 + (c - '0');
  }
  return !text.empty();
}

bool read_date(std::string_view text, int64_t& seconds) {
  int year = 0, month = 0, day = 0;
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return false;
  if (!read_number(text.substr(0, 4), year) || !read_number(text.substr(5, 2), month) ||
      !read_number(text.substr(8, 2), day))
    return false;
  const std::chrono::year_month_day date(std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day)));
  if (!date.ok()) return false;
  seconds = int64_t{std::chrono::sys_days(date).time_since_epoch().count()} * 86400;
  return true;
}

bool read_time(std::string_view text, int64_t& seconds) {
  int hour = 0, minute = 0, second = 0;
  if (text.size() != 10 || text[0] != 'T' || text[3] != ':' || text[6] != ':' || text[9] != 'Z') return false;
  if (!read_number(text.substr(1, 2), hour) || !read_number(text.substr(4, 2), minute) ||
      !read_number(text.substr(7, 2), second))
    return false;
  if (hour > 23 || minute > 59 || second > 59) return false;
  seconds = hour * 3600 + minute * 60 + second;
  return true;
}

}  // namespace

int64_t utc_now_ms() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(since).count();
}

std::string utc_text_seconds(int64_t seconds) {
  seconds = std::clamp(seconds, kFirstSecond, kLastSecond);
  const std::chrono::sys_seconds moment{std::chrono::seconds(seconds)};
  const auto day = std::chrono::floor<std::chrono::days>(moment);
  const std::chrono::year_month_day date(day);
  const int64_t rest = (moment - day).count();
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), static_cast<int>(rest / 3600),
                static_cast<int>(rest / 60 % 60), static_cast<int>(rest % 60));
  return text.data();
}

std::string utc_text(int64_t milliseconds) {
  milliseconds = std::clamp(milliseconds, kFirstSecond * 1000, kLastSecond * 1000 + 999);
  int64_t seconds = milliseconds / 1000, rest = milliseconds % 1000;
  if (rest < 0) {
    rest += 1000;
    --seconds;
  }
  std::string text = utc_text_seconds(seconds);
  std::string digits = std::to_string(rest);
  text.insert(text.size() - 1, "." + std::string(3 - digits.size(), '0') + digits);
  return text;
}

Result<int64_t> parse_utc(std::string_view text) {
  int64_t date = 0, time = 0;
  const bool read = text.size() == 10 ? read_date(text, date)
                                      : text.size() == 20 && read_date(text.substr(0, 10), date) &&
                                            read_time(text.substr(10), time);
  if (read) return date + time;
  return invalid_argument("expected a date or a moment in UTC, as 2027-01-31 or 2027-01-31T12:00:00Z");
}

}  // namespace umbel
