#include "base/queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

namespace umbel {
namespace {

constexpr std::chrono::nanoseconds kLong = std::chrono::seconds(20);

TEST(BoundedQueue, FirstInFirstOutUntilFull) {
  BoundedQueue<int> queue(3);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(queue.try_push(int{i}));
  EXPECT_FALSE(queue.try_push(3));
  EXPECT_EQ(queue.size(), 3u);
  EXPECT_EQ(queue.capacity(), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(queue.try_pop(), i);
  EXPECT_EQ(queue.try_pop(), std::nullopt);
}

TEST(BoundedQueue, ARefusedValueStaysWithItsOwner) {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  auto first = std::make_unique<int>(1);
  auto second = std::make_unique<int>(2);
  EXPECT_TRUE(queue.try_push(first));
  EXPECT_EQ(first, nullptr);
  EXPECT_FALSE(queue.try_push(second));
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(*second, 2);
}

TEST(BoundedQueue, PopTimesOutAndClosingWakes) {
  BoundedQueue<int> queue(1);
  EXPECT_EQ(queue.pop(std::chrono::milliseconds(5)), std::nullopt);
  std::thread closer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    queue.close();
  });
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(queue.pop(kLong), std::nullopt);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  closer.join();
  EXPECT_TRUE(queue.closed());
}

TEST(BoundedQueue, WhatIsInsideSurvivesClosing) {
  BoundedQueue<int> queue(2);
  EXPECT_TRUE(queue.try_push(1));
  queue.close();
  EXPECT_FALSE(queue.try_push(2));
  EXPECT_EQ(queue.pop(kLong), 1);
  EXPECT_EQ(queue.pop(kLong), std::nullopt);
}

// Every value that went in comes out once, and each producer's values in their order.
TEST(BoundedQueue, ManyProducersAndConsumers) {
  constexpr int kProducers = 3;
  constexpr int kEach = 2000;
  BoundedQueue<std::pair<int, int>> queue(5);
  std::vector<std::thread> producers;
  for (int producer = 0; producer < kProducers; ++producer) {
    producers.emplace_back([&, producer] {
      for (int i = 0; i < kEach;) {
        if (queue.try_push({producer, i})) ++i;
        else std::this_thread::yield();
      }
    });
  }
  std::vector<std::vector<std::pair<int, int>>> taken(2);
  std::vector<std::thread> consumers;
  for (auto& mine : taken) {
    consumers.emplace_back([&] {
      while (const auto value = queue.pop(kLong)) mine.push_back(*value);
    });
  }
  for (std::thread& producer : producers) producer.join();
  queue.close();
  for (std::thread& consumer : consumers) consumer.join();
  std::vector<std::vector<bool>> seen(kProducers, std::vector<bool>(kEach, false));
  for (const auto& mine : taken) {
    std::vector<int> last(kProducers, -1);
    for (const auto& [producer, i] : mine) {
      EXPECT_FALSE(seen[producer][i]);
      seen[producer][i] = true;
      EXPECT_GT(i, last[producer]);
      last[producer] = i;
    }
  }
  EXPECT_EQ(taken[0].size() + taken[1].size(), static_cast<size_t>(kProducers * kEach));
}

}  // namespace
}  // namespace umbel
