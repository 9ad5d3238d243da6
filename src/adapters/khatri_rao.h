// The Khatri-Rao product of two factors by rows, through which a Hadamard product of two low-rank products is one low-rank
// product itself (LoHa): (C1 D1) o (C2 D2) = C D, with the rows of D all products of a row of D1 with a row of D2 and the
// columns of C likewise.
#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace umbel {

// first, second: [rank, width], dense.
struct FactorPair {
  const float* first;
  const float* second;
  int64_t rank;
  int64_t width;

  int64_t product_size() const { return rank * rank * width; }
};

// product[j * rank + k, :] = first[j, :] o second[k, :]: [rank * rank, width], overwritten.
void khatri_rao(const FactorPair& pair, float* product);
Tensor khatri_rao(const Tensor& first, const Tensor& second);

// Adds what the product's gradient [rank * rank, width] makes of those of the factors [rank, width]; in ascending order of j, k.
struct FactorGradients {
  float* first;
  float* second;
};
void khatri_rao_vjp(const FactorPair& pair, const float* gradient, const FactorGradients& gradients);

}  // namespace umbel
