#include "adapters/segment_terms.h"

namespace umbel {

size_t count_low_rank(Segments segments, int32_t index, size_t pass) {
  size_t count = 0;
  for (const Segment& segment : segments) count += has_low_rank(segment, index, pass);
  return count;
}

int64_t list_low_rank(Segments segments, int32_t index, size_t pass, std::span<kernels::LowRankSegment> list) {
  int64_t h_size = 0;
  size_t count = 0;
  for (const Segment& segment : segments) {
    if (!has_low_rank(segment, index, pass)) continue;
    const LowRankTerm& term = terms_of(segment, index)->low_rank[pass];
    list[count++] = {.row_begin = segment.row_begin,
                     .row_count = segment.row_count,
                     .rank = term.rank,
                     .dtype = term.dtype,
                     .a = term.a,
                     .b_t = term.b_t,
                     .a_stride = term.a_stride,
                     .b_stride = term.b_stride,
                     .u = term.u,
                     .v = term.v,
                     .scale = term.scale,
                     .h_offset = h_size};
    h_size += static_cast<int64_t>(segment.row_count) * term.rank;
  }
  return h_size;
}

ExpandedRow ExpandedRows::take() {
  ExpandedRow row{{segments_[segment_].row_begin + row_, nullptr, nullptr}, static_cast<int32_t>(segment_), term_};
  int32_t count = 1;
  if (has_scale(terms_)) {
    row.scaled.pre = terms_->scale[term_].pre;
    row.scaled.post = terms_->scale[term_].post;
    count = static_cast<int32_t>(terms_->scale.size());
  }
  if (++term_ == count) {
    term_ = 0;
    ++row_;
    settle();
  }
  return row;
}

// Moves on to the next segment that has rows left to walk over.
void ExpandedRows::settle() {
  for (; segment_ < segments_.size(); ++segment_, row_ = 0) {
    terms_ = terms_of(segments_[segment_], index_);
    const Segment& segment = segments_[segment_];
    const bool direct = has_own_weight(terms_) || is_modulated(segment, index_);
    const bool wanted = scaled_only_ ? is_expanded(segment, index_) : !direct;
    if (wanted && row_ < segment.row_count) return;
  }
}

}  // namespace umbel
