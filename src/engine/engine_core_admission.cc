// EngineCore's admission: who of the waiting gets a place, and who gives one up. The order and the exchange of places
// are FairQueue's, what memory allows is Policy's; here they meet pins, prefixes and blocks.
#include <algorithm>

#include "base/check.h"
#include "engine/engine_core.h"

namespace umbel {
namespace {

// How many waiting requests with adapters get their pins ahead of time while all places are taken.
constexpr int32_t kPrefetchedAdapters = 8;

// How many requests of a lane that wait for a prefix under way are passed over in one step.
constexpr int32_t kPassedOverMax = 8;

constexpr int32_t kBlock = kernels::kKvBlockSize;

int32_t common_blocks(std::span<const int32_t> a, std::span<const int32_t> b, int32_t blocks_max) {
  const size_t limit = std::min({a.size(), b.size(), static_cast<size_t>(blocks_max) * kBlock});
  size_t common = 0;
  while (common < limit && a[common] == b[common]) ++common;
  return static_cast<int32_t>(common) / kBlock;
}

// Blocks that a running sequence still needs for the tokens that it has.
int32_t promised_blocks(const Sequence& sequence) {
  return blocks_for(static_cast<int32_t>(sequence.tokens().size())) - static_cast<int32_t>(sequence.blocks().size());
}

}  // namespace

// ---- admit: in FairQueue's order ------------------------------------------------------------------------------------

void EngineCore::admit(TimePoint now) {
  blocked_adapters_.clear();
  const uint64_t held_after = hold_for_the_stuck(now);
  waiting_views_.clear();
  for (const SequencePtr& sequence : waiting_) waiting_views_.push_back({sequence->lane, sequence->stamp});
  queue_.begin(waiting_views_);
  int32_t prefetches = kPrefetchedAdapters;
  int32_t passed_over = 0;
  while (const std::optional<size_t> index = queue_.next()) {
    Sequence& candidate = *waiting_[*index];
    const Verdict verdict = consider(candidate, held_after, now);
    if (verdict == Verdict::kStart) start(*index);
    const bool lane_goes_on =
        verdict == Verdict::kStart || verdict == Verdict::kGone ||
        (verdict == Verdict::kPassOver && ++passed_over % kPassedOverMax != 0);
    if (lane_goes_on) {
      queue_.advance();
    } else {
      queue_.close_lane();
    }
    const bool waits_for_place = verdict == Verdict::kFull || verdict == Verdict::kStop;
    if (waits_for_place && candidate.request().adapter != nullptr && prefetches > 0) {
      prefetches = prefetch(candidate, held_after, now) ? prefetches - 1 : 0;
    }
    if (verdict == Verdict::kStop) break;
  }
  std::erase(waiting_, nullptr);
  return_preempted();
  drop_done();
}

// Those next in line get their pins early, so that their adapters load meanwhile and are not pushed out by one another.
// False: no more of this in this step; a later one must not take the room that an earlier one waits for.
bool EngineCore::prefetch(Sequence& sequence, uint64_t held_after, TimePoint now) {
  if (sequence.pinned()) return true;
  if (sequence.arrival() > held_after) return false;
  return try_pin(sequence, now) || sequence.done;
}

EngineCore::Verdict EngineCore::consider(Sequence& candidate, uint64_t held_after, TimePoint now) {
  if (candidate.done) return Verdict::kGone;
  if (!queue_.may_run(candidate.lane)) return Verdict::kClose;
  const bool full = running_.size() >= static_cast<size_t>(limits_.sequences_max);
  if (full && !queue_.giver(candidate.lane)) return Verdict::kFull;
  if (!candidate.pinned()) {
    const bool held = candidate.request().adapter != nullptr && candidate.arrival() > held_after;
    if (held || !try_pin(candidate, now)) return candidate.done ? Verdict::kGone : Verdict::kClose;
  }
  look_up_root(candidate);
  const int32_t shared =
      candidate.caches ? cache_.match_length(candidate.root, candidate.tokens(), shared_blocks_max(candidate)) : 0;
  if (better_soon(candidate, shared)) return Verdict::kPassOver;
  AdmissionView view = admission_view(candidate, shared);
  if (parts_.policy.admits(view)) return Verdict::kStart;
  // Places are often given back by themselves in the next step.
  const bool first_refusal = candidate.refused_step == 0;
  if (first_refusal) candidate.refused_step = step_;
  const bool made_room = !first_refusal && candidate.refused_step < step_ && make_room(candidate, view);
  if (made_room) return Verdict::kStart;
  return full ? Verdict::kFull : Verdict::kStop;  // nobody later takes the memory that this one waits for
}

// A request that has waited too long for its adapter stops the younger ones from having theirs, so that the busy
// adapters' pins run out and its own fits. The arrival of the oldest such request; UINT64_MAX = there is none.
uint64_t EngineCore::hold_for_the_stuck(TimePoint now) {
  size_t index = 0;
  for (; index < waiting_.size(); ++index) {
    Sequence& sequence = *waiting_[index];
    const bool stuck = !sequence.pinned() && sequence.blocked_since != TimePoint{} &&
                       now - sequence.blocked_since >= kAdapterPatience;
    if (stuck && !try_pin(sequence, now) && !sequence.done) break;
  }
  if (index == waiting_.size()) return UINT64_MAX;
  const uint64_t arrival = waiting_[index]->arrival();
  for (++index; index < waiting_.size(); ++index) waiting_[index]->unpin();
  return arrival;
}

AdmissionView EngineCore::admission_view(const Sequence& candidate, int32_t shared) const {
  AdmissionView view{.running = static_cast<int32_t>(running_.size()),
                     .sequences_max = limits_.sequences_max,
                     .blocks_available = pool_.available(),
                     .blocks_needed = blocks_for(static_cast<int32_t>(candidate.tokens().size())) - shared,
                     .blocks_idle_shared = std::min(shared, pool_.idle())};
  for (const SequencePtr& other : running_) view.blocks_promised += promised_blocks(*other);
  return view;
}

// Preempts as many as it takes for the candidate to start, the youngest of those who have more than their share, or
// nobody.
bool EngineCore::make_room(const Sequence& candidate, AdmissionView view) {
  victims_.clear();
  bool enough = false;
  while (!enough) {
    const std::optional<int32_t> lane = queue_.giver(candidate.lane);
    if (!lane) break;
    Sequence* youngest = nullptr;
    for (const SequencePtr& other : running_) {
      const bool gives = other->running && queue_.as_full(other->lane, *lane);
      if (gives && (youngest == nullptr || other->arrival() > youngest->arrival())) youngest = other.get();
    }
    youngest->running = false;
    queue_.vacate(youngest->lane);
    victims_.push_back(youngest);
    --view.running;
    view.blocks_available += youngest->exclusive_blocks(pool_);
    view.blocks_promised -= promised_blocks(*youngest);
    enough = parts_.policy.admits(view);
  }
  for (Sequence* victim : victims_) {
    queue_.take_back(victim->lane);
    victim->running = true;
  }
  if (enough) {
    for (const Sequence* victim : victims_) {
      const auto is_victim = [&](const SequencePtr& other) { return other.get() == victim; };
      preempt(*std::find_if(running_.begin(), running_.end(), is_victim));
    }
    std::erase(running_, nullptr);
  }
  return enough;
}

bool EngineCore::try_pin(Sequence& sequence, TimePoint now) {
  const AdapterRef& ref = sequence.request().adapter;
  const auto asked = std::find(blocked_adapters_.begin(), blocked_adapters_.end(), ref.get());
  if (asked == blocked_adapters_.end()) {
    auto handle = parts_.adapters.try_pin(ref);
    if (!handle.ok()) {
      finish(sequence, {.finish = FinishReason::kError, .status = handle.status()}, now);
      return false;
    }
    if (handle->has_value()) {
      sequence.pin(std::move(**handle));
      Status fits = validate_vocabulary(sequence);
      if (fits.ok()) return true;
      finish(sequence, {.finish = FinishReason::kError, .status = std::move(fits)}, now);
      return false;
    }
    if (blocked_adapters_.size() < blocked_adapters_.capacity()) blocked_adapters_.push_back(ref.get());
  }
  if (sequence.blocked_since == TimePoint{}) sequence.blocked_since = now;
  return false;
}

void EngineCore::look_up_root(Sequence& sequence) {
  if (!sequence.caches || sequence.root != 0) return;
  const AdapterRef& ref = sequence.request().adapter;
  sequence.root = cache_.root(ref == nullptr ? std::string_view() : std::string_view(parts_.adapters.digest(ref)),
                              sequence.request().cache_salt);
}

int32_t EngineCore::shared_blocks_max(const Sequence& sequence) const {
  // The last token is always computed, for its logits; so is every prompt token whose logprobs are still wanted.
  int32_t tokens = sequence.target() - 1;
  if (sequence.wants_prompt_logprobs()) tokens = std::min(tokens, sequence.logprobs_done());
  return std::max(tokens, 0) / kBlock;
}

bool EngineCore::better_soon(const Sequence& candidate, int32_t shared) const {
  if (!candidate.caches) return false;
  const int32_t blocks_max = shared_blocks_max(candidate);
  if (shared >= blocks_max) return false;
  return std::any_of(running_.begin(), running_.end(), [&](const SequencePtr& other) {
    if (!other->caches || other->root != candidate.root || other->arrival() > candidate.arrival()) return false;
    if (other->lane != candidate.lane) return false;  // nobody waits for another tenant's pace
    if (other->remaining() <= 1) return false;
    const int32_t common = common_blocks(candidate.tokens(), other->tokens(), blocks_max);
    return common > shared && other->computed() / kBlock < common;
  });
}

void EngineCore::start(size_t waiting_index) {
  SequencePtr owned = std::move(waiting_[waiting_index]);
  Sequence& sequence = *owned;
  sequence.running = true;
  sequence.refused_step = 0;
  queue_.started(sequence.lane);
  if (sequence.caches) {
    sequence.adopt_prefix(cache_, shared_blocks_max(sequence));
    stats_.prefix_hit_tokens += sequence.computed();
  }
  if (!sequence.started) {
    sequence.started = true;
    sequence.cached_tokens = sequence.computed();
    left_queue_.push_back(sequence.queue_place());
  }
  sequence.served_step = step_;
  sequence.group = sequence.adapter() == nullptr ? 0 : sequence.arrival();
  for (const SequencePtr& other : running_) {
    if (other->adapter() == sequence.adapter()) sequence.group = other->group;
  }
  if (sequence.remaining() <= 0) {  // a one-token prompt to score: nothing to compute
    finish(sequence, {.finish = FinishReason::kLength}, parts_.clock.now());
  }
  running_.push_back(std::move(owned));
}

}  // namespace umbel
