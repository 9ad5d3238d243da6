#include "base/check.h"

#include <cstdio>
#include <cstdlib>

#include "base/printable.h"

namespace umbel {

void check_failed(const char* file, int line, const char* condition, const char* sentence) {
  std::fprintf(stderr, "umbel: internal error at %s:%d: %s (%s)\n", file, line, printable(sentence).c_str(), condition);
  std::fflush(stderr);
  std::abort();
}

}  // namespace umbel
