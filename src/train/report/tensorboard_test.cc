// Event files against a decoder of their own, written from the format's description, and against check values from elsewhere.
#include "train/report/tensorboard.h"

#include <gtest/gtest.h>

#include <vector>

#include "train/report/tensorboard_testing.h"

namespace umbel::train {
namespace {

using testing_tensorboard::decode;
using testing_tensorboard::Event;
using testing_tensorboard::mask;

TEST(TensorBoard, ChecksumsAreTheKnownOnes) {
  // RFC 3720, appendix B.4: 32 zero bytes, 32 0xFF bytes, 0 .. 31; and the usual check value.
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
  std::string rising;
  for (char c = 0; c < 32; ++c) rising += c;
  EXPECT_EQ(crc32c(rising), 0x46DD794Eu);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(masked_crc32c("123456789"), mask(0xE3069283u));
}

TEST(TensorBoard, AFileReadsBackAsWritten) {
  std::string file = tensorboard_header(1.5e9);
  const std::vector<TensorboardScalar> scalars{{1.5e9 + 1, 1, "train/loss", 2.25f}, {1.5e9 + 2.5, 300, "eval/loss", -1e-20f},
                                               {2e9, int64_t{1} << 40, "grösse \"<&", 1e30f}};
  for (const TensorboardScalar& scalar : scalars) file += tensorboard_record(scalar);
  const auto events = decode(file);
  ASSERT_TRUE(events.has_value());
  ASSERT_EQ(events->size(), 4u);
  EXPECT_EQ(events->at(0).version, "brain.Event:2");
  EXPECT_EQ(events->at(0).wall, 1.5e9);
  for (size_t i = 0; i < scalars.size(); ++i) {
    const Event& event = events->at(i + 1);
    EXPECT_EQ(event.wall, scalars[i].wall_seconds);
    EXPECT_EQ(event.step, scalars[i].step);
    ASSERT_EQ(event.values.size(), 1u);
    EXPECT_EQ(event.values.begin()->first, scalars[i].tag);
    EXPECT_EQ(event.values.begin()->second, scalars[i].value);
  }
}

TEST(TensorBoard, EveryFlippedBitIsNoticedByTheReader) {
  const std::string file = tensorboard_header(1) + tensorboard_record({.wall_seconds = 2, .step = 3, .tag = "a", .value = 4});
  ASSERT_TRUE(decode(file).has_value());
  for (size_t i = 8; i < file.size(); ++i) {  // a flipped length may point anywhere; its checksum is behind it
    std::string bad = file;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    const bool length_field = i >= tensorboard_header(1).size() && i < tensorboard_header(1).size() + 8;
    if (length_field) continue;
    EXPECT_FALSE(decode(bad).has_value()) << i;
  }
}

}  // namespace
}  // namespace umbel::train
