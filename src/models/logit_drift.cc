#include "models/logit_drift.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/arena.h"
#include "nn/kv_cache.h"

namespace umbel {
namespace {

// log sum exp of a row.
double log_total(std::span<const float> row) {
  const double most = *std::max_element(row.begin(), row.end());
  double total = 0;
  for (const float logit : row) total += std::exp(logit - most);
  return most + std::log(total);
}

double row_divergence(std::span<const float> first, std::span<const float> second) {
  const double first_total = log_total(first), second_total = log_total(second);
  double sum = 0;
  for (size_t i = 0; i < first.size(); ++i) {
    const double log_p = first[i] - first_total;
    sum += std::exp(log_p) * (log_p - (second[i] - second_total));
  }
  return sum;
}

}  // namespace

std::vector<float> sequence_logits(const Model& model, const kernels::Choice& choice, ThreadPool& pool,
                                   std::span<const int32_t> tokens, const Adapter* adapter) {
  const auto rows = static_cast<int64_t>(tokens.size());
  CHECK(rows > 0 && rows <= model.config().context_length(), "a sequence within the context");
  const int32_t blocks = static_cast<int32_t>((rows + kernels::kKvBlockSize) / kernels::kKvBlockSize);
  const KvCache cache(model.kv_shape(), blocks);
  std::vector<int32_t> block_list(blocks), positions(rows), lengths(rows, static_cast<int32_t>(rows)), begins(rows, 0), ends(rows);
  std::iota(block_list.begin(), block_list.end(), 0);
  std::iota(positions.begin(), positions.end(), 0);  // also the slots, and the rows whose logits are wanted
  std::iota(ends.begin(), ends.end(), 1);
  const kernels::AttentionSpan span{0, static_cast<int32_t>(rows), block_list.data()};
  const Segment segment{0, static_cast<int32_t>(rows), adapter};
  Arena scratch(model.scratch_bytes(rows, rows, adapter == nullptr ? 0 : adapter->rank_max()));
  kernels::Context context{kernels::table_for(choice.isa), choice, pool, scratch};
  const int64_t own = adapter == nullptr ? 0 : adapter->vocabulary();
  const int64_t vocab = own > 0 ? own : model.config().vocab_size;
  std::vector<float> logits(static_cast<size_t>(rows * vocab));
  model.forward(context,
                {.tokens = tokens, .positions = positions, .rope_lengths = lengths, .kv_slots = positions,
                 .key_begin = begins, .key_end = ends, .spans = {&span, 1}, .segments = {&segment, 1},
                 .logit_rows = positions},
                cache, MatrixF(logits.data(), rows, vocab));
  return logits;
}

void LogitDrift::add(std::span<const float> first, std::span<const float> second, int64_t vocab) {
  CHECK(first.size() == second.size() && first.size() % static_cast<size_t>(vocab) == 0, "rows of equal size");
  for (size_t begin = 0; begin < first.size(); begin += static_cast<size_t>(vocab)) {
    const auto one = first.subspan(begin, static_cast<size_t>(vocab));
    const auto two = second.subspan(begin, static_cast<size_t>(vocab));
    for (size_t i = 0; i < one.size(); ++i) {
      const double difference = std::fabs(static_cast<double>(one[i]) - two[i]);
      largest_ = std::max(largest_, difference);
      sum_ += difference;
    }
    count_ += vocab;
    const auto top = [](std::span<const float> row) { return std::max_element(row.begin(), row.end()) - row.begin(); };
    same_top_ += top(one) == top(two);
    divergence_ += row_divergence(one, two);
    ++rows_;
  }
}

double LogitDrift::mean() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }
double LogitDrift::top1_agreement() const { return rows_ == 0 ? 1 : static_cast<double>(same_top_) / static_cast<double>(rows_); }
double LogitDrift::divergence() const { return rows_ == 0 ? 0 : divergence_ / static_cast<double>(rows_); }

}  // namespace umbel
