#include "load/arrival.h"

#include <cmath>

#include "base/check.h"
#include "base/random.h"

namespace umbel::load {
namespace {

// Marsaglia and Tsang, "A simple method for generating gamma variables" (2000); shape < 1 by boosting.
double draw_gamma(Random& random, double shape) {
  if (shape < 1.0) {
    const double u = 1.0 - random.next_double();
    return draw_gamma(random, shape + 1.0) * std::pow(u, 1.0 / shape);
  }
  const double d = shape - 1.0 / 3.0;
  const double c = 1.0 / std::sqrt(9.0 * d);
  while (true) {
    const double x = random.next_normal();
    const double v = std::pow(1.0 + c * x, 3.0);
    if (v <= 0) continue;
    const double u = 1.0 - random.next_double();
    if (std::log(u) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

}  // namespace

std::vector<Duration> open_loop_times(size_t count, double rate, double cv, uint64_t seed) {
  CHECK(rate > 0 && cv >= 0, "rate is positive and cv is not negative");
  Random random(mix_key({seed, 0x617272ull}));
  std::vector<Duration> times;
  double now = 0;
  for (size_t i = 0; i < count; ++i) {
    times.push_back(from_seconds(now));
    const double shape = cv > 0 ? 1.0 / (cv * cv) : 0;
    const double gap = cv > 0 ? draw_gamma(random, shape) / (shape * rate) : 1.0 / rate;
    now += gap;
  }
  return times;
}

}  // namespace umbel::load
