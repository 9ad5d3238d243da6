#include "engine/kv_pool.h"

#include "base/check.h"

namespace umbel {

void BlockRef::reset() {
  if (pool_ == nullptr) return;
  pool_->release(id_);
  pool_ = nullptr;
  id_ = -1;
}

KvPool::KvPool(int32_t blocks) : states_(blocks) {
  CHECK(blocks > 0, "a KV pool has at least one block");
  for (int32_t id = blocks - 1; id >= 0; --id) push_free(id);
}

void KvPool::push_free(int32_t id) {
  states_[id].next = free_head_;
  free_head_ = id;
  ++free_count_;
}

void KvPool::unlink_idle(int32_t id) {
  State& state = states_[id];
  (state.previous < 0 ? idle_head_ : states_[state.previous].next) = state.next;
  (state.next < 0 ? idle_tail_ : states_[state.next].previous) = state.previous;
  state.previous = state.next = -1;
  --idle_count_;
}

BlockRef KvPool::allocate() {
  CHECK(available() > 0, "the scheduler planned more blocks than there are");
  int32_t id = free_head_;
  if (id >= 0) {
    free_head_ = states_[id].next;
    --free_count_;
  } else {
    id = idle_head_;
    unlink_idle(id);
  }
  states_[id] = State{.references = 1};
  return BlockRef(this, id);
}

BlockRef KvPool::share(int32_t id) {
  State& state = states_[id];
  CHECK(state.remembered || state.references > 0, "only a block with contents can be shared");
  if (state.references == 0) unlink_idle(id);
  ++state.references;
  return BlockRef(this, id);
}

void KvPool::release(int32_t id) {
  State& state = states_[id];
  if (--state.references > 0) return;
  if (!state.remembered) return push_free(id);
  state.previous = idle_tail_;
  state.next = -1;
  (idle_tail_ < 0 ? idle_head_ : states_[idle_tail_].next) = id;
  idle_tail_ = id;
  ++idle_count_;
}

void KvPool::forget_all() {
  while (idle_head_ >= 0) {
    const int32_t id = idle_head_;
    unlink_idle(id);
    push_free(id);
  }
  for (State& state : states_) state.remembered = false;
}

}  // namespace umbel
