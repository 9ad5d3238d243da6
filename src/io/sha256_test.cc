#include "io/sha256.h"

#include <gtest/gtest.h>

namespace umbel {
namespace {

// FIPS 180-4 examples.
TEST(Sha256, KnownDigestsInAnyPieces) {
  EXPECT_EQ(Sha256().hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const std::string text = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    Sha256 digest;
    digest.add(text.data(), cut);
    digest.add(text.data() + cut, text.size() - cut);
    EXPECT_EQ(digest.hex(), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  }
}

TEST(Sha256, TextsDoNotRunIntoEachOther) {
  const auto digest = [](std::string_view a, std::string_view b) {
    Sha256 sum;
    sum.add_text(a);
    sum.add_text(b);
    return sum.hex();
  };
  EXPECT_NE(digest("ab", "c"), digest("a", "bc"));
  EXPECT_EQ(digest("ab", "c"), digest("ab", "c"));
}

}  // namespace
}  // namespace umbel
