#include "train/optimizer.h"

#include <cmath>

namespace umbel {

void adamw_update(const AdamWStep& step, std::span<float> value, std::span<const float> gradient, std::span<float> m, std::span<float> v) {
  const float beta1 = static_cast<float>(step.beta1), beta2 = static_cast<float>(step.beta2);
  const float clip = static_cast<float>(step.gradient_scale);
  const float decay = static_cast<float>(1.0 - step.learning_rate * step.weight_decay);
  const float size = static_cast<float>(step.learning_rate / (1.0 - std::pow(step.beta1, static_cast<double>(step.step))));
  const float root = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(step.beta2, static_cast<double>(step.step))));
  const float epsilon = static_cast<float>(step.epsilon);
  for (size_t i = 0; i < value.size(); ++i) {
    const float g = gradient[i] * clip;
    m[i] = beta1 * m[i] + (1.0f - beta1) * g;
    v[i] = beta2 * v[i] + (1.0f - beta2) * g * g;
    value[i] = value[i] * decay - size * m[i] / (std::sqrt(v[i]) * root + epsilon);
  }
}

double sum_of_squares(std::span<const float> values) {
  double sum = 0;
  for (float value : values) sum += static_cast<double>(value) * value;
  return sum;
}

}  // namespace umbel
