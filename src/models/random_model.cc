#include "models/random_model.h"

#include <algorithm>
#include <array>

#include "base/process_memory.h"
#include "base/random.h"
#include "base/threads.h"
#include "models/registry.h"
#include "models/weights.h"

namespace umbel {
namespace {

constexpr int64_t kElementsPerTask = int64_t{1} << 18;
constexpr float kHalfWidth = 0.0346410162f;  // of a uniform distribution with standard deviation 0.02

constexpr size_t kLevels = 4096;

// The bf16 values that weights take, evenly spread.
std::array<uint16_t, kLevels> make_levels() {
  std::array<uint16_t, kLevels> levels;
  for (size_t i = 0; i < kLevels; ++i) {
    const float unit = (2.0f * static_cast<float>(i) + 1.0f) / kLevels - 1.0f;
    levels[i] = to_bf16(unit * kHalfWidth).bits;
  }
  return levels;
}

// One SplitMix64 word gives four values; the k-th word depends on the key and k only, so tasks may run anywhere.
void fill_uniform(const std::array<uint16_t, kLevels>& levels, uint64_t key, int64_t begin, int64_t end,
                  uint16_t* target) {
  for (int64_t i = begin; i < end; i += 4) {
    uint64_t z = key + static_cast<uint64_t>(i / 4 + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    const int64_t stop = std::min(i + 4, end);
    for (int64_t j = i; j < stop; ++j, z >>= 16) target[j] = levels[z % kLevels];
  }
}

// Makes whatever it is asked for, in bf16, one tensor at a time.
class RandomSource final : public WeightSource {
 public:
  explicit RandomSource(uint64_t seed) : seed_(seed), pool_(usable_cpus()) {}

  const TensorView* find(const std::string& name, const Shape& shape) override {
    current_ = Tensor();  // one tensor alive at most
    current_ = Tensor(DType::kBF16, shape);
    auto* values = static_cast<uint16_t*>(current_.data());
    const int64_t count = current_.elements();
    if (shape.size() == 1 && name.ends_with(".weight")) {
      std::fill_n(values, count, to_bf16(1.0f).bits);
    } else if (!name.ends_with(".bias")) {
      const uint64_t key = mix_key({seed_, name_word(name)});
      pool_.parallel_for((count + kElementsPerTask - 1) / kElementsPerTask, [&](int64_t task, int) {
        const int64_t begin = task * kElementsPerTask;
        fill_uniform(levels_, key, begin, std::min(count, begin + kElementsPerTask), values);
      });
    }
    view_ = current_.view();
    return &view_;
  }
  std::vector<std::string> names() const override { return {}; }
  bool differ(const std::string&, const std::string&) const override { return false; }
  std::string description() const override { return "the weight generator"; }

 private:
  static uint64_t name_word(const std::string& name) {
    uint64_t word = 0;
    for (const char c : name) word = mix_key({word, static_cast<uint8_t>(c)});
    return word;
  }

  uint64_t seed_;
  std::array<uint16_t, kLevels> levels_ = make_levels();
  ThreadPool pool_;
  Tensor current_;
  TensorView view_;
};

}  // namespace

Result<std::shared_ptr<const Model>> make_random_model(const ModelConfig& config, uint64_t seed,
                                                       const ModelOptions& options) {
  const Family* family = find_family(config.model_type);
  if (family == nullptr) return unknown_model_type(config.model_type);
  ASSIGN_OR_RETURN(const WeightForm form, parse_weight_form(options.dtype, config.dtype.value_or(DType::kBF16)));
  RandomSource source(seed);
  Weights weights(source, form, options.choice, options.threads > 0 ? options.threads : usable_cpus());
  auto model = build_decoder(*family, config, weights);
  return_freed_memory();
  return model;
}

}  // namespace umbel
