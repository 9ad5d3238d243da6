// Plan: what one step computes, as plain data: rows of sequences, grouped by adapter.
//
// Made by EngineCore from the scheduler's decision, read by the runner. Everything is borrowed and valid for one step.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "adapters/adapter.h"

namespace umbel {

struct PlanEntry {
  int32_t position = 0;             // of the first row
  std::span<const int32_t> tokens;  // one per row
  const int32_t* blocks = nullptr;  // block table; covers position + tokens.size()
  const Adapter* adapter = nullptr;
  int32_t prompt_tokens = 0;        // of the sequence, for dynamic RoPE
  int32_t logit_rows = 0;           // logits are wanted for the last so many rows

  int32_t rows() const { return static_cast<int32_t>(tokens.size()); }
};

struct Plan {
  std::vector<PlanEntry> entries;  // entries of one adapter are neighbours
  void clear() { entries.clear(); }
  int32_t rows() const;
  int32_t logit_rows() const;
  int32_t adapters() const;  // distinct ones, the base counts as one
};

inline int32_t Plan::rows() const {
  int32_t sum = 0;
  for (const PlanEntry& entry : entries) sum += entry.rows();
  return sum;
}
inline int32_t Plan::logit_rows() const {
  int32_t sum = 0;
  for (const PlanEntry& entry : entries) sum += entry.logit_rows;
  return sum;
}
inline int32_t Plan::adapters() const {
  int32_t count = 0;
  for (size_t i = 0; i < entries.size(); ++i) count += i == 0 || entries[i].adapter != entries[i - 1].adapter;
  return count;
}

}  // namespace umbel
