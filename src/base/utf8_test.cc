#include "base/utf8.h"

#include <gtest/gtest.h>

namespace umbel {
namespace {

TEST(Utf8, ACutIsNeverInsideACharacter) {
  const std::string_view text = "a\u00e9\u20ac\U0001F33Cz";  // 1, 2, 3, 4 and 1 bytes
  EXPECT_EQ(utf8_count(text), 5u);
  const size_t kept[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};
  for (size_t bytes = 0; bytes < std::size(kept); ++bytes) EXPECT_EQ(utf8_head(text, bytes).size(), kept[bytes]) << bytes;
  EXPECT_EQ(utf8_head("\x80\x80\x80", 2), "");  // no character begins there
}

TEST(Utf8, OnlyWhatRfc3629AllowsIsACharacter) {
  for (const char* good : {"a", "\u00e9", "\u20ac", "\U0001F33C", "\U0010FFFF"}) EXPECT_EQ(utf8_length(good), std::string_view(good).size()) << good;
  for (const char* bad : {"\x80", "\xc0\xaf", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff", "\xe2\x82 "}) EXPECT_EQ(utf8_length(bad), 0u) << bad;
}

}  // namespace
}  // namespace umbel
