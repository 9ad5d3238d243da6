// UTC as text and back, for what people read and write: log lines, expiry dates. Pure but for utc_now_ms; no time zones,
// no locale. Durations and deadlines are measured with base/clock.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace umbel {

// Milliseconds since 1970-01-01T00:00:00Z by the system's calendar clock, which may be set back.
int64_t utc_now_ms();

// "2026-11-30T22:30:00.123Z" (RFC 3339). Years outside 0000 to 9999 are held at the nearest end.
std::string utc_text(int64_t milliseconds);
// "2026-11-30T22:30:00Z"
std::string utc_text_seconds(int64_t seconds);

// "2027-01-31" (its first moment), "2027-01-31T12:00:00Z": seconds since 1970. kInvalidArgument with both forms for
// anything else, days that no month has included.
Result<int64_t> parse_utc(std::string_view text);

}  // namespace umbel
