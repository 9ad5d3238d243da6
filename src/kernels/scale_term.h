// ScaleTerm: post o W(pre o x), one scale term of the algebra (adapters/term.h), as kernels and leaf files see it. Plain data.
#pragma once

namespace umbel::kernels {

// pre: [in] or null, post: [out] or null, f32; null means a vector of ones.
struct ScaleTerm {
  const float* pre = nullptr;
  const float* post = nullptr;
};

}  // namespace umbel::kernels
