// What the forward and the mirror of the algebra both walk over: the terms of every segment at one target. Private to adapters/.
#pragma once

#include <span>

#include "adapters/segments.h"
#include "adapters/targets.h"
#include "kernels/api.h"

namespace umbel {

inline const LinearTerms* terms_of(const Segment& segment, int32_t index) {
  return segment.adapter == nullptr ? nullptr : segment.adapter->linear(index);
}
inline bool has_scale(const LinearTerms* terms) { return terms != nullptr && !terms->scale.empty(); }
inline bool has_own_weight(const LinearTerms* terms) { return terms != nullptr && terms->own_weight != nullptr; }

// True when the segment's scale terms are one modulated product, and when every term is a product of its own. The choice depends on
// the adapter and on what the step is for, never on other rows.
inline bool is_modulated(const Segment& segment, int32_t index) {
  const LinearTerms* terms = terms_of(segment, index);
  return terms != nullptr && terms->scale.size() > 1 && !segment.examples.empty();
}
inline bool is_expanded(const Segment& segment, int32_t index) {
  return has_scale(terms_of(segment, index)) && !is_modulated(segment, index);
}

// True when the segment's low-rank terms at this target read a dropped input (adapters/dropout.h).
inline bool is_dropped(const Segment& segment, int32_t index) {
  const LinearTerms* terms = terms_of(segment, index);
  return terms != nullptr && terms->dropout > 0.0f && segment.dropout_keys != nullptr;
}
inline bool has_low_rank(const Segment& segment, int32_t index, size_t pass) {
  const LinearTerms* terms = terms_of(segment, index);
  return terms != nullptr && terms->low_rank.size() > pass && !is_dropped(segment, index);
}

// Segments that have a `pass`-th low-rank term that reads x as it is.
size_t count_low_rank(Segments segments, int32_t index, size_t pass);
// Fills list (count_low_rank of them), h laid out one behind the other; the floats of h come back.
int64_t list_low_rank(Segments segments, int32_t index, size_t pass, std::span<kernels::LowRankSegment> list);

// One expanded row, and where it comes from.
struct ExpandedRow {
  kernels::ScaledRow scaled;
  int32_t segment;
  int32_t term;  // 0 for a row without scale terms
};

// Walks the expanded rows of a step: (segment, row, term), rows ascending, the terms of a row together and in order. Rows with
// weights of their own, or modulated ones, are passed over; so are, when asked, rows without scale terms.
class ExpandedRows {
 public:
  ExpandedRows(Segments segments, int32_t index, bool scaled_only = false)
      : segments_(segments), index_(index), scaled_only_(scaled_only) {
    settle();
  }
  bool done() const { return segment_ == segments_.size(); }
  ExpandedRow take();

 private:
  void settle();

  Segments segments_;
  int32_t index_;
  bool scaled_only_;
  size_t segment_ = 0;
  int32_t row_ = 0;
  int32_t term_ = 0;
  const LinearTerms* terms_ = nullptr;
};

}  // namespace umbel
