#include "serve/keys/glob.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace umbel::serve {
namespace {

TEST(Glob, Matches) {
  EXPECT_TRUE(glob_match("*", ""));
  EXPECT_TRUE(glob_match("*", "anything"));
  EXPECT_TRUE(glob_match("bank*-r?", "banking77-lora-r8"));
  EXPECT_FALSE(glob_match("bank*-r?", "banking77-lora-r16"));
  EXPECT_FALSE(glob_match("bank", "banking"));
  EXPECT_FALSE(glob_match("Bank*", "banking"));
  EXPECT_TRUE(glob_match("a.b", "a.b"));
  EXPECT_FALSE(glob_match("a.b", "axb"));
  EXPECT_FALSE(glob_match("", "x"));
}

bool naive(std::string_view pattern, std::string_view name) {
  if (pattern.empty()) return name.empty();
  if (pattern[0] == '*') return naive(pattern.substr(1), name) || (!name.empty() && naive(pattern, name.substr(1)));
  return !name.empty() && (pattern[0] == '?' || pattern[0] == name[0]) && naive(pattern.substr(1), name.substr(1));
}

TEST(Glob, AgreesWithTheRecursiveDefinition) {
  Random random(3);
  int matched = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string pattern, name;
    for (uint64_t n = random.next_below(7); n > 0; --n) pattern += "ab?*"[random.next_below(4)];
    for (uint64_t n = random.next_below(9); n > 0; --n) name += "ab"[random.next_below(2)];
    matched += naive(pattern, name);
    ASSERT_EQ(glob_match(pattern, name), naive(pattern, name)) << pattern << " " << name;
  }
  EXPECT_GT(matched, 1000);
}

// A hundred stars before what never comes: with backtracking over every star this would not end.
TEST(Glob, NoPatternExplodes) {
  std::string pattern;
  for (int i = 0; i < 99; ++i) pattern += "*a";
  EXPECT_FALSE(glob_match(pattern + "*b", std::string(20000, 'a')));
}

TEST(Glob, WhatMeansSomethingElsewhereIsRefused) {
  for (const char* pattern : {"", "team-[ab]", "{a,b}", "a\\*", "a\nb", "\xff"}) EXPECT_FALSE(check_glob(pattern).ok()) << pattern;
  EXPECT_FALSE(check_glob(std::string(201, 'a')).ok());
  EXPECT_TRUE(check_glob("team-*").ok());
}

}  // namespace
}  // namespace umbel::serve
