#include "adapters/kind_tensors.h"

#include <cmath>

#include "base/check.h"

namespace umbel {
namespace {

constexpr KindTensor kAll[] = {
    kLoraA,          kLoraB,          kLoraBias,
    kLoraMagnitude,  kLoraEmbeddingA, kLoraEmbeddingB,
    kIa3Input,       kIa3Output,      kVeraD,
    kVeraB,          kFloraTensors.a, kFloraTensors.b,
    kHiraTensors.a,  kHiraTensors.b,  kFloraTensors.embedding_a,
    kFloraTensors.embedding_b, kHiraTensors.embedding_a, kHiraTensors.embedding_b,
    kLohaTensors.first_out, kLohaTensors.first_in, kLohaTensors.second_out, kLohaTensors.second_in,
    kMissBlock,
};

int64_t length_of(Extent extent, const Target& target, int64_t rank) {
  switch (extent) {
    case Extent::kOne: return 1;
    case Extent::kRank: return rank;
    case Extent::kIn: return target.in;
    case Extent::kOut: return target.out;
    case Extent::kNone: break;
  }
  CHECK(false, "a side of a tensor has a length");
  return 0;
}

}  // namespace

std::span<const KindTensor> kind_tensors() { return kAll; }

std::string_view marker_of(const KindTensor& tensor) { return tensor.suffix.substr(0, tensor.suffix.find('.')); }

Holder holder_of(const KindTensor& tensor) {
  return tensor.suffix.find('.') == std::string_view::npos ? Holder::kParameter : Holder::kModule;
}

Shape file_shape(const KindTensor& tensor, const Target& target, int64_t rank) {
  const int64_t rows = length_of(tensor.rows, target, rank);
  if (tensor.cols == Extent::kNone) return {rows};
  return {rows, length_of(tensor.cols, target, rank)};
}

float lora_scale(double alpha, int64_t rank, bool rslora) {
  const auto size = static_cast<double>(rank);
  return static_cast<float>(rslora ? alpha / std::sqrt(size) : alpha / size);
}

double flipped_lora_alpha(double alpha, int64_t rank, bool to_rslora) {
  const double root = std::sqrt(static_cast<double>(rank));
  return to_rslora ? alpha / root : alpha * root;
}

}  // namespace umbel
