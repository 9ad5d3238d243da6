// Optimizers against torch and bitsandbytes (tests/goldens/optimizers.json, tools/record_optimizer_goldens.py) and against the
// published update in double.
#include "train/optim/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <vector>

#include "base/random.h"
#include "io/json.h"
#include "train/optim/blockwise.h"

namespace umbel::train {
namespace {

Json golden() {
  const char* dir = std::getenv("UMBEL_SOURCE_DIR");
  return read_json(Path(dir != nullptr ? dir : ".") / "tests/goldens/optimizers.json").value();
}

// The recorder's noise(i, stream).
float noise(uint64_t i, uint64_t stream) {
  uint64_t x = (i * 2654435761u + stream * 40503u + 12345u) & 0xffffffffu;
  x = (x ^ (x >> 15)) * 2246822519u & 0xffffffffu;
  x = (x ^ (x >> 13)) >> 8;
  return static_cast<float>(static_cast<double>(x) / (1 << 23) - 1.0);
}

struct Trial {
  std::vector<float> value;
  std::vector<StateTensor> state;
};

Trial run(OptimizerStep step, int64_t count, int64_t steps, int threads = 1) {
  ThreadPool pool(threads);
  Trial r{std::vector<float>(static_cast<size_t>(count)), make_optimizer_state(step.kind, count, step.momentum)};
  std::vector<float> gradient(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) r.value[i] = noise(i, 0);
  for (step.step = 1; step.step <= steps; ++step.step) {
    for (int64_t i = 0; i < count; ++i) {
      const float x = noise(i, step.step);
      gradient[i] = (std::copysign(0.3f, x) + x) * (0.25f + static_cast<float>(i % 64 == 0));
    }
    optimizer_update(pool, step, r.value, gradient, r.state);
  }
  return r;
}

void expect_samples(const std::vector<float>& value, const Json& expected, double tolerance) {
  ASSERT_EQ(expected.size(), (value.size() + 126) / 127);
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(value[i * 127], expected[i].get<double>(), tolerance) << i * 127;
}

TEST(Optimizer, EveryKindFollowsTorchAndBitsandbytes) {
  const Json g = golden();
  const double rate = g["rate"];
  const int64_t count = g["count"], steps = g["steps"];
  expect_samples(run({.learning_rate = rate, .weight_decay = 0.1}, count, steps).value, g["adamw"], 1e-6);
  expect_samples(run({.kind = OptimizerKind::kSgd, .learning_rate = rate, .weight_decay = 0.1, .momentum = 0.9}, count, steps).value,
                 g["sgd_momentum"], 1e-6);
  expect_samples(run({.kind = OptimizerKind::kSgd, .learning_rate = rate}, count, steps).value, g["sgd"], 1e-6);
  expect_samples(run({.kind = OptimizerKind::kAdamW8bit, .learning_rate = rate}, count, steps).value, g["adamw8bit"], 2e-3);
}

TEST(Optimizer, TheDynamicMapsAreBitsandbytes) {
  const Json g = golden();
  for (int i = 0; i < 256; ++i) {
    EXPECT_NEAR(signed_map().values()[i], g["signed_map"][i].get<double>(), 1e-7) << i;
    EXPECT_NEAR(unsigned_map().values()[i], g["unsigned_map"][i].get<double>(), 1e-7) << i;
  }
}

TEST(Optimizer, EightBitMomentsAreThoseOfBitsandbytes) {
  const Json g = golden();
  const Trial r = run({.kind = OptimizerKind::kAdamW8bit, .learning_rate = g["rate"]}, g["count"], g["steps"]);
  ASSERT_EQ(r.state.size(), 4u);
  for (const auto& [index, name] : {std::pair{0, "m"}, std::pair{2, "v"}}) {
    EXPECT_EQ(r.state[index].name, std::string(name) + ".codes");
    const Json& absmax = g[std::string(name) + "_absmax"];
    ASSERT_EQ(r.state[index + 1].tensor.elements(), static_cast<int64_t>(absmax.size()));
    for (size_t b = 0; b < absmax.size(); ++b) {
      EXPECT_NEAR(r.state[index + 1].tensor.f32()[b], absmax[b].get<double>(), 2e-2 * absmax[b].get<double>()) << name << " " << b;
    }
    int near = 0;
    const Json& codes = g[std::string(name) + "_codes"];
    for (size_t i = 0; i < codes.size(); ++i) {
      near += std::abs(static_cast<const uint8_t*>(r.state[index].tensor.data())[i] - codes[i].get<int>()) <= 1;
    }
    EXPECT_GE(near, static_cast<int>(0.97 * static_cast<double>(codes.size()))) << name;
  }
}

// The published update, in double, one value.
struct Plain {
  double value, m = 0, v = 0;
  void step(const OptimizerStep& s, double gradient) {
    const double g = gradient * s.gradient_scale;
    m = s.beta1 * m + (1 - s.beta1) * g;
    v = s.beta2 * v + (1 - s.beta2) * g * g;
    const double m_hat = m / (1 - std::pow(s.beta1, s.step));
    const double v_hat = v / (1 - std::pow(s.beta2, s.step));
    value -= s.learning_rate * s.weight_decay * value;
    value -= s.learning_rate * m_hat / (std::sqrt(v_hat) + s.epsilon);
  }
};

TEST(Optimizer, AdamWFollowsThePublishedUpdate) {
  ThreadPool pool(1);
  std::vector<float> value = {1.0f, -0.5f, 3.0f};
  auto state = make_optimizer_state(OptimizerKind::kAdamW, 3, 0);
  std::vector<Plain> plain = {{1.0}, {-0.5}, {3.0}};
  for (int64_t step = 1; step <= 50; ++step) {
    const std::vector<float> gradient = {std::sin(0.3f * static_cast<float>(step)), 0.01f, step % 7 == 0 ? 5.0f : -0.2f};
    const OptimizerStep s{.learning_rate = 1e-2, .weight_decay = 0.1, .step = step, .gradient_scale = step % 3 == 0 ? 0.5 : 1.0};
    optimizer_update(pool, s, value, gradient, state);
    for (size_t i = 0; i < plain.size(); ++i) {
      plain[i].step(s, gradient[i]);
      EXPECT_NEAR(value[i], plain[i].value, 2e-5) << "value " << i << ", step " << step;
    }
  }
}

TEST(Optimizer, TheFirstStepMovesEveryValueByTheRate) {
  ThreadPool pool(1);
  std::vector<float> value = {0.0f, 0.0f};
  auto state = make_optimizer_state(OptimizerKind::kAdamW, 2, 0);
  const std::vector<float> gradient = {1e-3f, -40.0f};
  optimizer_update(pool, {.learning_rate = 0.1, .step = 1}, value, gradient, state);
  EXPECT_NEAR(value[0], -0.1, 1e-4);
  EXPECT_NEAR(value[1], 0.1, 1e-4);
}

TEST(Optimizer, StateHasTheSizeItPromises) {
  const auto bytes = [](OptimizerKind kind, int64_t count, double momentum) {
    size_t sum = 0;
    for (const StateTensor& s : make_optimizer_state(kind, count, momentum)) sum += s.tensor.bytes();
    return sum;
  };
  EXPECT_EQ(bytes(OptimizerKind::kAdamW, 5000, 0), 40000u);
  EXPECT_EQ(bytes(OptimizerKind::kAdamW8bit, 5000, 0), 10000u + 2 * 20 * 4);
  EXPECT_EQ(bytes(OptimizerKind::kAdamW8bit, kSmallTensor - 1, 0), 8u * (kSmallTensor - 1)) << "small tensors keep f32 moments";
  EXPECT_EQ(bytes(OptimizerKind::kSgd, 5000, 0), 0u);
  EXPECT_EQ(bytes(OptimizerKind::kSgd, 5000, 0.9), 20000u);
}

TEST(Optimizer, BitsDoNotDependOnThreads) {
  for (const OptimizerKind kind : {OptimizerKind::kAdamW, OptimizerKind::kAdamW8bit, OptimizerKind::kSgd}) {
    const OptimizerStep step{.kind = kind, .learning_rate = 1e-2, .weight_decay = 0.1, .momentum = kind == OptimizerKind::kSgd ? 0.9 : 0};
    const Trial one = run(step, 70001, 3, 1), two = run(step, 70001, 3, 2);
    EXPECT_EQ(one.value, two.value);
  }
  ThreadPool one(1), two(2);
  std::vector<float> values(300007);
  for (size_t i = 0; i < values.size(); ++i) values[i] = noise(i, 3);
  double plain = 0;
  for (const float value : values) plain += static_cast<double>(value) * value;
  EXPECT_EQ(sum_of_squares(one, values), sum_of_squares(two, values));
  EXPECT_NEAR(sum_of_squares(one, values), plain, 1e-9 * plain);
}

// A badly scaled quadratic with noise: 8-bit moments get as far as f32 ones.
TEST(Optimizer, EightBitsConvergeLikeFullMoments) {
  const auto loss_after = [](OptimizerKind kind) {
    constexpr int64_t kCount = 8192;
    ThreadPool pool(1);
    Random random(3);
    std::vector<float> value(kCount), gradient(kCount);
    for (int64_t i = 0; i < kCount; ++i) value[i] = noise(i, 0);
    auto state = make_optimizer_state(kind, kCount, 0);
    const auto curvature = [](int64_t i) { return std::pow(10.0f, static_cast<float>(i % 4) - 2.0f); };
    for (int64_t step = 1; step <= 300; ++step) {
      for (int64_t i = 0; i < kCount; ++i) gradient[i] = curvature(i) * (value[i] + 0.1f * static_cast<float>(random.next_normal()));
      optimizer_update(pool, {.kind = kind, .learning_rate = 1e-2 * (1.0 - 0.003 * static_cast<double>(step)), .step = step}, value, gradient, state);
    }
    double loss = 0;
    for (int64_t i = 0; i < kCount; ++i) loss += 0.5 * curvature(i) * value[i] * value[i] / kCount;
    return loss;
  };
  const double full = loss_after(OptimizerKind::kAdamW), eight = loss_after(OptimizerKind::kAdamW8bit);
  EXPECT_LT(full, 0.02);
  EXPECT_LT(eight, 2 * full + 1e-3);
}

TEST(Blockwise, TheNearestCodeIsTheNearest) {
  Random random(1);
  for (const DynamicMap* map : {&signed_map(), &unsigned_map()}) {
    for (int trial = 0; trial < 20000; ++trial) {
      const double size = std::pow(10.0, -8.0 * random.next_double());
      const float x = static_cast<float>(map == &signed_map() && trial % 2 == 1 ? -size : size);
      float best = 2.0f;
      for (const float value : map->values()) best = std::min(best, std::fabs(value - x));
      EXPECT_NEAR(std::fabs(map->values()[map->nearest(x)] - x), best, 1e-7f) << x;
    }
    for (int code = 0; code < 256; ++code) EXPECT_EQ(map->nearest(map->values()[code]), code);
  }
}

TEST(Blockwise, ABlockOfZerosStaysZero) {
  std::vector<float> zeros(kStateBlock, 0.0f), back(kStateBlock, 1.0f);
  std::vector<uint8_t> codes(kStateBlock);
  EXPECT_EQ(quantise_block(signed_map(), zeros, codes.data()), 0.0f);
  dequantise_block(signed_map(), codes, 0.0f, back.data());
  EXPECT_EQ(back, zeros);
}

}  // namespace
}  // namespace umbel::train
