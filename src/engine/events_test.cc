#include "engine/events.h"

#include <gtest/gtest.h>

#include <thread>

namespace umbel {
namespace {

TokenEvent token_event(int32_t token) {
  TokenEvent event;
  event.token = token;
  return event;
}
TokenEvent last_event() {
  TokenEvent event;
  event.finish = FinishReason::kLength;
  return event;
}

TEST(Stream, KeepsOrderPastItsFirstSize) {
  Stream stream(7);
  for (int32_t token = 0; token < 3; ++token) stream.push(token_event(token));
  EXPECT_EQ(stream.poll()->token, 0);
  for (int32_t token = 3; token < 50; ++token) stream.push(token_event(token));
  for (int32_t token = 1; token < 50; ++token) EXPECT_EQ(stream.poll()->token, token);
  EXPECT_FALSE(stream.poll());
}

TEST(Stream, NextEndsAfterTheLastEventAndOnTimeout) {
  Stream stream(1);
  EXPECT_FALSE(stream.next(std::chrono::milliseconds(1)));
  stream.push(last_event());
  EXPECT_EQ(stream.next()->finish, FinishReason::kLength);
  EXPECT_FALSE(stream.next());  // at once, not after an hour
}

TEST(Stream, TheBellRingsForEveryPushAndForWhatWaits) {
  Stream stream(1);
  int rung = 0;
  stream.set_bell([&] { ++rung; });
  EXPECT_EQ(rung, 0);
  stream.push(token_event(1));
  stream.push(token_event(2));
  EXPECT_EQ(rung, 2);
  int second = 0;
  stream.set_bell([&] { ++second; });
  EXPECT_EQ(second, 1);
}

TEST(Stream, OneWritesOneReads) {
  Stream stream(1);
  std::thread writer([&] {
    for (int32_t token = 0; token < 2000; ++token) stream.push(token_event(token));
    stream.push(last_event());
  });
  int32_t expected = 0;
  while (auto event = stream.next()) {
    if (event->token) {
      ASSERT_EQ(*event->token, expected++);
    }
  }
  EXPECT_EQ(expected, 2000);
  writer.join();
}

}  // namespace
}  // namespace umbel
