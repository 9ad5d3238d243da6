#include "train/report/tensorboard.h"

#include <array>
#include <bit>

namespace umbel::train {
namespace {

constexpr std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = (value & 1u) != 0 ? (value >> 1) ^ 0x82F63B78u : value >> 1;
    table[byte] = value;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kTable = make_table();

template <typename Word>
void put_little_endian(std::string& out, Word word) {
  for (size_t i = 0; i < sizeof word; ++i) out += static_cast<char>((word >> (8 * i)) & 0xFF);
}

// Protobuf's wire types.
enum class Wire : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7F) | 0x80);
  out += static_cast<char>(value);
}
void put_key(std::string& out, uint32_t field, Wire wire) { put_varint(out, field << 3 | static_cast<uint32_t>(wire)); }
void put_bytes(std::string& out, uint32_t field, std::string_view bytes) {
  put_key(out, field, Wire::kBytes);
  put_varint(out, bytes.size());
  out += bytes;
}

std::string event_begin(double wall_seconds) {
  std::string event;
  put_key(event, 1, Wire::kFixed64);
  put_little_endian(event, std::bit_cast<uint64_t>(wall_seconds));
  return event;
}

std::string framed(const std::string& data) {
  std::string length, record;
  put_little_endian(length, static_cast<uint64_t>(data.size()));
  record = length;
  put_little_endian(record, masked_crc32c(length));
  record += data;
  put_little_endian(record, masked_crc32c(data));
  return record;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = 0xFFFFFFFFu;
  for (const char c : bytes) crc = kTable[(crc ^ static_cast<unsigned char>(c)) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

uint32_t masked_crc32c(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xA282EAD8u; }

std::string tensorboard_header(double wall_seconds) {
  std::string event = event_begin(wall_seconds);
  put_bytes(event, 3, "brain.Event:2");
  return framed(event);
}

std::string tensorboard_record(const TensorboardScalar& scalar) {
  std::string value, summary;
  put_bytes(value, 1, scalar.tag);
  put_key(value, 2, Wire::kFixed32);
  put_little_endian(value, std::bit_cast<uint32_t>(scalar.value));
  put_bytes(summary, 1, value);
  std::string event = event_begin(scalar.wall_seconds);
  put_key(event, 2, Wire::kVarint);
  put_varint(event, static_cast<uint64_t>(scalar.step));
  put_bytes(event, 5, summary);
  return framed(event);
}

}  // namespace umbel::train
