// FLoRA, multiplicative W o (s B A) and residual W o (1 + s B A), s = 1 / r.
//
//   identity_lora  p_1 = 1, q_1 = 1/s give W; the other p Kaiming-uniform, their q 0: the base, and no two components alike
//   ones           p = q = 1 (rank 1)
//   ones_noise     p = 1 + N(0, init_scale^2), q = 1: near the base (T-Few)
//   residual       p Kaiming-uniform, q = 0
#include <algorithm>
#include <cmath>

#include "train/kinds/kind_training.h"

namespace umbel::train {
namespace {

// With kDefault resolved for the form (at rank 1 identity_lora and ones are the same).
FloraInit flora_init_of(const JobSpec& spec) {
  if (spec.flora_init != FloraInit::kDefault) return spec.flora_init;
  return spec.kind == TrainKind::kFloraResidual ? FloraInit::kResidual : FloraInit::kIdentityLora;
}

const char* init_name(const JobSpec& spec) {
  switch (flora_init_of(spec)) {
    case FloraInit::kOnes: return "ones";
    case FloraInit::kOnesNoise: return "ones_noise";
    case FloraInit::kResidual: return "residual";
    default: return "identity_lora";
  }
}

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
  const Master p = build.add_parameter(index, kFloraTensors.a, rank);
  const Master q = build.add_parameter(index, kFloraTensors.b, rank);
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

Json flora_fields(const JobSpec& spec) {
  Json fields{{"peft_type", "FLORA"},
              {"flora_format", 1},
              {"r", spec.rank},
              {"flora_alpha", nullptr},
              {"reduction", "mean"},
              {"form", spec.kind == TrainKind::kFloraResidual ? "residual" : "multiplicative"},
              {"scale_bias", false},
              {"store_offset", false},
              {"bias", "none"},
              {"init_flora_weights", init_name(spec)}};
  if (!spec.rank_pattern.empty()) fields["rank_pattern"] = spec.rank_pattern;
  if (spec.flora_init == FloraInit::kOnesNoise) fields["init_scale"] = spec.flora_init_scale;
  return fields;
}

Status train_flora(TrainableBuild& build, const Selected& selected) {
  for (const int32_t index : selected) RETURN_IF_ERROR(add(build, index));
  return ok_status();
}

}  // namespace umbel::train
