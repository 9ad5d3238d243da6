#include "adapters/khatri_rao.h"

#include "base/check.h"

namespace umbel {

void khatri_rao(const FactorPair& pair, float* product) {
  for (int64_t j = 0; j < pair.rank; ++j) {
    const float* first = pair.first + j * pair.width;
    for (int64_t k = 0; k < pair.rank; ++k) {
      const float* second = pair.second + k * pair.width;
      for (int64_t i = 0; i < pair.width; ++i) product[i] = first[i] * second[i];
      product += pair.width;
    }
  }
}

Tensor khatri_rao(const Tensor& first, const Tensor& second) {
  CHECK(first.shape() == second.shape(), "factors of one shape");
  const FactorPair pair{first.f32(), second.f32(), first.shape()[0], first.shape()[1]};
  Tensor product(DType::kF32, {pair.rank * pair.rank, pair.width});
  khatri_rao(pair, product.f32());
  return product;
}

void khatri_rao_vjp(const FactorPair& pair, const float* gradient, const FactorGradients& gradients) {
  for (int64_t j = 0; j < pair.rank; ++j) {
    const float* first = pair.first + j * pair.width;
    float* dfirst = gradients.first + j * pair.width;
    for (int64_t k = 0; k < pair.rank; ++k) {
      const float* second = pair.second + k * pair.width;
      float* dsecond = gradients.second + k * pair.width;
      for (int64_t i = 0; i < pair.width; ++i) {
        dfirst[i] += gradient[i] * second[i];
        dsecond[i] += gradient[i] * first[i];
      }
      gradient += pair.width;
    }
  }
}

}  // namespace umbel
