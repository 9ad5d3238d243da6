#include "serve/places.h"

#include <gtest/gtest.h>

#include <vector>

namespace umbel::serve {
namespace {

Peer network_peer(const std::string& site) { return {.address = site, .reach = Peer::Reach::kNetwork, .site = site}; }
const Peer kLocal{.address = "127.0.0.1", .reach = Peer::Reach::kLoopback, .site = "127.0.0.1"};

class PlacesTest : public testing::Test {
 protected:
  std::unique_ptr<Places::Place> take(Places& places, const Peer& peer = kLocal) {
    return places.take(peer, [this, number = taken_++] { left_.push_back(number); });
  }
  int taken_ = 0;
  std::vector<int> left_;  // in which order places were given away, by the order in which they were taken
};

TEST_F(PlacesTest, TheLongestWaitingGivesWay) {
  Places places({.ordinary_max = 3, .spare_max = 1, .per_site_max = 0});
  const auto first = take(places), second = take(places), third = take(places);
  first->wait();  // again: it waits since now
  EXPECT_TRUE(third->work());
  const auto fourth = take(places);
  EXPECT_EQ(fourth->kind(), PlaceKind::kOrdinary);
  EXPECT_EQ(left_, std::vector{1});
  EXPECT_FALSE(second->work()) << "it has to end";
  const auto fifth = take(places);
  EXPECT_EQ(left_, (std::vector{1, 0}));
  EXPECT_EQ(places.taken(), 3);
}

TEST_F(PlacesTest, SparePlacesStandWhereAllAreAnswered) {
  Places places({.ordinary_max = 1, .spare_max = 1, .per_site_max = 0});
  auto busy = take(places);
  EXPECT_TRUE(busy->work());
  const auto spare = take(places);
  EXPECT_EQ(spare->kind(), PlaceKind::kSpare);
  const auto next = take(places);
  ASSERT_NE(next, nullptr) << "the spare one waited";
  EXPECT_EQ(left_, std::vector{1});
  EXPECT_TRUE(next->work());
  EXPECT_EQ(take(places), nullptr);
  busy.reset();
  EXPECT_EQ(take(places)->kind(), PlaceKind::kOrdinary);
  EXPECT_EQ(places.taken(), 1);
}

TEST_F(PlacesTest, OneSiteHasItsShare) {
  Places places({.ordinary_max = 8, .spare_max = 2, .per_site_max = 2});
  const auto one = take(places, network_peer("a")), two = take(places, network_peer("a"));
  const auto three = take(places, network_peer("a"));
  EXPECT_EQ(two->kind(), PlaceKind::kOrdinary);
  EXPECT_EQ(three->kind(), PlaceKind::kSpare);
  EXPECT_EQ(take(places, network_peer("b"))->kind(), PlaceKind::kOrdinary);
  std::vector<std::unique_ptr<Places::Place>> local;
  for (int i = 0; i < 4; ++i) local.push_back(take(places));
  EXPECT_EQ(local.back()->kind(), PlaceKind::kOrdinary) << "this machine has no share: a proxy may stand there";
}

TEST_F(PlacesTest, RoomIsMadeOnlyByThoseThatWait) {
  Places places({.ordinary_max = 4, .spare_max = 0, .per_site_max = 0});
  const auto working = take(places), waiting = take(places);
  EXPECT_TRUE(working->work());
  EXPECT_TRUE(places.make_room());
  EXPECT_FALSE(places.make_room());
  EXPECT_EQ(left_, std::vector{1});
}

}  // namespace
}  // namespace umbel::serve
