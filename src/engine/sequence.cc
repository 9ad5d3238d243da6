#include "engine/sequence.h"

#include <algorithm>

#include "engine/scheduler.h"
#include "kernels/api.h"

namespace umbel {

Sequence::Sequence(Submission submission, uint64_t arrival)
    : request_(std::move(submission.request)),
      stream_(std::move(submission.stream)),
      arrival_(arrival),
      arrived_(submission.arrived),
      prompt_tokens_(static_cast<int32_t>(request_.prompt.size())) {
  const size_t tokens_max = request_.prompt.size() + request_.max_tokens;
  tokens_.reserve(tokens_max);
  tokens_.assign(request_.prompt.begin(), request_.prompt.end());
  const size_t blocks_max = blocks_for(static_cast<int32_t>(tokens_max));
  blocks_.reserve(blocks_max);
  block_table_.reserve(blocks_max);
  if (request_.prompt_logprobs < 0) {
    logprobs_done_ = prompt_tokens_ - 1;
  } else {
    prompt_logprobs_.reserve(prompt_tokens_ - 1);
  }
}

void Sequence::pin(AdapterHandle handle) {
  handle_ = std::move(handle);
  pinned_ = true;
}

void Sequence::adopt_prefix(PrefixCache& cache, int32_t blocks_max) {
  chain_ = cache.adopt(root, tokens(), blocks_max, blocks_);
  chained_ = static_cast<int32_t>(blocks_.size());
  for (const BlockRef& block : blocks_) block_table_.push_back(block.id());
  computed_ = chained_ * kernels::kKvBlockSize;
}

void Sequence::grow(KvPool& pool, int32_t tokens) {
  for (int32_t have = static_cast<int32_t>(blocks_.size()); have < blocks_for(tokens); ++have) {
    blocks_.push_back(pool.allocate());
    block_table_.push_back(blocks_.back().id());
  }
}

void Sequence::release_blocks() {
  while (!blocks_.empty()) blocks_.pop_back();
  block_table_.clear();
  computed_ = 0;
  chain_ = 0;
  chained_ = 0;
}

int32_t Sequence::exclusive_blocks(const KvPool& pool) const {
  return static_cast<int32_t>(
      std::count_if(blocks_.begin(), blocks_.end(), [&](const BlockRef& block) { return pool.references(block.id()) == 1; }));
}

void Sequence::remember_blocks(PrefixCache& cache) {
  constexpr int32_t kBlock = kernels::kKvBlockSize;
  for (; (chained_ + 1) * kBlock <= computed_; ++chained_) {
    chain_ = cache.insert(chain_, tokens().subspan(static_cast<size_t>(chained_) * kBlock, kBlock), blocks_[chained_]);
  }
}

void Sequence::add_prompt_logprobs(TokenLogprobs entry) {
  prompt_logprobs_.push_back(std::move(entry));
  ++logprobs_done_;
}

SequenceView Sequence::view(const KvPool& pool) const {
  return {.arrival = arrival_,
          .tenant = request_.tenant,
          .lane = lane_serial,
          .served_step = served_step,
          .remaining = remaining(),
          .computed = computed_,
          .blocks_held = static_cast<int32_t>(blocks_.size()),
          .blocks_exclusive = exclusive_blocks(pool),
          .cost = cost(),
          .logit_first = wants_prompt_logprobs() ? logprobs_done_ : -1};
}

}  // namespace umbel
