#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "base/random.h"

namespace umbel {
namespace {

using Candidate = SamplerScratch::Candidate;
using Candidates = std::span<Candidate>;
constexpr float kNever = -std::numeric_limits<float>::infinity();

// The order in which candidates are ranked everywhere: larger score first, then the lower id.
bool better(const Candidate& a, const Candidate& b) { return a.score != b.score ? a.score > b.score : a.id < b.id; }

float number(float value) { return std::isnan(value) ? kNever : value; }

int32_t best_id(std::span<const float> scores) {
  int32_t best = -1;
  float best_score = kNever;
  for (size_t id = 0; id < scores.size(); ++id) {
    if (scores[id] > best_score) {  // false for NaN
      best_score = scores[id];
      best = static_cast<int32_t>(id);
    }
  }
  return best;
}

// What a parameter made of a score: a number stays a number, however large the penalty.
float changed(float before, float after) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  return std::isfinite(before) ? std::clamp(after, -kLargest, kLargest) : before;
}

bool changes_scores(const SampleInput& input) {
  const SamplingParams& params = input.params;
  return !params.logit_bias.empty() || params.repetition_penalty != 1.0f || params.presence_penalty != 0.0f ||
         params.frequency_penalty != 0.0f || !input.banned.empty() || !input.banned_more.empty() || !input.tokenless.empty();
}

// Calls body(id, count) once for every distinct id, in order of first appearance. counts is all zero before and after.
template <typename Body>
void for_each_distinct(std::span<const int32_t> ids, std::vector<int32_t>& counts, const Body& body) {
  for (int32_t id : ids) ++counts[id];
  for (int32_t id : ids) {
    if (counts[id] == 0) continue;
    body(id, counts[id]);
    counts[id] = 0;
  }
}

void ban(std::span<const int32_t> ids, std::vector<float>& scores) {
  for (int32_t id : ids) {
    if (id >= 0 && static_cast<size_t>(id) < scores.size()) scores[id] = kNever;
  }
}

// Steps 1 to 4, on a copy.
void process_scores(const SampleInput& input, SamplerScratch& scratch) {
  const SamplingParams& params = input.params;
  std::vector<float>& scores = scratch.scores;
  std::transform(input.logits.begin(), input.logits.end(), scores.begin(), number);
  for (const auto& [id, bias] : params.logit_bias) {
    scores[id] = std::isinf(bias) ? bias : changed(scores[id], scores[id] + bias);
  }
  if (params.repetition_penalty != 1.0f) {
    for_each_distinct(input.history, scratch.counts, [&](int32_t id, int32_t) {
      const float penalty = params.repetition_penalty;
      scores[id] = changed(scores[id], scores[id] > 0 ? scores[id] / penalty : scores[id] * penalty);
    });
  }
  if (params.presence_penalty != 0.0f || params.frequency_penalty != 0.0f) {
    for_each_distinct(input.history.subspan(input.prompt_tokens), scratch.counts, [&](int32_t id, int32_t count) {
      const float penalty = params.presence_penalty + params.frequency_penalty * static_cast<float>(count);
      scores[id] = changed(scores[id], scores[id] - penalty);
    });
  }
  ban(input.banned, scores);
  ban(input.banned_more, scores);
  ban(input.tokenless, scores);
}

double mass_of(std::span<const Candidate> candidates) {
  double mass = 0.0;
  for (const Candidate& candidate : candidates) mass += std::exp(candidate.score);
  return mass;
}

Candidates keep_top_k(Candidates candidates, int32_t k) {
  if (k <= 0 || static_cast<size_t>(k) >= candidates.size()) return candidates;
  std::nth_element(candidates.begin(), candidates.begin() + (k - 1), candidates.end(), better);
  const float threshold = candidates[k - 1].score;
  const auto end =
      std::partition(candidates.begin() + k, candidates.end(), [=](const Candidate& c) { return c.score >= threshold; });
  return candidates.first(end - candidates.begin());
}

// Sorts only as much of the candidates as the mass p needs: the first few hundred almost always.
Candidates keep_top_p(Candidates candidates, float p) {
  if (p >= 1.0f) return candidates;
  const double wanted = static_cast<double>(p) * mass_of(candidates);
  size_t sorted = 0;
  double mass = 0.0;
  for (size_t chunk = 256; sorted < candidates.size(); chunk *= 4) {
    const size_t end = std::min(candidates.size(), sorted + chunk);
    if (end < candidates.size()) {
      std::nth_element(candidates.begin() + sorted, candidates.begin() + end, candidates.end(), better);
    }
    std::sort(candidates.begin() + sorted, candidates.begin() + end, better);
    for (; sorted < end; ++sorted) {
      if (sorted > 0 && mass >= wanted) return candidates.first(sorted);
      mass += std::exp(candidates[sorted].score);
    }
  }
  return candidates;
}

// Scores are relative to the largest one, which is 0 and stays in every filter before this one.
Candidates keep_min_p(Candidates candidates, float p) {
  if (p <= 0.0f) return candidates;
  const auto end = std::partition(candidates.begin(), candidates.end(),
                                  [=](const Candidate& c) { return c.score >= 0.0f || std::exp(c.score) >= p; });
  return candidates.first(end - candidates.begin());
}

Candidates keep_typical(Candidates candidates, float p) {
  if (p >= 1.0f || candidates.size() < 2) return candidates;
  std::sort(candidates.begin(), candidates.end(), better);
  const double mass = mass_of(candidates);
  const double log_mass = std::log(mass);
  double entropy = 0.0;
  for (const Candidate& c : candidates) {
    const double log_p = c.score - log_mass;
    entropy -= std::exp(log_p) * log_p;
  }
  const auto distance = [&](const Candidate& c) { return std::abs(log_mass - c.score - entropy); };
  std::sort(candidates.begin(), candidates.end(), [&](const Candidate& a, const Candidate& b) {
    const double da = distance(a);
    const double db = distance(b);
    return da != db ? da < db : better(a, b);
  });
  double taken = 0.0;
  size_t kept = 0;
  while (kept < candidates.size() && (kept == 0 || taken < p * mass)) taken += std::exp(candidates[kept++].score);
  const double last = distance(candidates[kept - 1]);
  while (kept < candidates.size() && distance(candidates[kept]) <= last) ++kept;
  return candidates.first(kept);
}

int32_t draw(std::span<const Candidate> candidates, double uniform) {
  if (candidates.empty()) return -1;
  const double target = uniform * mass_of(candidates);
  double mass = 0.0;
  for (const Candidate& candidate : candidates) {
    mass += std::exp(candidate.score);
    if (mass > target) return candidate.id;
  }
  return candidates.back().id;
}

// The scores to choose from: the logits themselves where nothing changes them.
std::span<const float> processed_scores(const SampleInput& input, SamplerScratch& scratch) {
  if (!changes_scores(input)) return input.logits;
  process_scores(input, scratch);
  return std::span<const float>(scratch.scores).first(input.logits.size());
}

}  // namespace

double sample_uniform(uint64_t seed, int64_t step) {
  const auto words = philox(mix_key({seed}), {static_cast<uint32_t>(step), static_cast<uint32_t>(step >> 32), 0, 0});
  const uint64_t bits = (static_cast<uint64_t>(words[1]) << 32) | words[0];
  return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

std::span<const Candidate> sampling_candidates(const SampleInput& input, SamplerScratch& scratch) {
  const SamplingParams& params = input.params;
  const std::span<const float> scores = processed_scores(input, scratch);
  const int32_t best = best_id(scores);
  if (best < 0) return {};
  const float largest = scores[best];
  size_t count = 0;
  for (size_t id = 0; id < scores.size(); ++id) {
    const float score = number(scores[id]);
    if (score == kNever) continue;
    // Relative to the largest before the division, so that a tiny temperature can't overflow.
    const float relative = score == largest ? 0.0f : (score - largest) / params.temperature;
    if (relative == kNever) continue;
    scratch.candidates[count++] = {relative, static_cast<int32_t>(id)};
  }
  Candidates candidates(scratch.candidates.data(), count);
  candidates = keep_top_k(candidates, params.top_k);
  candidates = keep_top_p(candidates, params.top_p);
  candidates = keep_min_p(candidates, params.min_p);
  candidates = keep_typical(candidates, params.typical_p);
  if (candidates.size() < count) std::sort(candidates.begin(), candidates.end(), better);
  return candidates;
}

int32_t sample_token(const SampleInput& input, SamplerScratch& scratch) {
  const int64_t step = static_cast<int64_t>(input.history.size()) - input.prompt_tokens;
  const int32_t token = input.params.temperature <= 0.0f
                            ? best_id(processed_scores(input, scratch))
                            : draw(sampling_candidates(input, scratch), sample_uniform(input.params.seed, step));
  return token >= 0 ? token : best_id(input.logits);
}

TokenLogprobs token_logprobs(std::span<const float> logits, int32_t token, int32_t top, SamplerScratch& scratch) {
  TokenLogprobs result{.token = token, .logprob = kNever};
  const int32_t best = best_id(logits);
  if (best < 0) return result;
  const float largest = logits[best];
  // Equal infinities count as equal numbers.
  const auto relative = [=](float logit) { return logit == largest ? 0.0 : static_cast<double>(number(logit)) - largest; };
  double mass = 0.0;
  for (float logit : logits) mass += std::exp(relative(logit));
  const double log_mass = std::log(mass);
  const auto logprob = [&](float logit) { return static_cast<float>(relative(logit) - log_mass); };
  const float own = number(logits[token]);
  result.logprob = logprob(own);
  result.rank = 1 + static_cast<int32_t>(std::count_if(logits.begin(), logits.end(), [=](float l) { return l > own; }));
  if (top <= 0) return result;
  for (size_t id = 0; id < logits.size(); ++id) scratch.candidates[id] = {number(logits[id]), static_cast<int32_t>(id)};
  const auto begin = scratch.candidates.begin();
  const auto end = begin + logits.size();
  const int32_t count = std::min<int32_t>(top, static_cast<int32_t>(logits.size()));
  std::partial_sort(begin, begin + count, end, better);
  for (auto candidate = begin; candidate != begin + count && candidate->score != kNever; ++candidate) {
    result.top.emplace_back(candidate->id, logprob(candidate->score));
  }
  return result;
}

Status validate_sampling(const SamplingParams& p, int64_t vocab) {
  const auto outside = [](float value, double low, double high) { return !(value >= low && value <= high); };
  constexpr double kLarge = 1e6;
  if (outside(p.temperature, 0, kLarge)) return invalid_argument("temperature must be a number of at least 0");
  if (p.top_k < 0) return invalid_argument("top_k must be at least 0 (0 switches it off)");
  if (outside(p.top_p, 0, 1) || p.top_p == 0.0f) return invalid_argument("top_p must be above 0 and at most 1");
  if (outside(p.min_p, 0, 1)) return invalid_argument("min_p must be between 0 and 1");
  if (outside(p.typical_p, 0, 1) || p.typical_p == 0.0f) {
    return invalid_argument("typical_p must be above 0 and at most 1");
  }
  if (outside(p.repetition_penalty, 1e-6, kLarge)) return invalid_argument("repetition_penalty must be above 0");
  if (outside(p.presence_penalty, -kLarge, kLarge)) return invalid_argument("presence_penalty must be a number");
  if (outside(p.frequency_penalty, -kLarge, kLarge)) return invalid_argument("frequency_penalty must be a number");
  for (const auto& [id, bias] : p.logit_bias) {
    if (id < 0 || id >= vocab) {
      return invalid_argument("logit_bias names token " + std::to_string(id) + ", but the vocabulary has " +
                              std::to_string(vocab) + " tokens");
    }
    if (std::isnan(bias)) return invalid_argument("logit_bias must be numbers");
  }
  return ok_status();
}

}  // namespace umbel
