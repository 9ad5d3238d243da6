// RoPE: rotary position embeddings with the frequency scalings found on the Hub.
//
// Frequencies are computed in f32 as Hugging Face's modeling_rope_utils does, so that long positions turn by the same
// angles: inv_i = theta^(-2i/d), then
//   linear   inv_i / factor
//   dynamic  theta * (factor * L / Lmax - (factor - 1))^(d / (d - 2)) for theta, once L > Lmax
//   yarn     a ramp between inv_i (fast dimensions) and inv_i / factor (slow ones); cos and sin times attention_factor
//            (Peng et al., "YaRN", arXiv 2309.00071)
//   llama3   inv_i / factor for long wavelengths, inv_i for short ones, a blend between (Llama 3.1)
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kernels/api.h"

namespace umbel {

enum class RopeType : uint8_t { kDefault, kLinear, kDynamic, kYarn, kLlama3 };

struct RopeConfig {
  RopeType type = RopeType::kDefault;
  double theta = 10000.0;
  double factor = 1.0;
  double low_freq_factor = 1.0;   // llama3
  double high_freq_factor = 4.0;  // llama3
  double beta_fast = 32.0;        // yarn
  double beta_slow = 1.0;         // yarn
  std::optional<double> attention_factor;         // yarn
  std::optional<double> mscale;                   // yarn
  std::optional<double> mscale_all_dim;           // yarn
  bool truncate = true;                           // yarn: round the ramp's ends
  int64_t original_max_position_embeddings = 0;   // yarn, llama3, dynamic
};

// Immutable; any thread.
class Rope {
 public:
  Rope() = default;
  // head_dim is even.
  Rope(const RopeConfig& config, int64_t head_dim);

  // out[M, head_dim]: per row cos in the first half, sin in the second, times the attention factor: what kernels::rope
  // takes. lengths: Rows::rope_lengths; read only when the scaling is dynamic. Takes nothing from the arena.
  void angles(kernels::Context& context, std::span<const int32_t> positions, std::span<const int32_t> lengths,
              MatrixF out) const;

  // inv[head_dim / 2] for a sequence of this length (only dynamic scaling looks at it).
  void frequencies(int64_t length, std::span<float> inv) const;
  float attention_factor() const { return attention_factor_; }
  bool dynamic() const { return config_.type == RopeType::kDynamic; }

 private:
  RopeConfig config_;
  int64_t head_dim_ = 0;
  float attention_factor_ = 1.0f;
  std::vector<float> inverse_;  // [head_dim / 2]; for dynamic scaling, those of a sequence within the original length
};

}  // namespace umbel
