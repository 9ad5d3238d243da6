// VeRA: two vectors a module over one frozen random pair A [r, widest in], B [widest out, r] that all modules slice.
//
// The pair is a pure function of (vera_projection_key, its shape), distributed as PEFT draws it (Kaiming-uniform, gain sqrt(2)) but
// from our own generator, so it is always stored with the adapter. lambda_d starts at vera_d_initial, lambda_b at 0.
#include <algorithm>
#include <cmath>

#include "train/kinds/kind_training.h"

namespace umbel::train {
namespace {

struct Projection {
  std::shared_ptr<const Tensor> a;    // [r, in_max]
  std::shared_ptr<const Tensor> b_t;  // [r, out_max]
};

// U(-b, b) with b = sqrt(6 / fan_in), as torch's kaiming_uniform with its default gain.
Tensor draw(const JobSpec& spec, uint64_t side, Shape shape, int64_t fan_in) {
  Tensor tensor(DType::kF32, std::move(shape));
  Random random(mix_key({0x76657261ull, spec.vera_projection_key, side}));
  fill_uniform(random, std::sqrt(6.0 / static_cast<double>(fan_in)), {tensor.f32(), static_cast<size_t>(tensor.elements())});
  return tensor;
}

void add(TrainableBuild& build, int32_t index, const Projection& projection) {
  const int64_t rank = build.spec().rank;
  const Master d = build.add_parameter(index, kVeraD, rank);
  const Master b = build.add_parameter(index, kVeraB, rank);
  std::fill_n(d.value, rank, static_cast<float>(build.spec().vera_d_initial));
  build.add_low_rank(index,
                     {.rank = static_cast<int32_t>(rank), .a = projection.a->data(), .b_t = projection.b_t->data(),
                      .a_stride = projection.a->shape()[1], .b_stride = projection.b_t->shape()[1], .u = b.value, .v = d.value},
                     {.u = b.gradient, .v = d.gradient});
  build.terms(index).dropout = static_cast<float>(build.spec().dropout);
}

}  // namespace

Json vera_fields(const JobSpec& spec) {
  return {{"peft_type", "VERA"},
          {"r", spec.rank},
          {"projection_prng_key", spec.vera_projection_key},
          {"save_projection", true},
          {"vera_dropout", spec.dropout},
          {"d_initial", spec.vera_d_initial},
          {"bias", "none"},
          {"fan_in_fan_out", false},
          {"init_weights", true}};
}

Status train_vera(TrainableBuild& build, const Selected& selected) {
  int64_t in_max = 0, out_max = 0;
  for (const int32_t index : selected) {
    in_max = std::max(in_max, build.target(index).in);
    out_max = std::max(out_max, build.target(index).out);
  }
  const int64_t rank = build.spec().rank;
  Projection projection;
  projection.a = build.share(draw(build.spec(), 0, {rank, in_max}, in_max));
  Tensor b = draw(build.spec(), 1, {out_max, rank}, rank);
  Tensor b_t(DType::kF32, {rank, out_max});
  for (int64_t row = 0; row < out_max; ++row) {
    for (int64_t col = 0; col < rank; ++col) b_t.f32()[col * out_max + row] = b.f32()[row * rank + col];
  }
  projection.b_t = build.share(std::move(b_t));
  build.add_frozen(std::string(kVeraProjectionA), projection.a, /*transposed=*/false);
  build.add_frozen(std::string(kVeraProjectionB), projection.b_t, /*transposed=*/true);
  for (const int32_t index : selected) add(build, index, projection);
  return ok_status();
}

}  // namespace umbel::train
