// Stop strings in streamed text: StopList, all strings of a request as one automaton, and StopMatcher, one answer's walk
// through it. Source: Aho and Corasick, "Efficient String Matching", CACM 1975.
//
// The stop string that is complete first wins; of two that end at the same byte, the longer one. So the result does not
// depend on how the text was cut into pieces. Pieces of whole code points come out as whole code points.
// A byte of text costs the same whatever the strings' length; a list takes 24 bytes of memory for each of theirs.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace umbel {

// Immutable, shared by all answers of a request; any thread.
class StopList {
 public:
  // Empty strings are ignored.
  explicit StopList(std::vector<std::string> stops);

  bool empty() const { return nodes_.size() == 1; }
  // The longest end of the text so far that begins a stop string; kStart = none of it.
  using State = uint32_t;
  static constexpr State kStart = 0;
  State step(State state, char byte) const;
  size_t length(State state) const { return nodes_[state].depth; }
  // The longest stop string that the text ends with, or null.
  const std::string* match(State state) const;

 private:
  struct Node {
    uint32_t child = 0;    // the first one; 0 = none
    uint32_t sibling = 0;  // the next child of the same parent; 0 = none
    uint32_t fallback = 0;
    uint32_t depth = 0;
    uint32_t match = 0;  // place in stops_ + 1; 0 = none
    char byte = 0;
  };
  uint32_t child_of(uint32_t node, char byte) const;
  void add(size_t place);
  void link();

  std::vector<std::string> stops_;
  std::vector<Node> nodes_;
  std::array<uint32_t, 256> first_{};  // children of the start
};

// What becomes of the stop string itself.
enum class StopText : uint8_t {
  kCut,   // left out (OpenAI); text that could still become one is held back
  kKept,  // shown (LoRAX); nothing is held back
};

// Not thread-safe.
class StopMatcher {
 public:
  StopMatcher(std::shared_ptr<const StopList> stops, StopText text) : stops_(std::move(stops)), text_(text) {}

  // Text that can be shown now. After stopped() is true nothing more comes out.
  std::string push(std::string_view text) { return take(text, Shown::kYes); }
  // Text that stands in the answer but is not shown (a special token): it may be part of a stop string all the same. Gives
  // what can be shown now of the text before it.
  std::string push_hidden(std::string_view text) { return take(text, Shown::kNo); }
  std::string flush();
  bool stopped() const { return stopped_; }
  const std::string& matched() const { return matched_; }

 private:
  enum class Shown : uint8_t { kYes, kNo };
  std::string take(std::string_view text, Shown shown);
  size_t held() const { return held_.size() - gone_; }
  // The first `length` held bytes are held no longer; those that are shown come out.
  std::string let_go(size_t length);

  std::shared_ptr<const StopList> stops_;
  StopText text_;
  StopList::State state_ = StopList::kStart;
  std::string held_;               // from gone_ on; what lies before is cleared away when it is the larger part
  std::vector<Shown> held_shown_;  // of each byte of held_
  size_t gone_ = 0;
  std::string matched_;
  bool stopped_ = false;
};

}  // namespace umbel
