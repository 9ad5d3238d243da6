// FLoRA, multiplicative W o (s B A) and residual W o (1 + s B A), s = 1 / r.
//
//   identity_lora  p_1 = 1, q_1 = 1/s give W; the other p Kaiming-uniform, their q 0: the base, and no two components alike
//   ones           p = q = 1 (rank 1)
//   ones_noise     p = 1 + N(0, init_scale^2), q = 1: near the base (T-Few)
//   residual       p Kaiming-uniform, q = 0
#include <algorithm>
#include <cmath>

#include "train/trainable_build.h"

namespace umbel {
namespace {

// The terms read s q.
class ScaledSide final : public Derived {
 public:
  ScaledSide(Master q, int64_t count, float scale, float* scaled, float* gradient)
      : q_(q), count_(count), scale_(scale), scaled_(scaled), gradient_(gradient) {}

  void materialize(ThreadPool*) override {
    for (int64_t i = 0; i < count_; ++i) scaled_[i] = scale_ * q_.value[i];
  }
  void zero_gradients() override { std::fill_n(gradient_, count_, 0.0f); }
  void gather() override {
    for (int64_t i = 0; i < count_; ++i) q_.gradient[i] += scale_ * gradient_[i];
  }

 private:
  Master q_;
  int64_t count_;
  float scale_;
  float* scaled_;
  float* gradient_;
};

// p: [rank, in], q: [rank, out], both zero on entry.
struct Sides {
  std::span<float> p, q;
  int64_t rank, in, out;
};

void initialise(const JobSpec& spec, Random random, const Sides& sides) {
  const FloraInit init = flora_init_of(spec);
  if (init == FloraInit::kOnes || init == FloraInit::kOnesNoise) {
    std::fill(sides.q.begin(), sides.q.end(), 1.0f);
    for (float& p : sides.p) p = init == FloraInit::kOnes ? 1.0f : 1.0f + static_cast<float>(spec.flora_init_scale * random.next_normal());
    return;
  }
  fill_uniform(random, 1.0 / std::sqrt(static_cast<double>(sides.in)), sides.p);
  if (init == FloraInit::kResidual) return;
  std::fill_n(sides.p.begin(), sides.in, 1.0f);
  std::fill_n(sides.q.begin(), sides.out, static_cast<float>(sides.rank));  // 1 / s
}

Status add(TrainableBuild& build, int32_t index) {
  const Target& target = build.target(index);
  ASSIGN_OR_RETURN(const int64_t rank, build.rank_at(index));
  const auto scale = static_cast<float>(1.0 / static_cast<double>(rank));
  const Master p = build.add_parameter(index, ".flora_A", {.rows = rank, .cols = target.in});
  const Master q = build.add_parameter(index, ".flora_B", {.rows = rank, .cols = target.out, .transposed = true});
  initialise(build.spec(), build.random(index),
             {.p = {p.value, static_cast<size_t>(rank * target.in)}, .q = {q.value, static_cast<size_t>(rank * target.out)},
              .rank = rank, .in = target.in, .out = target.out});
  float* scaled = build.add_buffer(rank * target.out);
  float* gradient = build.add_buffer(rank * target.out);
  build.add_derived(std::make_unique<ScaledSide>(q, rank * target.out, scale, scaled, gradient));
  if (build.spec().kind == TrainKind::kFloraResidual) build.add_scale(index, {}, {});
  for (int64_t k = 0; k < rank; ++k) {
    build.add_scale(index, {.pre = p.value + k * target.in, .post = scaled + k * target.out},
                    {.pre = p.gradient + k * target.in, .post = gradient + k * target.out});
  }
  return ok_status();
}

}  // namespace

Status train_flora(TrainableBuild& build, const std::vector<int32_t>& selected) {
  for (const int32_t index : selected) RETURN_IF_ERROR(add(build, index));
  return ok_status();
}

}  // namespace umbel
