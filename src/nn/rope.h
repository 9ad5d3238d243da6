// RoPE: rotary position embeddings with the frequency scalings found on the Hub.
//
// Frequencies are computed in f32 as Hugging Face's modeling_rope_utils does, so that long positions turn by the same
// angles: inv_i = theta^(-2i/d), then
//   linear   inv_i / factor
//   dynamic  theta * (factor * L / Lmax - (factor - 1))^(d / (d - 2)) for theta, once L > Lmax
//   yarn     a ramp between inv_i (fast dimensions) and inv_i / factor (slow ones); cos and sin times attention_factor
//            (Peng et al., "YaRN", arXiv 2309.00071)
//   longrope inv_i / short_factor_i, or inv_i / long_factor_i once L > Lmax; cos and sin times attention_factor
//            (Ding et al., "LongRoPE", arXiv 2402.13753)
//   llama3   inv_i / factor for long wavelengths, inv_i for short ones, a blend between (Llama 3.1)
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kernels/api.h"

namespace umbel {

enum class RopeType : uint8_t { kDefault, kLinear, kDynamic, kYarn, kLlama3, kLongrope };

struct RopeConfig {
  RopeType type = RopeType::kDefault;
  double theta = 10000.0;
  double factor = 1.0;
  double low_freq_factor = 1.0;   // llama3
  double high_freq_factor = 4.0;  // llama3
  double beta_fast = 32.0;        // yarn
  double beta_slow = 1.0;         // yarn
  std::optional<double> attention_factor;         // yarn, longrope
  std::optional<double> mscale;                   // yarn
  std::optional<double> mscale_all_dim;           // yarn
  bool truncate = true;                           // yarn: round the ramp's ends
  int64_t original_max_position_embeddings = 0;   // yarn, llama3, dynamic, longrope
  std::vector<double> short_factor, long_factor;  // longrope: one per pair

  // Frequencies depend on the sequence's length.
  bool by_length() const { return type == RopeType::kDynamic || type == RopeType::kLongrope; }
};

// Immutable; any thread.
class Rope {
 public:
  Rope() = default;
  // head_dim: the dimensions that turn, an even number.
  Rope(const RopeConfig& config, int64_t head_dim);

  // out[M, head_dim]: per row cos in the first half, sin in the second, times the attention factor: what kernels::rope
  // takes. lengths: Rows::rope_lengths; read only when the scaling is by length. Takes nothing from the arena.
  void angles(kernels::Context& context, std::span<const int32_t> positions, std::span<const int32_t> lengths,
              MatrixF out) const;

  // inv[head_dim / 2] for a sequence of this length (only scalings by length look at it).
  void frequencies(int64_t length, std::span<float> inv) const;
  float attention_factor() const { return attention_factor_; }
  int64_t dims() const { return head_dim_; }

 private:
  RopeConfig config_;
  int64_t head_dim_ = 0;
  float attention_factor_ = 1.0f;
  std::vector<float> inverse_;  // [head_dim / 2]; for dynamic scaling, those of a sequence within the original length
};

}  // namespace umbel
