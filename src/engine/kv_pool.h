// KvPool: which block of the KV cache belongs to whom. The numbers themselves are in nn/kv_cache.h.
//
// A block is free (nobody's), held (one or more BlockRefs), or idle: nobody holds it, but its contents are remembered by
// the prefix cache and stay usable until the space is wanted. allocate() takes free blocks first, then the idle block that
// was let go longest ago. One thread. Allocates nothing after construction.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace umbel {

class KvPool;

// Move-only share of one block; the pool outlives it. The last share to go gives the block back.
class BlockRef {
 public:
  BlockRef() = default;
  BlockRef(BlockRef&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)), id_(std::exchange(other.id_, -1)) {}
  BlockRef& operator=(BlockRef&& other) noexcept {
    if (this != &other) {
      reset();
      pool_ = std::exchange(other.pool_, nullptr);
      id_ = std::exchange(other.id_, -1);
    }
    return *this;
  }
  ~BlockRef() { reset(); }

  int32_t id() const { return id_; }
  explicit operator bool() const { return pool_ != nullptr; }
  void reset();

 private:
  friend class KvPool;
  BlockRef(KvPool* pool, int32_t id) : pool_(pool), id_(id) {}

  KvPool* pool_ = nullptr;
  int32_t id_ = -1;
};

class KvPool {
 public:
  explicit KvPool(int32_t blocks);
  KvPool(const KvPool&) = delete;
  KvPool& operator=(const KvPool&) = delete;

  int32_t blocks() const { return static_cast<int32_t>(states_.size()); }
  int32_t available() const { return free_count_ + idle_count_; }
  int32_t idle() const { return idle_count_; }
  int32_t held() const { return blocks() - available(); }
  int32_t references(int32_t id) const { return states_[id].references; }

  // REQUIRES available() > 0. The block's former contents are forgotten.
  BlockRef allocate();
  // Another share of a block that is remembered or held.
  BlockRef share(int32_t id);
  // From now on the block goes idle instead of free when its last share goes.
  void remember(const BlockRef& block) { states_[block.id()].remembered = true; }
  bool remembered(int32_t id) const { return states_[id].remembered; }
  // Idle blocks become free; held ones are no longer remembered.
  void forget_all();

 private:
  friend class BlockRef;
  struct State {
    int32_t references = 0;
    int32_t previous = -1;  // in the idle list, oldest first; free list uses next only
    int32_t next = -1;
    bool remembered = false;
  };
  void release(int32_t id);
  void push_free(int32_t id);
  void unlink_idle(int32_t id);

  std::vector<State> states_;
  int32_t free_head_ = -1;
  int32_t free_count_ = 0;
  int32_t idle_head_ = -1;
  int32_t idle_tail_ = -1;
  int32_t idle_count_ = 0;
};

}  // namespace umbel
