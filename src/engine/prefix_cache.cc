#include "engine/prefix_cache.h"

#include <algorithm>
#include <bit>
#include <set>

#include "base/check.h"

namespace umbel {
namespace {

constexpr int32_t kBlock = kernels::kKvBlockSize;

std::span<const int32_t> block_tokens(std::span<const int32_t> tokens, int32_t index) {
  return tokens.subspan(static_cast<size_t>(index) * kBlock, kBlock);
}

}  // namespace

PrefixCache::PrefixCache(KvPool& pool)
    : pool_(pool), nodes_(pool.blocks()), buckets_(std::bit_ceil(static_cast<uint32_t>(pool.blocks()) * 2), -1) {}

PrefixCache::Place PrefixCache::root(std::string_view digest, std::string_view salt) {
  key_.assign(digest).push_back('\0');
  key_.append(salt);
  if (auto found = roots_.find(key_); found != roots_.end()) return found->second;
  // Old versions of adapters and old salts would pile up: a root without living nodes is of no use. At most
  // nodes_.size() have some, so that a round of dropping is paid for by as many new roots.
  if (roots_.size() > 2 * nodes_.size() + 64) drop_empty_roots();
  const Place place = next_place_++;
  roots_.emplace(key_, place);
  return place;
}

void PrefixCache::drop_empty_roots() {
  std::set<Place> parents;
  for (int32_t id = 0; id < pool_.blocks(); ++id) {
    if (nodes_[id].bucket >= 0 && pool_.remembered(id)) parents.insert(nodes_[id].parent);
  }
  std::erase_if(roots_, [&](const auto& entry) { return !parents.contains(entry.second); });
}

int32_t PrefixCache::bucket_of(Place parent, std::span<const int32_t> tokens) const {
  uint64_t hash = parent * 0x9E3779B97F4A7C15ull;
  for (int32_t token : tokens) {
    hash = (hash ^ static_cast<uint32_t>(token)) * 0xBF58476D1CE4E5B9ull;
    hash ^= hash >> 29;
  }
  return static_cast<int32_t>(hash & (buckets_.size() - 1));
}

int32_t PrefixCache::find(Place parent, std::span<const int32_t> tokens) const {
  for (int32_t id = buckets_[bucket_of(parent, tokens)]; id >= 0; id = nodes_[id].next) {
    const Node& node = nodes_[id];
    if (node.parent == parent && pool_.remembered(id) && std::equal(tokens.begin(), tokens.end(), node.tokens)) return id;
  }
  return -1;
}

int32_t PrefixCache::match_length(Place root, std::span<const int32_t> tokens, int32_t blocks_max) const {
  const int32_t limit = std::min<int32_t>(blocks_max, static_cast<int32_t>(tokens.size()) / kBlock);
  for (int32_t index = 0; index < limit; ++index) {
    const int32_t id = find(root, block_tokens(tokens, index));
    if (id < 0) return index;
    root = nodes_[id].place;
  }
  return std::max(limit, 0);
}

PrefixCache::Place PrefixCache::adopt(Place root, std::span<const int32_t> tokens, int32_t blocks_max,
                                      std::vector<BlockRef>& blocks) {
  const int32_t limit = std::min<int32_t>(blocks_max, static_cast<int32_t>(tokens.size()) / kBlock);
  for (int32_t index = 0; index < limit; ++index) {
    const int32_t id = find(root, block_tokens(tokens, index));
    if (id < 0) break;
    blocks.push_back(pool_.share(id));
    root = nodes_[id].place;
  }
  return root;
}

PrefixCache::Place PrefixCache::insert(Place parent, std::span<const int32_t> tokens, const BlockRef& block) {
  CHECK(tokens.size() == static_cast<size_t>(kBlock), "only full blocks are remembered");
  if (const int32_t known = find(parent, tokens); known >= 0) return nodes_[known].place;
  Node& node = nodes_[block.id()];
  if (node.bucket >= 0) unlink(block.id());
  node.place = next_place_++;
  node.parent = parent;
  std::copy(tokens.begin(), tokens.end(), node.tokens);
  node.bucket = bucket_of(parent, tokens);
  node.next = buckets_[node.bucket];
  buckets_[node.bucket] = block.id();
  pool_.remember(block);
  return node.place;
}

void PrefixCache::unlink(int32_t id) {
  int32_t* link = &buckets_[nodes_[id].bucket];
  while (*link != id) link = &nodes_[*link].next;
  *link = nodes_[id].next;
  nodes_[id].bucket = -1;
}

}  // namespace umbel
