// Stand-ins for the engine's simulation (tests only): a model whose every number is a hash of what it must depend on, and
// a library whose adapters load, fail, get evicted and replaced on a virtual clock.
//
// The fake KV cache keeps one hash per slot: of the row's token, position, RoPE length, adapter and of all the earlier
// slots that it attends to. A stale or foreign block, a wrong slot, a skipped or repeated row changes every later token.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "engine/adapter_pins.h"
#include "engine/runner.h"

namespace umbel::simulation {

struct FakeModel {
  int32_t vocab = 24;
  int32_t dynamic_context = 0;  // dynamic RoPE: lengths beyond it change a row, shorter ones don't; 0 = none does

  // What a row leaves in its KV slot. earlier: the slots of the positions before it, in order.
  template <typename Earlier>
  uint64_t row_value(int32_t token, int32_t position, int32_t rope_length, uint64_t adapter, const Earlier& earlier) const {
    const int32_t scaled = dynamic_context > 0 && rope_length > dynamic_context ? rope_length : 0;
    uint64_t hash = 0x9E37;
    for (int32_t j = 0; j < position; ++j) hash = (hash ^ earlier(j)) * 0xD1342543DE82EF95ull + 1;
    const auto word = [](int32_t value) { return static_cast<uint64_t>(static_cast<uint32_t>(value)); };
    return mix_key({word(token), word(position), word(scaled), adapter, hash});
  }
  void logits(uint64_t value, float* target) const {
    for (int32_t id = 0; id < vocab; ++id) {
      target[id] = static_cast<float>(mix_key({value, static_cast<uint64_t>(id)}) >> 40) * 0x1.0p-21f - 4.0f;
    }
  }
};

// The contents of an adapter as the fake model sees it; 0 = the base.
using ContentOf = std::map<const Adapter*, uint64_t>;

class FakeRunner final : public Runner {
 public:
  FakeRunner(const FakeModel& model, const ContentOf& contents, const Limits& limits)
      : model_(model),
        contents_(contents),
        batch_(limits),
        slots_(static_cast<size_t>(limits.kv_blocks) * kernels::kKvBlockSize, 0),
        logits_(static_cast<size_t>(step_logit_rows_max(limits)) * model.vocab) {}

  Ticket launch(const Plan& plan) override {
    const Rows& rows = batch_.build(plan);
    size_t wanted = 0;
    size_t segment = 0;
    for (const kernels::AttentionSpan& span : rows.spans) {
      for (int32_t row = span.row_begin; row < span.row_begin + span.row_count; ++row) {
        while (row >= rows.segments[segment].row_begin + rows.segments[segment].row_count) ++segment;
        const Adapter* adapter = rows.segments[segment].adapter;
        const uint64_t value = model_.row_value(
            rows.tokens[row], rows.positions[row], rows.rope_lengths[row],
            adapter == nullptr ? 0 : contents_.at(adapter), [&](int32_t j) {
              return slots_[span.blocks[j / kernels::kKvBlockSize] * kernels::kKvBlockSize + j % kernels::kKvBlockSize];
            });
        slots_[rows.kv_slots[row]] = value;
        if (wanted < rows.logit_rows.size() && rows.logit_rows[wanted] == row) {
          model_.logits(value, logits_.data() + wanted++ * model_.vocab);
        }
      }
    }
    wanted_ = static_cast<int64_t>(wanted);
    return {++number_};
  }
  ConstMatrixF collect(Ticket) override { return {logits_.data(), wanted_, model_.vocab}; }

 private:
  const FakeModel& model_;
  const ContentOf& contents_;
  Batch batch_;
  std::vector<uint64_t> slots_;
  std::vector<float> logits_;
  int64_t wanted_ = 0;
  uint64_t number_ = 0;
};

struct FakeEntry {
  std::string digest;
  uint64_t content = 0;
  int32_t cost = 1;
  bool fails = false;
  Duration load_time{};
  TimePoint ready{};           // while loading
  bool loading = false;
  bool failed = false;
  uint64_t used = 0;
  std::shared_ptr<const Adapter> resident;
  std::weak_ptr<int> pins;     // alive while pinned
};

class FakeLibrary final : public AdapterPins {
 public:
  FakeLibrary(const Clock& clock, size_t resident_max) : clock_(clock), resident_max_(resident_max) {}

  static FakeEntry& entry_of(const AdapterRef& ref) { return *reinterpret_cast<FakeEntry*>(ref.get()); }
  AdapterRef add(const FakeEntry& entry) {
    entries_.push_back(std::make_shared<FakeEntry>(entry));
    return AdapterRef(entries_.back(), reinterpret_cast<AdapterEntry*>(entries_.back().get()));
  }
  const ContentOf& contents() const { return contents_; }
  // A broken key for the canary: every adapter and the base look alike to the prefix cache.
  bool digests_alike = false;

  const std::string& digest(const AdapterRef& ref) const override { return digests_alike ? nothing_ : entry_of(ref).digest; }

  Result<std::optional<AdapterHandle>> try_pin(const AdapterRef& ref) override {
    if (ref == nullptr) return std::optional<AdapterHandle>(AdapterHandle());
    for (const auto& loading : entries_) finish_load(*loading);
    FakeEntry& entry = entry_of(ref);
    entry.used = ++uses_;
    if (entry.failed) return failed_precondition("this adapter's file is broken");
    if (entry.resident == nullptr && !entry.loading) {
      if (!make_room()) return std::optional<AdapterHandle>();
      entry.loading = true;
      entry.ready = clock_.now() + entry.load_time;
    }
    if (entry.resident == nullptr) return std::optional<AdapterHandle>();
    std::shared_ptr<int> pin = entry.pins.lock();
    if (pin == nullptr) entry.pins = pin = std::make_shared<int>(0);
    return std::optional<AdapterHandle>(AdapterHandle(entry.resident, pin));
  }

 private:
  void finish_load(FakeEntry& entry) {
    if (!entry.loading || clock_.now() < entry.ready) return;
    entry.loading = false;
    entry.failed = entry.fails;
    if (!entry.fails) entry.resident = make_adapter(entry);
  }
  bool make_room() {
    const auto present = [](const auto& entry) { return entry->resident != nullptr || entry->loading; };
    size_t count = std::count_if(entries_.begin(), entries_.end(), present);
    while (count >= resident_max_) {
      FakeEntry* oldest = nullptr;
      for (const auto& entry : entries_) {
        const bool evictable = entry->resident != nullptr && entry->pins.expired();
        if (evictable && (oldest == nullptr || entry->used < oldest->used)) oldest = entry.get();
      }
      if (oldest == nullptr) return false;
      oldest->resident.reset();
      --count;
    }
    return true;
  }
  // Kept for good, so that addresses stay unique and a late use of an evicted one is seen by the pins, not by a crash.
  std::shared_ptr<const Adapter> make_adapter(const FakeEntry& entry) {
    auto adapter = std::make_shared<Adapter>(1);
    adapter->add_linear(0).scale.resize(entry.cost);
    adapter->finish();
    contents_[adapter.get()] = entry.content;
    made_.push_back(adapter);
    return adapter;
  }

  const Clock& clock_;
  size_t resident_max_;
  uint64_t uses_ = 0;
  std::string nothing_;
  std::vector<std::shared_ptr<FakeEntry>> entries_;
  std::vector<std::shared_ptr<const Adapter>> made_;
  ContentOf contents_;
};

}  // namespace umbel::simulation
