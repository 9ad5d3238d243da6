#include "train/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace umbel {
namespace {

// The published update, in double, one value.
struct Plain {
  double value, m = 0, v = 0;
  void step(const AdamWStep& s, double gradient) {
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
  std::vector<float> value = {1.0f, -0.5f, 3.0f}, m(3, 0.0f), v(3, 0.0f);
  std::vector<Plain> plain = {{1.0}, {-0.5}, {3.0}};
  for (int64_t step = 1; step <= 50; ++step) {
    const std::vector<float> gradient = {std::sin(0.3f * static_cast<float>(step)), 0.01f, step % 7 == 0 ? 5.0f : -0.2f};
    const AdamWStep s{.learning_rate = 1e-2, .weight_decay = 0.1, .step = step, .gradient_scale = step % 3 == 0 ? 0.5 : 1.0};
    adamw_update(s, value, gradient, m, v);
    for (size_t i = 0; i < plain.size(); ++i) {
      plain[i].step(s, gradient[i]);
      EXPECT_NEAR(value[i], plain[i].value, 2e-5) << "value " << i << ", step " << step;
    }
  }
}

TEST(Optimizer, TheFirstStepMovesEveryValueByTheRate) {
  std::vector<float> value = {0.0f, 0.0f}, m(2, 0.0f), v(2, 0.0f);
  const std::vector<float> gradient = {1e-3f, -40.0f};
  adamw_update({.learning_rate = 0.1, .step = 1}, value, gradient, m, v);
  EXPECT_NEAR(value[0], -0.1, 1e-4);
  EXPECT_NEAR(value[1], 0.1, 1e-4);
}

TEST(Optimizer, SumOfSquares) {
  const std::vector<float> values = {3.0f, -4.0f};
  EXPECT_EQ(sum_of_squares(values), 25.0);
  EXPECT_EQ(sum_of_squares({}), 0.0);
}

}  // namespace
}  // namespace umbel
