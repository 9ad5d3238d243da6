// IA3: one vector a module, all ones at the start: on the input side of feed-forward modules, else on the output side, where it
// scales the bias too.
#include <algorithm>

#include "train/trainable_build.h"

namespace umbel {
namespace {

// c = l o bias of the base.
class ScaledBias final : public Derived {
 public:
  ScaledBias(const Target& target, Master l, float* bias, float* gradient) : target_(target), l_(l), bias_(bias), gradient_(gradient) {}

  void materialize(ThreadPool*) override {
    for (int64_t i = 0; i < target_.out; ++i) bias_[i] = l_.value[i] * target_.vector[i];
  }
  void zero_gradients() override { std::fill_n(gradient_, target_.out, 0.0f); }
  void gather() override {
    for (int64_t i = 0; i < target_.out; ++i) l_.gradient[i] += gradient_[i] * target_.vector[i];
  }

 private:
  const Target& target_;
  Master l_;
  float* bias_;
  float* gradient_;
};

void add(TrainableBuild& build, int32_t index, bool input_side) {
  const Target& target = build.target(index);
  const int64_t width = input_side ? target.in : target.out;
  const Master l = build.add_parameter(index, ".ia3_l", {.cols = width, .transposed = !input_side});
  std::fill_n(l.value, width, 1.0f);
  if (input_side) {
    build.add_scale(index, {.pre = l.value}, {.pre = l.gradient});
    return;
  }
  build.add_scale(index, {.post = l.value}, {.post = l.gradient});
  if (target.vector == nullptr) return;
  float* bias = build.add_buffer(target.out);
  float* gradient = build.add_buffer(target.out);
  build.add_bias(index, bias, gradient);
  build.add_derived(std::make_unique<ScaledBias>(target, l, bias, gradient));
}

}  // namespace

Status train_ia3(TrainableBuild& build, const std::vector<int32_t>& selected) {
  const std::vector<std::string> endings = feedforward_of(build.spec());
  for (const int32_t index : selected) {
    const std::string& path = build.target(index).path;
    add(build, index, std::any_of(endings.begin(), endings.end(), [&](const std::string& ending) { return path.ends_with(ending); }));
  }
  return ok_status();
}

}  // namespace umbel
