#include "engine/prefix_cache.h"

#include <gtest/gtest.h>

#include <set>

#include "base/random.h"

namespace umbel {
namespace {

constexpr int32_t kBlock = kernels::kKvBlockSize;

std::vector<int32_t> tokens_of(std::initializer_list<int32_t> blocks) {
  std::vector<int32_t> tokens;
  for (int32_t block : blocks) tokens.insert(tokens.end(), kBlock, block);
  return tokens;
}

// Puts all full blocks of tokens in, as a sequence does; gives the blocks.
std::vector<BlockRef> store(KvPool& pool, PrefixCache& cache, PrefixCache::Place place, std::span<const int32_t> tokens) {
  std::vector<BlockRef> blocks;
  for (size_t at = 0; at + kBlock <= tokens.size(); at += kBlock) {
    blocks.push_back(pool.allocate());
    place = cache.insert(place, tokens.subspan(at, kBlock), blocks.back());
  }
  return blocks;
}

TEST(PrefixCache, FindsTheLongestKnownBeginningOfFullBlocks) {
  KvPool pool(8);
  PrefixCache cache(pool);
  const auto base = cache.root("");
  const auto blocks = store(pool, cache, base, tokens_of({1, 2, 3}));
  EXPECT_EQ(cache.match_length(base, tokens_of({1, 2, 3, 4}), 99), 3);
  EXPECT_EQ(cache.match_length(base, tokens_of({1, 2, 9}), 99), 2);
  EXPECT_EQ(cache.match_length(base, tokens_of({2, 3}), 99), 0) << "the same block after another beginning";
  EXPECT_EQ(cache.match_length(base, tokens_of({1, 2, 3}), 1), 1);
  auto partial = tokens_of({1, 2});
  partial.pop_back();
  EXPECT_EQ(cache.match_length(base, partial, 99), 1);
}

TEST(PrefixCache, AdaptersDoNotShare) {
  KvPool pool(8);
  PrefixCache cache(pool);
  const auto blocks = store(pool, cache, cache.root("one"), tokens_of({1}));
  EXPECT_EQ(cache.match_length(cache.root(""), tokens_of({1}), 9), 0);
  EXPECT_EQ(cache.match_length(cache.root("two"), tokens_of({1}), 9), 0);
  EXPECT_EQ(cache.match_length(cache.root("one"), tokens_of({1}), 9), 1);
}

TEST(PrefixCache, SaltsDoNotShare) {
  KvPool pool(8);
  PrefixCache cache(pool);
  const auto blocks = store(pool, cache, cache.root("one", "salt"), tokens_of({1}));
  for (const auto& [digest, salt] : {std::pair("one", ""), std::pair("one", "salu"), std::pair("one", "sal"),
                                     std::pair("ones", "alt"), std::pair("onesalt", ""), std::pair("", "salt")}) {
    EXPECT_EQ(cache.match_length(cache.root(digest, salt), tokens_of({1}), 9), 0) << digest << " " << salt;
  }
  EXPECT_EQ(cache.match_length(cache.root("one", "salt"), tokens_of({1}), 9), 1);
}

TEST(PrefixCache, EvictsTheEndOfAPrefixFirst) {
  KvPool pool(3);
  PrefixCache cache(pool);
  const auto base = cache.root("");
  auto blocks = store(pool, cache, base, tokens_of({1, 2, 3}));
  while (!blocks.empty()) blocks.pop_back();  // as Sequence::release_blocks
  BlockRef taken = pool.allocate();
  EXPECT_EQ(cache.match_length(base, tokens_of({1, 2, 3}), 9), 2);
  BlockRef more = pool.allocate();
  EXPECT_EQ(cache.match_length(base, tokens_of({1, 2, 3}), 9), 1);
}

TEST(PrefixCache, ASecondCopyStaysPrivate) {
  KvPool pool(4);
  PrefixCache cache(pool);
  const auto base = cache.root("");
  auto first = store(pool, cache, base, tokens_of({1, 2}));
  auto second = store(pool, cache, base, tokens_of({1, 2}));
  std::vector<BlockRef> adopted;
  cache.adopt(base, tokens_of({1, 2}), 9, adopted);
  ASSERT_EQ(adopted.size(), 2u);
  EXPECT_EQ(adopted[1].id(), first[1].id());
  second.clear();
  EXPECT_EQ(pool.available(), 2);
}

// Against a naive model: what each block holds is written down, and a match must point at blocks that hold exactly that.
TEST(PrefixCache, FuzzAgainstContents) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    Random random(seed);
    KvPool pool(static_cast<int32_t>(4 + random.next_below(10)));
    PrefixCache cache(pool);
    std::vector<std::string> contents(pool.blocks());  // digest and all tokens up to the end of the block
    int64_t hits = 0;
    for (int round = 0; round < 200; ++round) {
      const std::string digest(1, static_cast<char>('a' + random.next_below(2)));
      std::vector<int32_t> tokens;
      for (uint64_t block = 1 + random.next_below(4); block > 0; --block) {
        tokens.insert(tokens.end(), kBlock, static_cast<int32_t>(random.next_below(2)));
      }
      const auto content = [&](size_t block_count) {
        std::string text = digest;
        for (size_t i = 0; i < block_count; ++i) text += static_cast<char>('0' + tokens[i * kBlock]);
        return text;
      };
      std::vector<BlockRef> blocks;
      auto place = cache.adopt(cache.root(digest), tokens, 9, blocks);
      hits += static_cast<int64_t>(blocks.size());
      for (size_t i = 0; i < blocks.size(); ++i) ASSERT_EQ(contents[blocks[i].id()], content(i + 1)) << "seed " << seed;
      while (blocks.size() * kBlock < tokens.size() && pool.available() > 0) {
        const size_t at = blocks.size() * kBlock;
        blocks.push_back(pool.allocate());
        contents[blocks.back().id()] = content(blocks.size());
        place = cache.insert(place, std::span<const int32_t>(tokens).subspan(at, kBlock), blocks.back());
      }
      while (!blocks.empty()) blocks.pop_back();
    }
    EXPECT_EQ(pool.held(), 0);
    EXPECT_GT(hits, 20);
  }
}

TEST(PrefixCache, ManyVersionsDoNotPileUp) {
  KvPool pool(2);
  PrefixCache cache(pool);
  auto kept = store(pool, cache, cache.root("kept"), tokens_of({5}));
  for (int version = 0; version < 1000; ++version) (void)cache.root("version " + std::to_string(version));
  EXPECT_LT(cache.roots(), 200u);
  EXPECT_EQ(cache.match_length(cache.root("kept"), tokens_of({5}), 9), 1);
}

}  // namespace
}  // namespace umbel
