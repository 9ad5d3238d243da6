#include "train/optim/optimizer.h"

#include <algorithm>
#include <cmath>

#include "train/optim/blockwise.h"

namespace umbel::train {
namespace {

constexpr int64_t kTaskValues = 16384;  // of one task; a multiple of kStateBlock

// body(begin, end) over [0, count) in parallel.
template <typename Body>
void for_values(ThreadPool& pool, size_t count, const Body& body) {
  const auto total = static_cast<int64_t>(count);
  pool.parallel_for((total + kTaskValues - 1) / kTaskValues,
                    [&](int64_t task, int) { body(task * kTaskValues, std::min(total, (task + 1) * kTaskValues)); });
}

// The step's numbers as f32, made once.
struct AdamNumbers {
  float beta1, beta2, rest1, rest2, clip, decay, size, root, epsilon;

  explicit AdamNumbers(const OptimizerStep& step)
      : beta1(static_cast<float>(step.beta1)),
        beta2(static_cast<float>(step.beta2)),
        rest1(1.0f - beta1),
        rest2(1.0f - beta2),
        clip(static_cast<float>(step.gradient_scale)),
        decay(static_cast<float>(1.0 - step.learning_rate * step.weight_decay)),
        size(static_cast<float>(step.learning_rate / (1.0 - std::pow(step.beta1, static_cast<double>(step.step))))),
        root(static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(step.beta2, static_cast<double>(step.step))))),
        epsilon(static_cast<float>(step.epsilon)) {}
};

// The values of one task, or of one block; none of them overlap.
struct AdamValues {
  const float* gradient;
  float* value;
  float* m;
  float* v;
};

void adamw_values(const AdamNumbers& n, const AdamValues& values, int64_t count) {
  const float* __restrict gradient = values.gradient;
  float* __restrict value = values.value;
  float* __restrict m = values.m;
  float* __restrict v = values.v;
  for (int64_t i = 0; i < count; ++i) {
    const float g = gradient[i] * n.clip;
    m[i] = n.beta1 * m[i] + n.rest1 * g;
    v[i] = n.beta2 * v[i] + n.rest2 * g * g;
    value[i] = value[i] * n.decay - n.size * m[i] / (std::sqrt(v[i]) * n.root + n.epsilon);
  }
}

void sgd_values(const OptimizerStep& step, const float* __restrict gradient, int64_t count, float* __restrict value,
                float* __restrict momentum) {
  const float rate = static_cast<float>(step.learning_rate), decay = static_cast<float>(step.weight_decay);
  const float clip = static_cast<float>(step.gradient_scale), keep = static_cast<float>(step.momentum);
  if (momentum == nullptr) {
    for (int64_t i = 0; i < count; ++i) value[i] -= rate * (gradient[i] * clip + decay * value[i]);
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    momentum[i] = keep * momentum[i] + (gradient[i] * clip + decay * value[i]);
    value[i] -= rate * momentum[i];
  }
}

struct Task8 {
  const float* gradient;
  float* value;
  std::span<uint8_t> m_codes, v_codes;
  float* m_absmax;
  float* v_absmax;
};

// Blocks of [begin, end): moments unpacked, one step of AdamW with them as they are, then packed again.
void adamw_blocks(const AdamNumbers& n, const Task8& all, int64_t begin, int64_t end) {
  float m[kStateBlock], v[kStateBlock];
  for (int64_t at = begin; at < end; at += kStateBlock) {
    const auto count = static_cast<size_t>(std::min(kStateBlock, end - at));
    const auto m_codes = all.m_codes.subspan(static_cast<size_t>(at), count);
    const auto v_codes = all.v_codes.subspan(static_cast<size_t>(at), count);
    float& m_absmax = all.m_absmax[at / kStateBlock];
    float& v_absmax = all.v_absmax[at / kStateBlock];
    dequantise_block(signed_map(), m_codes, m_absmax, m);
    dequantise_block(unsigned_map(), v_codes, v_absmax, v);
    adamw_values(n, {all.gradient + at, all.value + at, m, v}, static_cast<int64_t>(count));
    m_absmax = quantise_block(signed_map(), {m, count}, m_codes.data());
    v_absmax = quantise_block(unsigned_map(), {v, count}, v_codes.data());
  }
}

StateTensor state_tensor(const char* name, DType dtype, int64_t count) { return {name, Tensor(dtype, {count})}; }

// Codes of zero: what a moment starts as.
StateTensor zero_codes(const char* name, const DynamicMap& map, int64_t count) {
  StateTensor codes = state_tensor(name, DType::kU8, count);
  std::fill_n(static_cast<uint8_t*>(codes.tensor.data()), count, map.nearest(0.0f));
  return codes;
}

}  // namespace

std::vector<StateTensor> make_optimizer_state(OptimizerKind kind, int64_t values, double momentum) {
  std::vector<StateTensor> state;
  if (kind == OptimizerKind::kSgd) {
    if (momentum > 0) state.push_back(state_tensor("momentum", DType::kF32, values));
  } else if (kind == OptimizerKind::kAdamW || values < kSmallTensor) {
    state.push_back(state_tensor("m", DType::kF32, values));
    state.push_back(state_tensor("v", DType::kF32, values));
  } else {
    const int64_t blocks = (values + kStateBlock - 1) / kStateBlock;
    state.push_back(zero_codes("m.codes", signed_map(), values));
    state.push_back(state_tensor("m.absmax", DType::kF32, blocks));
    state.push_back(zero_codes("v.codes", unsigned_map(), values));
    state.push_back(state_tensor("v.absmax", DType::kF32, blocks));
  }
  return state;
}

void optimizer_update(ThreadPool& pool, const OptimizerStep& step, std::span<float> value, std::span<const float> gradient,
                      std::span<StateTensor> state) {
  DCHECK(value.size() == gradient.size(), "a value has a gradient");
  if (step.kind == OptimizerKind::kSgd) {
    CHECK(state.size() == (step.momentum > 0 ? 1u : 0u), "SGD's state is its momentum");
    float* momentum = state.empty() ? nullptr : state[0].tensor.f32();
    for_values(pool, value.size(), [&](int64_t begin, int64_t end) {
      sgd_values(step, gradient.data() + begin, end - begin, value.data() + begin, momentum == nullptr ? nullptr : momentum + begin);
    });
    return;
  }
  const AdamNumbers numbers(step);
  if (state.size() == 2) {
    float* m = state[0].tensor.f32();
    float* v = state[1].tensor.f32();
    for_values(pool, value.size(), [&](int64_t begin, int64_t end) {
      adamw_values(numbers, {gradient.data() + begin, value.data() + begin, m + begin, v + begin}, end - begin);
    });
    return;
  }
  CHECK(state.size() == 4 && step.kind == OptimizerKind::kAdamW8bit, "the state belongs to the optimizer");
  const Task8 all{gradient.data(), value.data(), {static_cast<uint8_t*>(state[0].tensor.data()), value.size()},
                         {static_cast<uint8_t*>(state[2].tensor.data()), value.size()},
                         state[1].tensor.f32(),
                         state[3].tensor.f32()};
  for_values(pool, value.size(),
             [&](int64_t begin, int64_t end) { adamw_blocks(numbers, all, begin, end); });
}

double sum_of_squares(ThreadPool& pool, std::span<const float> values) {
  constexpr int64_t kSumsAtOnce = 256;
  double sums[kSumsAtOnce];
  const auto count = static_cast<int64_t>(values.size());
  const int64_t blocks = (count + kTaskValues - 1) / kTaskValues;
  double total = 0;
  for (int64_t first = 0; first < blocks; first += kSumsAtOnce) {
    const int64_t tasks = std::min(kSumsAtOnce, blocks - first);
    pool.parallel_for(tasks, [&](int64_t task, int) {
      const int64_t begin = (first + task) * kTaskValues;
      double lanes[8] = {};  // eight chains, so that the compiler may use vectors
      const int64_t end = std::min(count, begin + kTaskValues), whole = begin + (end - begin) / 8 * 8;
      for (int64_t i = begin; i < whole; i += 8) {
        for (int lane = 0; lane < 8; ++lane) lanes[lane] += static_cast<double>(values[i + lane]) * values[i + lane];
      }
      for (int64_t i = whole; i < end; ++i) lanes[i - whole] += static_cast<double>(values[i]) * values[i];
      sums[task] = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
    });
    for (int64_t task = 0; task < tasks; ++task) total += sums[task];
  }
  return total;
}

}  // namespace umbel::train
