// KindTensor: the one declaration of each tensor that a kind of adapter has in adapter_model.safetensors. Readers, trainers,
// writers, conversions and the search for strangers' spellings all stand on it, so a new kind says here what its file holds.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "adapters/targets.h"
#include "tensor/tensor.h"

namespace umbel {

// How long one side of a tensor is at a module. Of an embedding kIn is the vocabulary and kOut the model's width.
enum class Extent : uint8_t { kNone, kOne, kRank, kIn, kOut };

// What training begins with. kOwn: the kind computes it.
// kUniformIn: U(-1, 1) / sqrt(in); kUniformRank: U(-1, 1) / sqrt(rank).
enum class Start : uint8_t { kZero, kOnes, kNormal, kUniformIn, kUniformRank, kOwn };

// Who has the adapter's name behind it in a state_dict: PATH.lora_A.NAME.weight, or PATH.ia3_l.NAME.
enum class Holder : uint8_t { kModule, kParameter };

struct KindTensor {
  std::string_view suffix;  // PATH.suffix, as PEFT saves it
  Extent rows;
  Extent cols = Extent::kNone;  // none: a vector [rows]
  bool turned = false;          // the kernels read it as [cols, rows]
  Start start = Start::kOwn;
  bool decays = true;      // takes part in weight decay
  bool embedding = false;  // stands at an embedding, else at linear layers and the head
};

// PEFT 0.21: lora/layer.py, ia3/layer.py, vera/layer.py, hira/layer.py, loha/layer.py, miss/layer.py; FLoRA: docs/flora-format.md.
inline constexpr KindTensor kLoraA{"lora_A.weight", Extent::kRank, Extent::kIn, false, Start::kUniformIn};
inline constexpr KindTensor kLoraB{"lora_B.weight", Extent::kOut, Extent::kRank, true, Start::kZero};
inline constexpr KindTensor kLoraBias{"lora_B.bias", Extent::kOut};
inline constexpr KindTensor kLoraMagnitude{"lora_magnitude_vector", Extent::kOut, Extent::kNone, false, Start::kOwn, false};
inline constexpr KindTensor kLoraEmbeddingA{"lora_embedding_A", Extent::kRank, Extent::kIn, true, Start::kZero, true, true};
inline constexpr KindTensor kLoraEmbeddingB{"lora_embedding_B", Extent::kOut, Extent::kRank, true, Start::kNormal, true, true};
inline constexpr KindTensor kIa3Input{"ia3_l", Extent::kOne, Extent::kIn, false, Start::kOnes};
inline constexpr KindTensor kIa3Output{"ia3_l", Extent::kOut, Extent::kOne, true, Start::kOnes};
inline constexpr KindTensor kVeraD{"vera_lambda_d", Extent::kRank};
inline constexpr KindTensor kVeraB{"vera_lambda_b", Extent::kOut, Extent::kNone, false, Start::kZero};

// FLoRA and HiRA: the same two factors under two names.
struct HadamardTensors {
  KindTensor a, b, embedding_a, embedding_b;
};
inline constexpr HadamardTensors kFloraTensors{{"flora_A", Extent::kRank, Extent::kIn},
                                               {"flora_B", Extent::kOut, Extent::kRank, true},
                                               {"flora_embedding_A", Extent::kRank, Extent::kIn, true, Start::kOwn, true, true},
                                               {"flora_embedding_B", Extent::kOut, Extent::kRank, true, Start::kOwn, true, true}};
inline constexpr HadamardTensors kHiraTensors{{"hira_A", Extent::kRank, Extent::kIn},
                                              {"hira_B", Extent::kOut, Extent::kRank, true},
                                              {"hira_embedding_A", Extent::kRank, Extent::kIn, true, Start::kOwn, true, true},
                                              {"hira_embedding_B", Extent::kOut, Extent::kRank, true, Start::kOwn, true, true}};

// LoHa: dW = s (first_out first_in) o (second_out second_in).
struct LohaTensors {
  KindTensor first_out, first_in, second_out, second_in;
};
inline constexpr LohaTensors kLohaTensors{{"hada_w1_a", Extent::kOut, Extent::kRank, true, Start::kUniformRank},
                                          {"hada_w1_b", Extent::kRank, Extent::kIn, false, Start::kUniformIn},
                                          {"hada_w2_a", Extent::kOut, Extent::kRank, true, Start::kUniformRank},
                                          {"hada_w2_b", Extent::kRank, Extent::kIn, false, Start::kZero}};
inline constexpr KindTensor kMissBlock{"miss_block", Extent::kRank, Extent::kOut, false, Start::kZero};

// VeRA's shared projections stand beside the modules: their whole names.
inline constexpr std::string_view kVeraProjectionA = "base_model.vera_A";
inline constexpr std::string_view kVeraProjectionB = "base_model.vera_B";

// All of them.
std::span<const KindTensor> kind_tensors();

// The part that the adapter's name follows ("lora_A" of "lora_A.weight"), and what holds it.
std::string_view marker_of(const KindTensor& tensor);
Holder holder_of(const KindTensor& tensor);

// The tensor's shape in a file.
Shape file_shape(const KindTensor& tensor, const Target& target, int64_t rank);

inline constexpr double kLoraAlphaDefault = 8;
inline constexpr double kLohaAlphaDefault = 8;
// LoRA's s: alpha / rank, or alpha / sqrt(rank) for rsLoRA.
float lora_scale(double alpha, int64_t rank, bool rslora);
// The alpha that gives the same s in the other of the two.
double flipped_lora_alpha(double alpha, int64_t rank, bool to_rslora);

}  // namespace umbel
