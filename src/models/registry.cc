#include "models/registry.h"

#include <algorithm>
#include <array>
#include <vector>

namespace umbel {
namespace {

std::vector<std::string> split(std::string_view names) {
  std::vector<std::string> list;
  while (!names.empty()) {
    const size_t end = std::min(names.find(' '), names.size());
    list.emplace_back(names.substr(0, end));
    names.remove_prefix(std::min(end + 1, names.size()));
  }
  return list;
}

// Levenshtein's distance.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0]++;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t kept = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({kept, row[j] + 1, diagonal + 1});
    }
  }
  return row[b.size()];
}

constexpr size_t kNameShown = 80;

}  // namespace

std::span<const Family* const> families() {
  static constexpr std::array kFamilies = {&kLlama, &kMistral, &kQwen2, &kQwen3, &kGpt2, &kGptBigCode, &kGemma, &kGemma2,
                                           &kGemma3Text, &kPhi, &kPhi3, &kStarCoder2, &kGptNeoX, &kGranite, &kOlmo2, &kSmolLm3};
  return kFamilies;
}

const Family* find_family(std::string_view model_type) {
  for (const Family* family : families()) {
    if (family->model_type == model_type) return family;
  }
  return nullptr;
}

DefaultTargets default_targets(const Family& family) {
  const FamilyTargets& t = family.targets;
  return {.lora = split(t.lora), .vera = split(t.vera), .ia3 = split(t.ia3), .feedforward = split(t.feedforward), .all = split(t.all)};
}

std::string known_model_types() {
  std::string names;
  for (const Family* family : families()) names += (names.empty() ? "" : ", ") + std::string(family->model_type);
  return names;
}

Status unknown_model_type(const std::string& model_type) {
  const std::string shown = model_type.substr(0, kNameShown);
  const auto nearer = [&](const Family* a, const Family* b) { return distance(shown, a->model_type) < distance(shown, b->model_type); };
  const Family* nearest = *std::min_element(families().begin(), families().end(), nearer);
  std::string text = "model_type \"" + shown + "\" is not computed here; known: " + known_model_types();
  if (distance(shown, nearest->model_type) <= std::max<size_t>(2, shown.size() / 2)) {
    text += "; the nearest is " + std::string(nearest->model_type);
  }
  return unsupported(text);
}

}  // namespace umbel
