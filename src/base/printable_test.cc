#include "base/printable.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "base/utf8.h"

namespace umbel {
namespace {

bool is_utf8_text(std::string_view text) {
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

TEST(Printable, LeavesOrdinaryTextAlone) {
  for (const char* text : {"", "layers.0.self_attn.q_proj", "C:\\models", "é ü ß 漢字 हिन्दी 👩‍👧 \"quoted\""}) EXPECT_EQ(printable(text), text);
}

TEST(Printable, ANameCannotWriteALineOfItsOwn) {
  EXPECT_EQ(printable("x\n2026-01-01T00:00:00.000 I fake\r\ty"), "x\\n2026-01-01T00:00:00.000 I fake\\r\\ty");
  EXPECT_EQ(printable("a\xe2\x80\xa8" "b\xe2\x80\xa9" "c\xc2\x85" "d"), "a\\u{2028}b\\u{2029}c\\u{85}d");
}

TEST(Printable, ANameCannotDriveTheTerminal) {
  EXPECT_EQ(printable("\x1b[31mred\x07\x7f"), "\\x1b[31mred\\x07\\x7f");
  EXPECT_EQ(printable("\xc2\x9b" "31m"), "\\u{9b}31m");
  EXPECT_EQ(printable(std::string_view("a\0b", 3)), "a\\x00b");
}

TEST(Printable, ANameCannotTurnTheReadingDirectionOrHide) {
  EXPECT_EQ(printable("user\xe2\x80\xae" "nimda"), "user\\u{202e}nimda");
  EXPECT_EQ(printable("\xe2\x81\xa6" "a\xe2\x80\x8b" "b\xef\xbb\xbf" "c\xf3\xa0\x81\x81"), "\\u{2066}a\\u{200b}b\\u{feff}c\\u{e0041}");
}

TEST(Printable, BytesThatAreNoTextAreShownAsNumbers) {
  EXPECT_EQ(printable("a\xff\xc3("), "a\\xff\\xc3(");
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");           // an overlong slash
}

TEST(Printable, ALongTextKeepsItsBeginningItsEndAndItsSize) {
  const std::string text = "the tensor " + std::string(1'000'000, 'n') + " is missing; add it";
  const std::string shown = printable(text, 200);
  EXPECT_LE(shown.size(), 200u);
  EXPECT_TRUE(shown.starts_with("the tensor nnn")) << shown;
  EXPECT_TRUE(shown.ends_with("n is missing; add it")) << shown;
  EXPECT_NE(shown.find("(" + std::to_string(text.size()) + " bytes)"), std::string::npos) << shown;
}

TEST(Printable, BrokenLinesAreIndentedOrKeptWhenAsked) {
  EXPECT_EQ(printable("2 problems:\n  one\ntwo", 100, LineBreaks::kIndented), "2 problems:\n  one\n  two");
  EXPECT_EQ(printable("a\n\tb\x1b", 100, LineBreaks::kKept), "a\n\tb\\x1b");
}

TEST(Printable, AnyBytesGiveBoundedTextWithoutControls) {
  Random random(7);
  for (int round = 0; round < 3000; ++round) {
    std::string text(random.next_below(300), '\0');
    for (char& c : text) c = static_cast<char>(random.next_below(2) ? random.next_below(256) : "\n\x1b\xc2\x9b\xe2\x80\xae""a"[random.next_below(8)]);
    const size_t length_max = random.next_below(200);
    const std::string shown = printable(text, length_max);
    ASSERT_LE(shown.size(), length_max);
    ASSERT_TRUE(is_utf8_text(shown));
    for (const char c : shown) ASSERT_GE(static_cast<unsigned char>(c), 0x20);
    ASSERT_EQ(shown.find('\x7f'), std::string::npos);
    ASSERT_EQ(shown.find("\xe2\x80\xae"), std::string::npos);
  }
}

}  // namespace
}  // namespace umbel
