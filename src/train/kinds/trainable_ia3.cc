// IA3: one vector a module, all ones at the start: on the input side of feed-forward modules, else on the output side, where it
// scales the bias too.
#include <algorithm>

#include "train/job/kind_facts.h"
#include "train/kinds/kind_training.h"

namespace umbel::train {
namespace {

// The modules that are scaled on the input side are those whose path ends in one of these. PEFT wants them to be among the
// targets when those are a list.
std::vector<std::string> feedforward_of(const JobSpec& spec) {
  const std::vector<std::string> endings = spec.feedforward.empty() ? std::vector<std::string>{"down_proj"} : spec.feedforward;
  if (spec.all_linear || !spec.target_regex.empty()) return endings;
  std::vector<std::string> among;
  for (const std::string& target : spec.targets.empty() ? default_targets(spec.kind) : spec.targets) {
    if (std::any_of(endings.begin(), endings.end(), [&](const std::string& ending) { return target.ends_with(ending); })) {
      among.push_back(target);
    }
  }
  return among;
}

bool ends_in_one(const std::string& path, const std::vector<std::string>& endings) {
  return std::any_of(endings.begin(), endings.end(), [&](const std::string& ending) { return path.ends_with(ending); });
}

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
  const Master l = build.add_parameter(index, input_side ? kIa3Input : kIa3Output, 1);
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

Json ia3_fields(const JobSpec& spec) {
  return {{"peft_type", "IA3"}, {"feedforward_modules", feedforward_of(spec)}, {"fan_in_fan_out", false}, {"init_ia3_weights", true}};
}

// PEFT's IA3 has no layers_to_transform: the modules are written one by one.
void finish_ia3(const TrainableBuild& build, const Selected& selected, Json& config) {
  if (build.spec().layers.empty()) return;
  const std::vector<std::string> endings = feedforward_of(build.spec());
  std::vector<std::string> paths, feedforward;
  for (const int32_t index : selected) {
    const std::string& path = build.target(index).path;
    paths.push_back(path);
    if (ends_in_one(path, endings)) feedforward.push_back(path);
  }
  config.erase("layers_to_transform");
  config["target_modules"] = paths;
  config["feedforward_modules"] = feedforward;
}

Status train_ia3(TrainableBuild& build, const Selected& selected) {
  const std::vector<std::string> endings = feedforward_of(build.spec());
  for (const int32_t index : selected) add(build, index, ends_in_one(build.target(index).path, endings));
  return ok_status();
}

}  // namespace umbel::train
