// CHECK: our own mistakes stop the program, in release builds too (house habit 5). A stranger's input is never a CHECK.
#pragma once

namespace umbel {

// Prints file, line, the condition and the sentence to stderr, then aborts.
[[noreturn]] void check_failed(const char* file, int line, const char* condition, const char* sentence);

}  // namespace umbel

#define CHECK(condition, sentence)                                                            \
  do {                                                                                        \
    if (!(condition)) ::umbel::check_failed(__FILE__, __LINE__, #condition, sentence);        \
  } while (false)

#ifdef NDEBUG
#define DCHECK(condition, sentence) \
  do {                              \
    (void)sizeof(condition);        \
  } while (false)
#else
#define DCHECK(condition, sentence) CHECK(condition, sentence)
#endif
