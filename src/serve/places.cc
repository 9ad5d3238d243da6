#include "serve/places.h"

namespace umbel::serve {

Places::Place::~Place() {
  std::lock_guard lock(places_.mutex_);
  if (state_ == State::kWaiting) places_.waiting_[places_.index(kind_)].erase(at_);
  if (state_ != State::kGone) places_.leave_locked(*this);
}

void Places::Place::wait() {
  std::lock_guard lock(places_.mutex_);
  if (state_ == State::kGone) return;
  auto& line = places_.waiting_[places_.index(kind_)];
  if (state_ == State::kWaiting) {
    line.splice(line.end(), line, at_);
  } else {
    at_ = line.insert(line.end(), this);
    state_ = State::kWaiting;
  }
}

bool Places::Place::work() {
  std::lock_guard lock(places_.mutex_);
  if (state_ == State::kWaiting) {
    places_.waiting_[places_.index(kind_)].erase(at_);
    state_ = State::kWorking;
  }
  return state_ != State::kGone;
}

void Places::leave_locked(Place& place) {
  --taken_[index(place.kind_)];
  const auto found = by_site_.find(place.site_);
  if (found != by_site_.end() && --found->second == 0) by_site_.erase(found);
}

bool Places::evict_locked(PlaceKind kind) {
  auto& line = waiting_[index(kind)];
  if (line.empty()) return false;
  Place& place = *line.front();
  line.pop_front();
  place.state_ = Place::State::kGone;
  leave_locked(place);
  place.leave_();
  return true;
}

std::unique_ptr<Places::Place> Places::take(const Peer& peer, std::function<void()> leave) {
  std::unique_ptr<Place> place;
  std::lock_guard lock(mutex_);
  // A site's spare places count as its own too: it can't have more than these and its ordinary ones.
  const std::string site = peer.reach == Peer::Reach::kNetwork ? peer.site : std::string();
  const auto found = by_site_.find(site);
  const int of_site = found == by_site_.end() || site.empty() ? 0 : found->second;
  const bool site_full = limits_.per_site_max > 0 && of_site >= limits_.per_site_max;
  PlaceKind kind = PlaceKind::kOrdinary;
  if (site_full || (taken_[index(kind)] >= limits_.ordinary_max && !evict_locked(kind))) {
    kind = PlaceKind::kSpare;
    if (taken_[index(kind)] >= limits_.spare_max && !evict_locked(kind)) return nullptr;
  }
  place.reset(new Place(*this, kind, site, std::move(leave)));
  place->at_ = waiting_[index(kind)].insert(waiting_[index(kind)].end(), place.get());
  place->state_ = Place::State::kWaiting;
  ++taken_[index(kind)];
  ++by_site_[site];
  return place;
}

bool Places::make_room() {
  std::lock_guard lock(mutex_);
  return evict_locked(PlaceKind::kOrdinary) || evict_locked(PlaceKind::kSpare);
}

int Places::taken() const {
  std::lock_guard lock(mutex_);
  return taken_[0] + taken_[1];
}

}  // namespace umbel::serve
