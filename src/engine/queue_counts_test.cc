#include "engine/queue_counts.h"

#include <gtest/gtest.h>

namespace umbel {
namespace {

const int kOne = 0, kTwo = 0;  // adapters, by address

bool refused(const Status& status, const std::string& words) {
  return status.code() == Code::kOverloaded && status.message().find(words) != std::string::npos;
}

TEST(QueueCounts, OneTenantFillsTheQueueAndNoMore) {
  QueueCounts counts({.queue_max = 3});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(counts.enter({0, nullptr}, {}).ok());
  EXPECT_TRUE(refused(counts.enter({0, nullptr}, {}), "the queue is full: 3"));
  counts.leave({0, nullptr});
  EXPECT_TRUE(counts.enter({0, nullptr}, {}).ok());
}

TEST(QueueCounts, AFullQueueIsNotFullForTheOneWhoHasNothingInIt) {
  QueueCounts counts({.queue_max = 8});
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(counts.enter({1, nullptr}, {}).ok());
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(counts.enter({2, nullptr}, {}).ok()) << "half of the places are its share";
  EXPECT_TRUE(refused(counts.enter({2, nullptr}, {}), "the queue is full"));
  EXPECT_TRUE(refused(counts.enter({1, nullptr}, {}), "the queue is full"));
  for (uint64_t tenant = 3; tenant < 100; ++tenant) (void)counts.enter({tenant, nullptr}, {});
  EXPECT_EQ(counts.waiting(), queue_places_max({.queue_max = 8})) << "however many tenants come";
}

TEST(QueueCounts, CapsAreNamed) {
  QueueCounts counts({.queue_max = 100, .tenant_queue_max = 2, .adapter_queue_max = 3});
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(counts.enter({1, &kOne}, {}).ok());
  EXPECT_TRUE(refused(counts.enter({1, &kTwo}, {}), "this key's own part of the queue is full: 2"));
  EXPECT_TRUE(counts.enter({2, &kOne}, {.queue_max = 5}).ok()) << "its own cap goes before the general one";
  EXPECT_TRUE(refused(counts.enter({2, &kOne}, {.queue_max = 5}), "this adapter's part of the queue is full: 3"));
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(counts.enter({2, nullptr}, {.queue_max = 5}).ok()) << "the base has no cap";
  EXPECT_TRUE(refused(counts.enter({2, nullptr}, {.queue_max = 5}), "this key's own part of the queue is full: 5"));
  EXPECT_EQ(counts.waiting(), 7);
}

}  // namespace
}  // namespace umbel
