#include "text/stop.h"

#include <utility>

namespace umbel {

StopList::StopList(std::vector<std::string> stops) : stops_(std::move(stops)), nodes_(1) {
  for (size_t place = 0; place < stops_.size(); ++place) {
    if (!stops_[place].empty()) add(place);
  }
  link();
}

uint32_t StopList::child_of(uint32_t node, char byte) const {
  if (node == kStart) return first_[static_cast<unsigned char>(byte)];
  uint32_t child = nodes_[node].child;
  while (child != 0 && nodes_[child].byte != byte) child = nodes_[child].sibling;
  return child;
}

void StopList::add(size_t place) {
  uint32_t node = kStart;
  for (char byte : stops_[place]) {
    uint32_t child = child_of(node, byte);
    if (child == 0) {
      child = static_cast<uint32_t>(nodes_.size());
      nodes_.push_back({.sibling = nodes_[node].child, .depth = nodes_[node].depth + 1, .byte = byte});
      nodes_[node].child = child;
      if (node == kStart) first_[static_cast<unsigned char>(byte)] = child;
    }
    node = child;
  }
  if (nodes_[node].match == 0) nodes_[node].match = static_cast<uint32_t>(place) + 1;
}

// Breadth first: the fallback of a node is shallower than the node, so it is ready before.
void StopList::link() {
  std::vector<uint32_t> order = {kStart};
  order.reserve(nodes_.size());
  for (size_t i = 0; i < order.size(); ++i) {
    for (uint32_t child = nodes_[order[i]].child; child != 0; child = nodes_[child].sibling) {
      if (order[i] != kStart) nodes_[child].fallback = step(nodes_[order[i]].fallback, nodes_[child].byte);
      if (nodes_[child].match == 0) nodes_[child].match = nodes_[nodes_[child].fallback].match;
      order.push_back(child);
    }
  }
}

StopList::State StopList::step(State state, char byte) const {
  for (;;) {
    const uint32_t child = child_of(state, byte);
    if (child != 0 || state == kStart) return child;
    state = nodes_[state].fallback;
  }
}

const std::string* StopList::match(State state) const {
  const uint32_t place = nodes_[state].match;
  return place == 0 ? nullptr : &stops_[place - 1];
}

std::string StopMatcher::let_go(size_t length) {
  std::string out;
  for (const size_t end = gone_ + length; gone_ < end; ++gone_) {
    if (held_shown_[gone_] == Shown::kYes) out += held_[gone_];
  }
  if (2 * gone_ > held_.size()) {
    held_.erase(0, gone_);
    held_shown_.erase(held_shown_.begin(), held_shown_.begin() + static_cast<ptrdiff_t>(gone_));
    gone_ = 0;
  }
  return out;
}

std::string StopMatcher::take(std::string_view text, Shown shown) {
  if (stopped_) return {};
  const size_t before = held();
  held_.append(text);
  held_shown_.resize(held_.size(), shown);
  for (size_t i = 0; i < text.size(); ++i) {
    state_ = stops_->step(state_, text[i]);
    const std::string* match = stops_->match(state_);
    if (match == nullptr) continue;
    stopped_ = true;
    matched_ = *match;
    const size_t end = before + i + 1;
    return let_go(text_ == StopText::kKept ? end : end - match->size());
  }
  return let_go(text_ == StopText::kKept ? held() : held() - stops_->length(state_));
}

std::string StopMatcher::flush() {
  if (stopped_) return {};
  return let_go(held());
}

}  // namespace umbel
