// UMBEL_SANITIZED: 1 in a sanitizer's build, which has allocators, addresses and times of its own; else 0.
#pragma once

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)  // g++
#define UMBEL_SANITIZED 1
#elif defined(__has_feature)  // clang
#define UMBEL_SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define UMBEL_SANITIZED 0
#endif
