#include "io/helper_process.h"
#include "base/sanitized_testing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace umbel {
namespace {

constexpr size_t kFrameMax = size_t{8} << 20;

TimePoint in_seconds(double seconds) { return RealClock().now() + from_seconds(seconds); }

// What the helper of these tests does: each frame is an order.
std::string obey(const std::string& order) {
  if (order == "environment") return std::getenv("UMBEL_HELPER_SECRET") != nullptr ? "it knows" : "it does not know";
  if (order == "descriptors") {
    std::string open;
    for (int descriptor = 0; descriptor < 64; ++descriptor) {
      if (::lseek(descriptor, 0, SEEK_CUR) >= 0 || errno != EBADF) open += std::to_string(descriptor) + " ";
    }
    return open;
  }
  if (order == "confine") return confine_this_process(size_t{64} << 20).ok() ? "confined" : "not confined";
  if (order == "file") return std::ifstream("/proc/self/status").good() ? "opened" : "refused";
  if (order == "eat") {
    void* eaten = std::malloc(size_t{128} << 20);
    const std::string answer = eaten != nullptr ? "eaten" : "refused";
    std::free(eaten);
    return answer;
  }
  if (order == "core") {
    rlimit limit{};
    ::getrlimit(RLIMIT_CORE, &limit);
    return std::to_string(limit.rlim_cur);
  }
  if (order == "die") ::raise(SIGKILL);
  if (order == "leave") std::_Exit(0);
  if (order == "hang") {
    for (;;) (void)::getppid();
  }
  return order;
}

std::string command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

// This test program is its own helper.
const bool kIsNoHelper = [] {
  if (command_line().find(std::string("\0obey\0", 6)) == std::string::npos) return true;
  for (;;) {
    const auto order = receive_from_parent(kFrameMax);
    if (!order.ok()) std::_Exit(0);
    if (!send_to_parent(obey(*order)).ok()) std::_Exit(0);
  }
}();

std::unique_ptr<HelperProcess> helper() { return HelperProcess::start({.arguments = {"obey"}}).value(); }

std::string ask(HelperProcess& process, std::string_view order) {
  const Status sent = process.send(order, in_seconds(20));
  if (!sent.ok()) return sent.message();
  const auto answer = process.receive(kFrameMax, in_seconds(20));
  return answer.ok() ? *answer : answer.status().message();
}

TEST(HelperProcess, FramesGoThereAndBack) {
  const auto process = helper();
  EXPECT_EQ(ask(*process, "x"), "x");
  EXPECT_EQ(ask(*process, ""), "");
  const std::string large(5'000'000, 'l');  // more than any pair holds
  EXPECT_EQ(ask(*process, large), large);
  EXPECT_FALSE(process->has_left());
}

TEST(HelperProcess, KnowsNothingOfOurs) {
  ::setenv("UMBEL_HELPER_SECRET", "key", 1);
  const std::ifstream open("/proc/self/status");
  const auto process = helper();
  EXPECT_EQ(ask(*process, "environment"), "it does not know");
  EXPECT_EQ(ask(*process, "descriptors"), "0 1 2 3 ");
}

TEST(HelperProcess, ConfinedItGetsNothingMore) {
  const auto process = helper();
  EXPECT_EQ(ask(*process, "eat"), "eaten");
  EXPECT_EQ(ask(*process, "confine"), "confined");
  if (testing::kSanitized) GTEST_SKIP() << "a sanitizer's allocator needs more than a confined process gets, and ends it";
  EXPECT_EQ(ask(*process, "file"), "refused");
  EXPECT_EQ(ask(*process, "core"), "0");
  EXPECT_EQ(ask(*process, "eat"), "refused");
  EXPECT_EQ(ask(*process, "x"), "x");
}

TEST(HelperProcess, SaysHowItEnded) {
  const auto killed = helper();
  ASSERT_TRUE(killed->send("die", in_seconds(20)).ok());
  EXPECT_EQ(killed->receive(kFrameMax, in_seconds(20)).status().code(), Code::kUnavailable);
  EXPECT_TRUE(killed->has_left());
  EXPECT_EQ(killed->end().signal, SIGKILL);
  const auto left = helper();
  ASSERT_TRUE(left->send("leave", in_seconds(20)).ok());
  EXPECT_EQ(left->receive(kFrameMax, in_seconds(20)).status().code(), Code::kUnavailable);
  EXPECT_EQ(left->end().signal, 0);
  EXPECT_EQ(left->end().exit_status, 0);
}

TEST(HelperProcess, DeadlinesAndSizesHold) {
  const auto process = helper();
  ASSERT_TRUE(process->send("hang", in_seconds(20)).ok());
  EXPECT_EQ(process->receive(kFrameMax, in_seconds(0.05)).status().code(), Code::kDeadlineExceeded);
  const std::string large(5'000'000, 'l');
  EXPECT_EQ(process->send(large, in_seconds(0.05)).code(), Code::kDeadlineExceeded);
  const pid_t id = process->id();
  process->end();
  EXPECT_NE(::kill(id, 0), 0) << "it is gone, and waited for";
  const auto other = helper();
  ASSERT_TRUE(other->send("more than three", in_seconds(20)).ok());
  EXPECT_EQ(other->receive(3, in_seconds(20)).status().code(), Code::kTooLong);
}

TEST(HelperProcess, AProgramThatIsNotThereIsSaid) {
  const auto none = HelperProcess::start({.program = "/nowhere/umbel"});
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.status().code(), Code::kUnavailable);
  EXPECT_THAT(none.status().message(), ::testing::HasSubstr("/nowhere/umbel"));
}

}  // namespace
}  // namespace umbel
