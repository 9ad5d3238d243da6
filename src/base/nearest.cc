#include "base/nearest.h"

#include <algorithm>
#include <vector>

namespace umbel {
namespace {

constexpr size_t kNameBytesMax = 200;  // nobody mistypes more

std::string folded(std::string_view name) {
  std::string text(name.substr(0, kNameBytesMax));
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c == '-') c = '_';
  }
  return text;
}

}  // namespace

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

std::string nearest_name(std::string_view name, std::span<const std::string> known) {
  const std::string typed = folded(name);
  std::string best;
  size_t best_distance = 0;
  for (const std::string& candidate : known) {
    const std::string other = folded(candidate);
    const size_t distance = edit_distance(typed, other);
    if (distance > (std::max(typed.size(), other.size()) + 2) / 3) continue;
    if (best.empty() || distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace umbel
