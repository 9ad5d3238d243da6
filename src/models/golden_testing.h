// What golden tests share: where the project and the real inputs are, tiny checkpoints of
// tools/record_model_goldens.py, and how close two rows of logits are. Included by tests only.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/random.h"
#include "io/file.h"
#include "io/json.h"
#include "io/safetensors.h"

namespace umbel::testing {

inline Path source_dir() {
  const char* dir = std::getenv("UMBEL_SOURCE_DIR");
  return dir != nullptr ? Path(dir) : Path(".");
}

// The folder of real inputs, or an empty path: tests that need it are skipped then.
inline Path data_dir() {
  const char* given = std::getenv("UMBEL_DATA");
  const Path dir = given != nullptr ? Path(given) : source_dir() / "../shared/data";
  std::error_code ignored;
  return std::filesystem::is_directory(dir, ignored) ? dir : Path();
}

// max |actual - expected| over max |expected|; huge when the sizes differ or a value is not a number.
inline double relative_difference(std::span<const float> actual, std::span<const float> expected) {
  if (actual.size() != expected.size()) return HUGE_VAL;
  double difference = 0;
  double scale = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double d = std::abs(static_cast<double>(actual[i]) - expected[i]);
    if (!(d <= difference)) difference = std::isnan(d) ? HUGE_VAL : d;
    scale = std::max(scale, static_cast<double>(std::abs(expected[i])));
  }
  return scale == 0 ? difference : difference / scale;
}

inline std::vector<float> floats(const Json& json) { return json.get<std::vector<float>>(); }
inline std::vector<int32_t> ints(const Json& json) { return json.get<std::vector<int32_t>>(); }

// A fresh folder, removed with what is in it.
class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "umbel_models_XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const Path& path() const { return path_; }

 private:
  Path path_;
};

// The weight that the recorder's weight() computes: center + amplitude * uniform(-1, 1) from the tensor's name.
inline Tensor golden_tensor(const std::string& name, const Shape& shape) {
  const auto contains = [&](const char* part) { return name.find(part) != std::string::npos; };
  double amplitude = 0;
  double center = 0;
  if (shape.size() == 1 && name.ends_with(".weight")) {  // norms
    amplitude = 0.4;
    center = 1.0;
  } else if (name.ends_with(".bias")) {
    amplitude = 0.5;
  } else if (contains("embed_tokens") || contains("wte") || contains("embed_in")) {
    amplitude = 1.5;
  } else if (contains("wpe")) {
    amplitude = 0.5;
  } else {
    const bool sharp = contains("q_proj") || contains("k_proj") || contains("lm_head") || contains("c_attn") ||
                       contains("query_key_value") || contains("qkv_proj");
    const double gain = sharp ? 4.0 : 2.0;
    amplitude = gain / std::sqrt(static_cast<double>(shape.back()));
  }
  uint64_t key = 0xCBF29CE484222325u;
  for (const char c : name) key = (key ^ static_cast<uint8_t>(c)) * 0x100000001B3u;
  Tensor tensor(DType::kF32, shape);
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    uint64_t z = key + static_cast<uint64_t>(i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    tensor.f32()[i] = static_cast<float>(center + amplitude * (2.0 * static_cast<double>(z >> 40) * 0x1p-24 - 1.0));
  }
  return tensor;
}

// A golden's tensors by name; a test may take some out or put others in before it writes them.
inline std::map<std::string, Tensor> golden_tensors(const Json& golden) {
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, shape] : golden["tensors"].items()) {
    tensors.emplace(name, golden_tensor(name, shape.get<Shape>()));
  }
  return tensors;
}

inline void write_checkpoint(const Path& dir, const Json& config, const std::map<std::string, Tensor>& tensors) {
  std::ofstream(dir / "config.json") << config.dump(1);
  std::map<std::string, TensorView> views;
  for (const auto& [name, tensor] : tensors) views.emplace(name, tensor.view());
  const Status status = write_safetensors(dir / "model.safetensors", views);
  CHECK(status.ok(), status.message().c_str());
}

inline Json read_golden(const std::string& name) {
  return read_json(source_dir() / "tests/goldens/models" / (name + ".json")).value();
}

}  // namespace umbel::testing
