// PrefixCache: finds KV blocks that hold exactly the tokens that a new sequence begins with.
//
// A tree: a node is one full block, reached from its parent by its kKvBlockSize tokens; the roots are pairs of adapter
// digest ("" is the base) and salt, so keys and values made with one adapter, or one version of it, are never read with
// another, and who does not know a salt can't find out, by hits or by time, what was asked under it. Tokens are
// compared, not only hashed: a collision can't mix two prompts up. Nodes live in a table indexed by block id, and a node
// is alive as long as the pool remembers its block: eviction is the pool's, here stale nodes are merely not found.
// One thread. Allocates nothing after construction, except once per new root.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/kv_pool.h"
#include "kernels/api.h"

namespace umbel {

class PrefixCache {
 public:
  // A place in the tree: a root or a node. Never reused for another content.
  using Place = uint64_t;

  explicit PrefixCache(KvPool& pool);

  // The root of an adapter's tree under this salt. REQUIRES a digest without NUL bytes.
  Place root(std::string_view digest, std::string_view salt = {});

  // Length in blocks of the longest known beginning of tokens, at most blocks_max.
  int32_t match_length(Place root, std::span<const int32_t> tokens, int32_t blocks_max) const;
  // Shares those blocks: appends them to blocks, and gives the place after the last of them.
  Place adopt(Place root, std::span<const int32_t> tokens, int32_t blocks_max, std::vector<BlockRef>& blocks);
  // Says that block holds `tokens` (kKvBlockSize of them) after `parent`, and gives its place. When such a block is known
  // already, that one's place is given and the new block stays private to its holder.
  Place insert(Place parent, std::span<const int32_t> tokens, const BlockRef& block);
  size_t roots() const { return roots_.size(); }

 private:
  struct Node {
    Place place = 0;
    Place parent = 0;
    int32_t next = -1;     // in the bucket
    int32_t bucket = -1;   // -1 = not linked
    int32_t tokens[kernels::kKvBlockSize] = {};
  };
  int32_t bucket_of(Place parent, std::span<const int32_t> tokens) const;
  int32_t find(Place parent, std::span<const int32_t> tokens) const;  // block id or -1
  void unlink(int32_t id);
  void drop_empty_roots();

  KvPool& pool_;
  std::vector<Node> nodes_;       // by block id
  std::vector<int32_t> buckets_;  // first block id or -1
  std::map<std::string, Place, std::less<>> roots_;  // digest NUL salt
  std::string key_;                                  // scratch
  Place next_place_ = 1;
};

}  // namespace umbel
