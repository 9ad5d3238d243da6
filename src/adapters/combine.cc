#include "adapters/combine.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/random.h"

namespace umbel {
namespace {

constexpr std::pair<std::string_view, CombineMethod> kMethods[] = {{"linear", CombineMethod::kLinear},
                                                                   {"cat", CombineMethod::kCat},
                                                                   {"ties", CombineMethod::kTies},
                                                                   {"dare_linear", CombineMethod::kDareLinear},
                                                                   {"dare_ties", CombineMethod::kDareTies}};

// One module as each adapter has it. adapter: its index, for weights and random streams.
struct Share {
  size_t adapter;
  const LoraModule* module;
};
using Shares = std::vector<Share>;

bool is_dare(CombineMethod method) { return method == CombineMethod::kDareLinear || method == CombineMethod::kDareTies; }
bool is_ties(CombineMethod method) { return method == CombineMethod::kTies || method == CombineMethod::kDareTies; }

uint64_t text_key(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

Status check_options(size_t adapters, const CombineOptions& options) {
  if (adapters < 2) return invalid_argument("merging needs at least two adapters");
  if (options.weights.size() != adapters) {
    return invalid_argument("there are " + std::to_string(adapters) + " adapters and " + std::to_string(options.weights.size()) + " weights");
  }
  for (const double weight : options.weights) {
    if (!std::isfinite(weight)) return invalid_argument("a weight is not finite");
  }
  if (!(options.density > 0.0 && options.density <= 1.0)) return invalid_argument("the density is " + std::to_string(options.density) + ", expected over 0 and at most 1");
  return ok_status();
}

std::string sizes(const LoraModule& module) { return std::to_string(module.in()) + " to " + std::to_string(module.out()); }

Status check_shares(const std::string& path, const Shares& shares, CombineMethod method) {
  const LoraModule& first = *shares.front().module;
  for (const auto& [adapter, module] : shares) {
    if (module->in() != first.in() || module->out() != first.out() || module->embedding != first.embedding) {
      return failed_precondition(path + " goes from " + sizes(first) + " in one adapter and from " + sizes(*module) +
                                 " in another: they are made for different base models");
    }
    if (method != CombineMethod::kCat && module->rank() != first.rank()) {
      return invalid_argument(path + " has rank " + std::to_string(first.rank()) + " in one adapter and " + std::to_string(module->rank()) +
                              " in another; this method needs equal ranks (--method cat takes any)");
    }
  }
  return ok_status();
}

// [w_i s_i A_i] one under the other, [B_i] side by side.
LoraModule concatenate(const Shares& shares, const CombineOptions& options) {
  const LoraModule& first = *shares.front().module;
  int64_t rank = 0;
  for (const Share& share : shares) rank += share.module->rank();
  LoraModule made{.a = Tensor(DType::kF32, {rank, first.in()}), .b = Tensor(DType::kF32, {first.out(), rank}), .embedding = first.embedding};
  int64_t begin = 0;
  for (const auto& [adapter, module] : shares) {
    const double factor = options.weights[adapter] * static_cast<double>(module->scale);
    float* a = made.a.f32() + begin * first.in();
    for (int64_t i = 0; i < module->a.elements(); ++i) a[i] = static_cast<float>(factor * module->a.f32()[i]);
    for (int64_t row = 0; row < first.out(); ++row) {
      std::copy_n(module->b.f32() + row * module->rank(), module->rank(), made.b.f32() + row * rank + begin);
    }
    begin += module->rank();
  }
  return made;
}

// One factor of all adapters. weights: of each share.
Tensor combine_factor(const std::vector<const Tensor*>& factors, std::span<const double> weights, const CombineOptions& options,
                      std::span<const uint64_t> keys) {
  std::vector<std::vector<float>> entries;
  for (size_t i = 0; i < factors.size(); ++i) {
    entries.emplace_back(factors[i]->f32(), factors[i]->f32() + factors[i]->elements());
    if (is_dare(options.method)) keep_random(entries.back(), options.density, keys[i]);
    if (options.method == CombineMethod::kTies) keep_largest(entries.back(), options.density);
  }
  const std::vector<float> values =
      is_ties(options.method) ? elected_mean(entries, weights, options.sign) : weighted_sum(entries, weights);
  Tensor made(DType::kF32, factors.front()->shape());
  std::memcpy(made.data(), values.data(), made.bytes());
  return made;
}

LoraModule combine_module(const std::string& path, const Shares& shares, const CombineOptions& options) {
  if (options.method == CombineMethod::kCat) return concatenate(shares, options);
  std::vector<const Tensor*> a, b;
  std::vector<double> weights_a, weights_b;
  std::vector<uint64_t> keys_a, keys_b;
  for (const auto& [adapter, module] : shares) {
    const double factor = options.weights[adapter] * static_cast<double>(module->scale);
    a.push_back(&module->a);
    b.push_back(&module->b);
    weights_b.push_back(std::sqrt(std::fabs(factor)));
    weights_a.push_back(factor >= 0 ? weights_b.back() : -weights_b.back());
    keys_a.push_back(mix_key({options.seed, adapter, text_key(path), 0}));
    keys_b.push_back(mix_key({options.seed, adapter, text_key(path), 1}));
  }
  return {.a = combine_factor(a, weights_a, options, keys_a),
          .b = combine_factor(b, weights_b, options, keys_b),
          .embedding = shares.front().module->embedding};
}

}  // namespace

Result<CombineMethod> parse_combine_method(std::string_view name) {
  std::string known;
  for (const auto& [text, method] : kMethods) {
    if (text == name) return method;
    known += (known.empty() ? "" : ", ") + std::string(text);
  }
  return invalid_argument("there is no method '" + std::string(name) + "' (" + known + " are known)");
}

void keep_largest(std::span<float> entries, double density) {
  if (density >= 1.0) return;
  const auto keep = static_cast<size_t>(density * static_cast<double>(entries.size()));
  std::vector<uint32_t> order(entries.size());
  std::iota(order.begin(), order.end(), 0u);
  const auto larger = [&](uint32_t left, uint32_t right) {
    const float a = std::fabs(entries[left]), b = std::fabs(entries[right]);
    return a != b ? a > b : left < right;
  };
  std::nth_element(order.begin(), order.begin() + static_cast<ptrdiff_t>(keep), order.end(), larger);
  for (size_t i = keep; i < order.size(); ++i) entries[order[i]] = 0.0f;
}

void keep_random(std::span<float> entries, double density, uint64_t key) {
  Random random(key);
  const auto divisor = static_cast<float>(density);
  for (float& entry : entries) {
    const bool stays = random.next_double() < density;
    entry = stays ? entry / divisor : 0.0f;
  }
}

std::vector<float> weighted_sum(std::span<const std::vector<float>> entries, std::span<const double> weights) {
  std::vector<float> sum(entries.front().size(), 0.0f);
  for (size_t i = 0; i < entries.size(); ++i) {
    const auto weight = static_cast<float>(weights[i]);
    for (size_t j = 0; j < sum.size(); ++j) sum[j] += weight * entries[i][j];
  }
  return sum;
}

std::vector<float> elected_mean(std::span<const std::vector<float>> entries, std::span<const double> weights, MajoritySign sign) {
  std::vector<float> mean(entries.front().size(), 0.0f);
  const auto sign_of = [](float x) { return static_cast<float>((x > 0) - (x < 0)); };
  for (size_t j = 0; j < mean.size(); ++j) {
    float vote = 0.0f;
    for (const auto& one : entries) vote += sign == MajoritySign::kTotal ? one[j] : sign_of(one[j]);
    const float elected = vote >= 0 ? 1.0f : -1.0f;
    float sum = 0.0f, count = 0.0f;
    for (size_t i = 0; i < entries.size(); ++i) {
      if (sign_of(entries[i][j]) != elected) continue;
      sum += static_cast<float>(weights[i]) * entries[i][j];
      count += 1.0f;
    }
    mean[j] = count > 0 ? sum / count : 0.0f;
  }
  return mean;
}

Result<LoraModules> combine(std::span<const LoraModules> adapters, const CombineOptions& options) {
  RETURN_IF_ERROR(check_options(adapters.size(), options));
  std::map<std::string, Shares> paths;
  for (size_t i = 0; i < adapters.size(); ++i) {
    for (const auto& [path, module] : adapters[i]) paths[path].push_back({i, &module});
  }
  LoraModules made;
  for (const auto& [path, shares] : paths) {
    RETURN_IF_ERROR(check_shares(path, shares, options.method));
    made.emplace(path, combine_module(path, shares, options));
  }
  return made;
}

}  // namespace umbel
