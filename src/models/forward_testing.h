// Running sequences through a model without an engine, for tests and goldens of any room above models: whole, in
// chunks, token by token, several at once with their own adapters; and greedy generation. Included by tests only; knows
// nothing of gtest.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "adapters/adapter.h"
#include "base/threads.h"
#include "kernels/api.h"
#include "models/model.h"

namespace umbel::testing {

// The choice that tests use: the best ISA of this machine, or "generic", "avx2", ...; f32 arithmetic unless told.
inline kernels::Choice test_choice(const std::string& isa = "auto", const std::string& arithmetic = "f32-fma") {
  return kernels::choose({.isa = isa, .arithmetic = arithmetic}).value();
}

struct TestSequence {
  std::vector<int32_t> tokens;
  const Adapter* adapter = nullptr;
  // The first `prompt` tokens are the prompt, the rest counts as generated (only dynamic RoPE cares). 0 = all.
  size_t prompt = 0;
};

struct GreedyRun {
  std::vector<int32_t> ids;
  std::vector<float> first_logits;  // [vocab], of the prompt's last position
};

// Owns pool, arena and a fresh KV cache per call. The arena has exactly the model's scratch_bytes of each step, so that
// an estimate that is too small stops the test.
class ForwardRunner {
 public:
  ForwardRunner(std::shared_ptr<const Model> model, kernels::Choice choice, int threads = 1)
      : model_(std::move(model)), choice_(std::move(choice)), pool_(threads) {}

  // Logits of all tokens of every sequence, [tokens, vocab] each. Every step takes the next `chunk` tokens (0 = all
  // that are left) of every sequence that has any.
  std::vector<std::vector<float>> run_batch(std::span<const TestSequence> sequences, size_t chunk = 0) {
    Cache cache(*model_, sequences);
    std::vector<std::vector<float>> logits(sequences.size());
    std::vector<size_t> done(sequences.size(), 0);
    while (true) {
      StepRows step;
      std::vector<size_t> who;
      for (size_t s = 0; s < sequences.size(); ++s) {
        const size_t left = sequences[s].tokens.size() - done[s];
        const size_t count = chunk == 0 ? left : std::min(chunk, left);
        if (count == 0) continue;
        step.append(sequences[s], done[s], count, cache.blocks[s]);
        done[s] += count;
        who.insert(who.end(), count, s);
      }
      if (who.empty()) return logits;
      const std::vector<float> rows = forward(step, cache.kv);
      const size_t vocab = static_cast<size_t>(model_->config().vocab_size);
      for (size_t i = 0; i < who.size(); ++i) {
        logits[who[i]].insert(logits[who[i]].end(), rows.begin() + i * vocab, rows.begin() + (i + 1) * vocab);
      }
    }
  }
  std::vector<float> run(const TestSequence& sequence, size_t chunk = 0) {
    return run_batch(std::span(&sequence, 1), chunk).front();
  }

  // Prefill in one step, then one token a step; no stop at EOS.
  GreedyRun greedy(std::span<const int32_t> prompt, size_t steps, const Adapter* adapter = nullptr) {
    TestSequence sequence{{prompt.begin(), prompt.end()}, adapter, prompt.size()};
    sequence.tokens.resize(prompt.size() + steps);
    Cache cache(*model_, std::span(&sequence, 1));
    const size_t vocab = static_cast<size_t>(model_->config().vocab_size);
    GreedyRun run;
    size_t begin = 0;
    for (size_t end = prompt.size(); run.ids.size() < steps; begin = end++) {
      StepRows step;
      step.append(sequence, begin, end - begin, cache.blocks[0]);
      const std::vector<float> logits = forward(step, cache.kv);
      const auto last = logits.end() - static_cast<std::ptrdiff_t>(vocab);
      if (run.ids.empty()) run.first_logits.assign(last, logits.end());
      run.ids.push_back(static_cast<int32_t>(std::max_element(last, logits.end()) - last));
      sequence.tokens[end] = run.ids.back();
    }
    return run;
  }

  const Model& model() const { return *model_; }
  size_t scratch_peak_bytes() const { return scratch_peak_; }      // of the last step
  size_t scratch_planned_bytes() const { return scratch_planned_; }

 private:
  // The vectors behind one Rows.
  struct StepRows {
    std::vector<int32_t> tokens, positions, lengths, slots, key_begin, key_end;
    std::vector<kernels::AttentionSpan> spans;
    std::vector<Segment> segments;

    void append(const TestSequence& s, size_t begin, size_t count, const std::vector<int32_t>& blocks) {
      const size_t prompt = s.prompt == 0 ? s.tokens.size() : s.prompt;
      const auto row = static_cast<int32_t>(tokens.size());
      for (size_t p = begin; p < begin + count; ++p) {
        tokens.push_back(s.tokens[p]);
        positions.push_back(static_cast<int32_t>(p));
        lengths.push_back(static_cast<int32_t>(p < prompt ? prompt : p + 1));
        slots.push_back(blocks[p / kernels::kKvBlockSize] * kernels::kKvBlockSize +
                        static_cast<int32_t>(p % kernels::kKvBlockSize));
        key_begin.push_back(0);
        key_end.push_back(static_cast<int32_t>(p) + 1);
      }
      spans.push_back({row, static_cast<int32_t>(count), blocks.data()});
      segments.push_back({row, static_cast<int32_t>(count), s.adapter});
    }
  };

  // Blocks of all sequences, dealt from the end backwards so that nothing works by accident of neighbouring blocks.
  struct Cache {
    Cache(const Model& model, std::span<const TestSequence> sequences) : kv(model.kv_shape(), total(sequences)) {
      int32_t next = kv.blocks();
      for (const TestSequence& s : sequences) {
        auto& list = blocks.emplace_back();
        for (size_t i = 0; i < count(s); ++i) list.push_back(--next);
      }
    }
    static size_t count(const TestSequence& s) {
      return (s.tokens.size() + kernels::kKvBlockSize) / kernels::kKvBlockSize;
    }
    static int32_t total(std::span<const TestSequence> sequences) {
      size_t blocks = 0;
      for (const TestSequence& s : sequences) blocks += count(s);
      return static_cast<int32_t>(blocks);
    }
    KvCache kv;
    std::vector<std::vector<int32_t>> blocks;
  };

  std::vector<float> forward(const StepRows& step, const KvCache& kv) {
    std::vector<int32_t> wanted(step.tokens.size());
    std::iota(wanted.begin(), wanted.end(), 0);
    const auto rows = static_cast<int64_t>(step.tokens.size());
    int32_t rank_max = 0;
    for (const Segment& s : step.segments) rank_max = std::max(rank_max, s.adapter ? s.adapter->rank_max() : 0);
    scratch_planned_ = model_->scratch_bytes(rows, rows, rank_max);
    Arena scratch(scratch_planned_);
    kernels::Context context{kernels::table_for(choice_.isa), choice_, pool_, scratch};
    std::vector<float> logits(step.tokens.size() * static_cast<size_t>(model_->config().vocab_size));
    model_->forward(context,
                    {.tokens = step.tokens, .positions = step.positions, .rope_lengths = step.lengths,
                     .kv_slots = step.slots, .key_begin = step.key_begin, .key_end = step.key_end, .spans = step.spans,
                     .segments = step.segments, .logit_rows = wanted},
                    kv, MatrixF(logits.data(), rows, model_->config().vocab_size));
    scratch_peak_ = scratch.peak_bytes();
    return logits;
  }

  std::shared_ptr<const Model> model_;
  kernels::Choice choice_;
  ThreadPool pool_;
  size_t scratch_peak_ = 0;
  size_t scratch_planned_ = 0;
};

// Mean of -log p(next token), teacher-forced.
inline double mean_loss(ForwardRunner& runner, const std::vector<int32_t>& tokens) {
  const auto vocab = static_cast<size_t>(runner.model().config().vocab_size);
  const std::vector<float> logits = runner.run({.tokens = tokens});
  double sum = 0;
  for (size_t i = 0; i + 1 < tokens.size(); ++i) {
    const float* row = logits.data() + i * vocab;
    const double largest = *std::max_element(row, row + vocab);
    double total = 0;
    for (size_t j = 0; j < vocab; ++j) total += std::exp(row[j] - largest);
    sum += largest + std::log(total) - row[tokens[i + 1]];
  }
  return sum / static_cast<double>(tokens.size() - 1);
}

}  // namespace umbel::testing
