#include "data/packing.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

namespace umbel::data {
namespace {

int64_t computed_tokens(const Example& example) { return std::max<int64_t>(1, static_cast<int64_t>(example.tokens.size()) - 1); }

// Unit of every example, by best fit into bins of `room` computed tokens.
std::vector<size_t> fit_into_units(const std::vector<Example>& examples, int64_t room) {
  std::vector<size_t> order(examples.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return computed_tokens(examples[a]) > computed_tokens(examples[b]); });
  std::vector<size_t> unit_of(examples.size());
  std::set<std::pair<int64_t, size_t>> open;  // (room left, unit)
  size_t units = 0;
  for (const size_t index : order) {
    const int64_t needed = computed_tokens(examples[index]);
    const auto found = open.lower_bound({needed, 0});
    size_t unit = units;
    int64_t left = room;
    if (found != open.end()) {
      std::tie(left, unit) = *found;
      open.erase(found);
    } else {
      ++units;
    }
    unit_of[index] = unit;
    if (left > needed) open.insert({left - needed, unit});
  }
  return unit_of;
}

}  // namespace

void pack_examples(Dataset& data, int64_t length_max) {
  const std::vector<size_t> unit_of = fit_into_units(data.examples, std::max<int64_t>(1, length_max - 1));
  std::map<size_t, size_t> place;  // unit -> its place, in the order of first examples
  std::vector<std::vector<size_t>> members;
  for (size_t i = 0; i < unit_of.size(); ++i) {
    const auto [found, is_new] = place.try_emplace(unit_of[i], members.size());
    if (is_new) members.emplace_back();
    members[found->second].push_back(i);
  }
  std::vector<Example> examples;
  examples.reserve(data.examples.size());
  data.packs.clear();
  for (const auto& unit : members) {
    data.packs.push_back(examples.size());
    for (const size_t index : unit) examples.push_back(std::move(data.examples[index]));
  }
  data.examples = std::move(examples);
}

void join_examples(Dataset& data, int64_t length_max) {
  const auto length = static_cast<size_t>(std::max<int64_t>(2, length_max));
  std::vector<Example> windows;
  Example window;
  data.trained_tokens = 0;
  const auto finish = [&] {
    if (window.tokens.size() >= 2) {
      window.trained[0] = 0;
      data.trained_tokens += std::count(window.trained.begin(), window.trained.end(), 1);
      windows.push_back(std::move(window));
    }
    window = {};
  };
  for (Example& text : data.examples) {
    if (!window.tokens.empty() && window.file != text.file) finish();
    for (size_t begin = 0; begin < text.tokens.size();) {
      if (window.tokens.empty()) {
        window.line = text.line;
        window.file = text.file;
      }
      const size_t count = std::min(length - window.tokens.size(), text.tokens.size() - begin);
      const auto first = static_cast<std::ptrdiff_t>(begin), last = static_cast<std::ptrdiff_t>(begin + count);
      window.tokens.insert(window.tokens.end(), text.tokens.begin() + first, text.tokens.begin() + last);
      window.trained.resize(window.tokens.size(), 1);
      begin += count;
      if (window.tokens.size() < length) continue;
      const TokenId bridge = window.tokens.back();
      finish();
      window = {.tokens = {bridge}, .trained = {0}, .line = text.line, .file = text.file};
    }
    text = {};
  }
  finish();
  data.examples = std::move(windows);
}

}  // namespace umbel::data
