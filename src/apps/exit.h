// How a verb ends: 0, or one clear line on stderr and 2 when the world failed (bad flag, missing folder, port in use).
#pragma once

#include <cstdio>

#include "base/printable.h"
#include "base/status.h"

namespace umbel::apps {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 2;
inline constexpr int kExitInterrupted = 130;  // as a shell says of SIGINT

// Prints "umbel: MESSAGE" (base/printable.h: what strangers wrote stays inside it) and gives the exit status that belongs to it.
inline int finish(const Status& status) {
  if (status.ok()) return kExitOk;
  std::fprintf(stderr, "umbel: %s\n", printable(status.message(), kPrintableReportMax, LineBreaks::kIndented).c_str());
  return kExitFailed;
}

}  // namespace umbel::apps
