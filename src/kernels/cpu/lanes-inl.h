// Whole vectors and tails: what every other leaf file builds on.
namespace umbel::kernels::UMBEL_TARGET {

// Calls body(offset, lanes) over [0, count): whole vectors with lanes = kLanes (a constant after inlining), then the tail.
template <typename Body>
UMBEL_INLINE void for_vectors(int64_t count, const Body& body) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) body(i, kLanes);
  if (i < count) body(i, static_cast<int>(count - i));
}
template <typename T>
UMBEL_INLINE Vec load_lanes(const T* p, int lanes) {
  return lanes == kLanes ? load(p) : load_partial(p, lanes);
}
UMBEL_INLINE void store_lanes(float* p, Vec v, int lanes) {
  if (lanes == kLanes) {
    store(p, v);
  } else {
    store_partial(p, v, lanes);
  }
}

}  // namespace umbel::kernels::UMBEL_TARGET
