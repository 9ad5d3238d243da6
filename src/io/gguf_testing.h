// A reader of GGUF files written for the tests, from the format's description and not from our writer.
// Included by *_test.cc only.
#pragma once

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "io/file.h"

namespace umbel::testing {

struct GgufTensor {
  std::vector<uint64_t> dimensions;  // the fastest first
  uint32_t type = 0;                 // 0 f32, 1 f16, 30 bf16
  std::string bytes;
};

struct GgufFile {
  uint32_t version = 0;
  std::map<std::string, std::string> texts;
  std::map<std::string, float> floats;
  std::map<std::string, uint32_t> numbers;
  std::map<std::string, GgufTensor> tensors;
};

class GgufReader {
 public:
  static GgufFile read(const Path& path) { return GgufReader(read_file(path).value()).parse(); }

 private:
  explicit GgufReader(std::string bytes) : bytes_(std::move(bytes)) {}
  template <typename T>
  T number() {
    CHECK(at_ + sizeof(T) <= bytes_.size(), "the file goes on");
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }
  std::string text() {
    const auto size = number<uint64_t>();
    at_ += size;
    return bytes_.substr(at_ - size, size);
  }
  GgufFile parse() {
    GgufFile file;
    CHECK(bytes_.substr(0, 4) == "GGUF", "the magic");
    at_ = 4;
    file.version = number<uint32_t>();
    const auto tensors = number<uint64_t>(), values = number<uint64_t>();
    for (uint64_t i = 0; i < values; ++i) {
      const std::string key = text();
      const auto type = number<uint32_t>();
      if (type == 8) file.texts[key] = text();
      if (type == 6) file.floats[key] = number<float>();
      if (type == 4) file.numbers[key] = number<uint32_t>();
    }
    std::map<std::string, uint64_t> offsets;
    for (uint64_t i = 0; i < tensors; ++i) {
      const std::string name = text();
      GgufTensor& tensor = file.tensors[name];
      tensor.dimensions.resize(number<uint32_t>());
      for (uint64_t& size : tensor.dimensions) size = number<uint64_t>();
      tensor.type = number<uint32_t>();
      offsets[name] = number<uint64_t>();
      CHECK(offsets[name] % 32 == 0, "data is aligned");
    }
    const uint64_t data = (at_ + 31) / 32 * 32;
    for (auto& [name, tensor] : file.tensors) {
      uint64_t bytes = tensor.type == 0 ? 4 : 2;
      for (const uint64_t size : tensor.dimensions) bytes *= size;
      CHECK(data + offsets[name] + bytes <= bytes_.size(), "the data is there");
      tensor.bytes = bytes_.substr(data + offsets[name], bytes);
    }
    return file;
  }

  std::string bytes_;
  size_t at_ = 0;
};

}  // namespace umbel::testing
