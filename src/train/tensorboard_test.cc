// Event files against a decoder of their own, written from the format's description, and against check values from elsewhere.
#include "train/tensorboard.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <optional>
#include <vector>

namespace umbel {
namespace {

struct Event {
  double wall = 0;
  int64_t step = 0;
  std::string version;
  std::map<std::string, float> values;
};

template <typename T>
T read_as(std::string_view bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

// Bit by bit: the definition, not a table.
uint32_t slow_crc32c(std::string_view bytes) {
  uint32_t crc = ~0u;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int k = 0; k < 8; ++k) crc = (crc & 1u) ? (crc >> 1) ^ 0x82F63B78u : crc >> 1;
  }
  return ~crc;
}
uint32_t mask(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u; }

struct Field {
  uint32_t number;
  uint64_t varint;
  std::string_view bytes;
};
std::vector<Field> fields(std::string_view message) {
  std::vector<Field> all;
  size_t at = 0;
  const auto varint = [&] {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(message.at(at++));
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.size()) {
    const uint64_t key = varint();
    Field field{.number = static_cast<uint32_t>(key >> 3), .varint = 0, .bytes = {}};
    const uint64_t wire = key & 7;
    if (wire == 0) {
      field.varint = varint();
    } else {
      const size_t size = wire == 1 ? 8 : wire == 5 ? 4 : varint();
      field.bytes = message.substr(at, size);
      EXPECT_EQ(field.bytes.size(), size);
      at += size;
    }
    all.push_back(field);
  }
  return all;
}

std::optional<std::vector<Event>> decode(std::string_view file) {
  std::vector<Event> events;
  for (size_t at = 0; at < file.size();) {
    if (file.size() - at < 16) return std::nullopt;
    const auto length = read_as<uint64_t>(file, at);
    if (read_as<uint32_t>(file, at + 8) != mask(slow_crc32c(file.substr(at, 8)))) return std::nullopt;
    const std::string_view data = file.substr(at + 12, length);
    if (read_as<uint32_t>(file, at + 12 + length) != mask(slow_crc32c(data))) return std::nullopt;
    at += 16 + length;
    Event& event = events.emplace_back();
    for (const Field& field : fields(data)) {
      if (field.number == 1) event.wall = read_as<double>(field.bytes, 0);
      if (field.number == 2) event.step = static_cast<int64_t>(field.varint);
      if (field.number == 3) event.version = field.bytes;
      if (field.number != 5) continue;
      for (const Field& value : fields(field.bytes)) {
        std::string tag;
        for (const Field& part : fields(value.bytes)) {
          if (part.number == 1) tag = part.bytes;
          if (part.number == 2) event.values[tag] = read_as<float>(part.bytes, 0);
        }
      }
    }
  }
  return events;
}

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
    if (!length_field) EXPECT_FALSE(decode(bad).has_value()) << i;
  }
}

}  // namespace
}  // namespace umbel
