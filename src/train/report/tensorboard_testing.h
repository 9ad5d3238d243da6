// For tests: a reader of TensorBoard event files that shares nothing with the writer (from the formats' descriptions).
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace umbel::train::testing_tensorboard {

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
inline uint32_t slow_crc32c(std::string_view bytes) {
  uint32_t crc = ~0u;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int k = 0; k < 8; ++k) crc = (crc & 1u) ? (crc >> 1) ^ 0x82F63B78u : crc >> 1;
  }
  return ~crc;
}
inline uint32_t mask(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u; }

struct Field {
  uint32_t number;
  uint64_t varint;
  std::string_view bytes;
};
inline std::vector<Field> fields(std::string_view message) {
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

// Nothing when a frame is cut or a checksum is wrong.
inline std::optional<std::vector<Event>> decode(std::string_view file) {
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

}  // namespace umbel::train::testing_tensorboard
