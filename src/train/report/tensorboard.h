// TensorBoard event files: what TensorBoard's "scalars" page reads. Pure functions from values to bytes.
//
// Source: the TFRecord framing (u64 length, masked CRC32C of the length, data, masked CRC32C of the data; little-endian) and
// TensorFlow's event.proto / summary.proto. Written here: Event{wall_time = 1, step = 2, file_version = 3, summary = 5},
// Summary{value = 1}, Value{tag = 1, simple_value = 2}.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace umbel::train {

// CRC-32C (Castagnoli, reflected 0x82F63B78), and the form that TFRecord stores: rotated right by 15, plus 0xA282EAD8.
uint32_t crc32c(std::string_view bytes);
uint32_t masked_crc32c(std::string_view bytes);

// The record that a file begins with. wall_seconds: since the epoch.
std::string tensorboard_header(double wall_seconds);

struct TensorboardScalar {
  double wall_seconds = 0;  // since the epoch
  int64_t step = 0;
  std::string tag;          // UTF-8; "train/loss"
  float value = 0;
};
// One record.
std::string tensorboard_record(const TensorboardScalar& scalar);

// TensorBoard finds files by "tfevents" in their names.
inline constexpr const char* kTensorboardFileName = "events.out.tfevents.umbel";

}  // namespace umbel::train
