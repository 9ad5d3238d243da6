#include "io/gguf.h"

#include <bit>
#include <cstring>

namespace umbel {
namespace {

constexpr uint32_t kVersion = 3;
constexpr uint64_t kAlignment = 32;
constexpr size_t kNameMax = 63;
// Types of values, and of tensors.
constexpr uint32_t kU32 = 4, kF32 = 6, kString = 8;
constexpr uint32_t kTensorF32 = 0, kTensorF16 = 1, kTensorBf16 = 30;

static_assert(std::endian::native == std::endian::little, "numbers are written as they are in memory");

template <typename T>
void put(std::string& text, T number) {
  char bytes[sizeof number];
  std::memcpy(bytes, &number, sizeof number);
  text.append(bytes, sizeof number);
}

void put_string(std::string& text, const std::string& value) {
  put(text, static_cast<uint64_t>(value.size()));
  text += value;
}

uint64_t padded(uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

Result<uint32_t> tensor_type(const std::string& name, DType dtype) {
  switch (dtype) {
    case DType::kF32: return kTensorF32;
    case DType::kF16: return kTensorF16;
    case DType::kBF16: return kTensorBf16;
    default: return unsupported("the tensor " + name + " has type " + std::string(dtype_name(dtype)) + ", GGUF takes f32, f16 or bf16 here");
  }
}

void put_value(std::string& text, const GgufValue& value) {
  if (const std::string* string = std::get_if<std::string>(&value)) {
    put(text, kString);
    put_string(text, *string);
  } else if (const float* number = std::get_if<float>(&value)) {
    put(text, kF32);
    put(text, *number);
  } else {
    put(text, kU32);
    put(text, std::get<uint32_t>(value));
  }
}

}  // namespace

Status write_gguf(const Path& file, const std::vector<std::pair<std::string, GgufValue>>& values,
                  const std::map<std::string, TensorView>& tensors) {
  std::string head = "GGUF";
  put(head, kVersion);
  put(head, static_cast<uint64_t>(tensors.size()));
  put(head, static_cast<uint64_t>(values.size()));
  for (const auto& [key, value] : values) {
    put_string(head, key);
    put_value(head, value);
  }
  uint64_t offset = 0;
  for (const auto& [name, view] : tensors) {
    if (name.size() > kNameMax) return Status(Code::kTooLong, "the tensor name " + name + " is longer than " + std::to_string(kNameMax) + " bytes");
    ASSIGN_OR_RETURN(const uint32_t type, tensor_type(name, view.dtype));
    put_string(head, name);
    put(head, static_cast<uint32_t>(view.shape.size()));
    for (auto size = view.shape.rbegin(); size != view.shape.rend(); ++size) put(head, static_cast<uint64_t>(*size));
    put(head, type);
    put(head, offset);
    offset += padded(view.bytes());
  }
  head.append(padded(head.size()) - head.size(), '\0');
  ASSIGN_OR_RETURN(AtomicFile target, AtomicFile::create(file));
  RETURN_IF_ERROR(target.append(head));
  const std::string zeros(kAlignment, '\0');
  for (const auto& [name, view] : tensors) {
    RETURN_IF_ERROR(target.append({static_cast<const char*>(view.data), view.bytes()}));
    RETURN_IF_ERROR(target.append(std::string_view(zeros).substr(0, padded(view.bytes()) - view.bytes())));
  }
  return target.commit();
}

}  // namespace umbel
