#include "eval/scorers/entities.h"

#include <algorithm>
#include <optional>

#include "eval/text/python_text.h"

namespace umbel::eval {
namespace {

struct Tag {
  char mark = 'O';
  std::string kind;
};

// "B-PER"; a kind may hold further hyphens, and may be absent.
Tag read_tag(const std::string& text) {
  Tag tag{.mark = text.empty() ? 'O' : text.front()};
  std::string rest = text.empty() ? "" : text.substr(1);
  const size_t hyphen = rest.find('-');
  if (hyphen != std::string::npos) rest.erase(0, hyphen + 1);
  tag.kind = rest.empty() ? "_" : rest;
  return tag;
}

bool outside(char mark) { return mark == 'O' || mark == '.'; }

bool ends(const Tag& before, const Tag& tag) {
  if (before.mark == 'E' || before.mark == 'S') return true;
  if (before.mark == 'B' && (tag.mark == 'B' || tag.mark == 'S' || tag.mark == 'O')) return true;
  if (before.mark == 'I' && (tag.mark == 'B' || tag.mark == 'S' || tag.mark == 'O')) return true;
  return !outside(before.mark) && before.kind != tag.kind;
}

bool begins(const Tag& before, const Tag& tag) {
  if (tag.mark == 'B' || tag.mark == 'S') return true;
  const bool goes_on = tag.mark == 'E' || tag.mark == 'I';
  if (goes_on && (before.mark == 'E' || before.mark == 'S' || before.mark == 'O')) return true;
  return !outside(tag.mark) && before.kind != tag.kind;
}

// Entities of a row, by kind; how often each stands there.
using Entities = std::map<std::string, std::map<std::string, int64_t>>;

Entities of_tags(const std::vector<std::string>& tags) {
  Entities entities;
  for (const Chunk& chunk : chunks_of(tags)) ++entities[chunk.kind][std::to_string(chunk.begin) + ".." + std::to_string(chunk.end)];
  return entities;
}

std::optional<Entities> of_object(const OrderedJson& object) {
  if (!object.is_object()) return std::nullopt;
  Entities entities;
  for (const auto& [kind, list] : object.items()) {
    if (list.is_null()) continue;
    if (!list.is_array()) {
      ++entities[kind][python_str(list)];
      continue;
    }
    for (const OrderedJson& text : list) ++entities[kind][python_str(text)];
  }
  return entities;
}

bool is_tag(std::string_view text) {
  return text == "O" || (text.size() > 2 && text[1] == '-' && std::string_view("BIES").find(text.front()) != std::string_view::npos);
}

std::optional<Entities> read_tags(const OrderedJson& value) {
  std::vector<std::string> tags;
  if (value.is_array()) {
    for (const OrderedJson& tag : value) tags.push_back(python_str(tag));
  } else {
    const std::string text = python_str(value);
    for (const auto word : split_blanks(text)) {
      if (!is_tag(word)) return std::nullopt;
      tags.emplace_back(word);
    }
  }
  return of_tags(tags);
}

std::optional<Entities> read_object(const OrderedJson& value) {
  if (value.is_object()) return of_object(value);
  if (!value.is_string()) return std::nullopt;
  const auto parsed = parse_ordered_json(value.get<std::string>(), "the answer", kRequestJsonLimits);
  return parsed.ok() ? of_object(*parsed) : std::nullopt;
}

bool holds_object(const OrderedJson& value) { return read_object(value).has_value(); }

struct Tally {
  int64_t right = 0, predicted = 0, wanted = 0;

  double precision() const { return predicted > 0 ? static_cast<double>(right) / static_cast<double>(predicted) : 0; }
  double recall() const { return wanted > 0 ? static_cast<double>(right) / static_cast<double>(wanted) : 0; }
  double f1() const { return predicted + wanted > 0 ? 2.0 * static_cast<double>(right) / static_cast<double>(predicted + wanted) : 0; }
};
using Tallies = std::map<std::string, Tally>;

// Adds what one row comes to; gives its own F1.
double add_row(const Entities& predicted, const Entities& wanted, Tallies& tallies) {
  Tally row;
  for (const auto& [kind, texts] : wanted) {
    for (const auto& [text, count] : texts) {
      tallies[kind].wanted += count;
      row.wanted += count;
    }
  }
  for (const auto& [kind, texts] : predicted) {
    const auto truth = wanted.find(kind);
    for (const auto& [text, count] : texts) {
      tallies[kind].predicted += count;
      row.predicted += count;
      if (truth == wanted.end()) continue;
      const auto found = truth->second.find(text);
      if (found == truth->second.end()) continue;
      tallies[kind].right += std::min(count, found->second);
      row.right += std::min(count, found->second);
    }
  }
  return row.predicted + row.wanted == 0 ? 1 : row.f1();
}

void summarise(const Tallies& tallies, OrderedJson& summary) {
  Tally all;
  double macro = 0, weighted = 0;
  OrderedJson kinds = OrderedJson::object();
  for (const auto& [kind, tally] : tallies) {
    all.right += tally.right;
    all.predicted += tally.predicted;
    all.wanted += tally.wanted;
    macro += tally.f1();
    weighted += tally.f1() * static_cast<double>(tally.wanted);
    kinds[kind] = {{"precision", tally.precision()}, {"recall", tally.recall()}, {"f1", tally.f1()}, {"support", tally.wanted}};
  }
  summary["precision"] = all.precision();
  summary["recall"] = all.recall();
  summary["f1"] = all.f1();
  summary["macro_f1"] = tallies.empty() ? 0 : macro / static_cast<double>(tallies.size());
  summary["weighted_f1"] = all.wanted > 0 ? weighted / static_cast<double>(all.wanted) : 0;
  summary["kinds"] = std::move(kinds);
}

class EntityF1 final : public Scorer {
 public:
  Result<Scores> score(std::span<const ScoredRow> rows) const override {
    Scores scores;
    Tallies tallies;
    int64_t unreadable = 0;
    for (const ScoredRow& row : rows) {
      const bool by_object = holds_object(row.reference);
      const auto wanted = by_object ? read_object(row.reference) : read_tags(row.reference);
      if (!wanted) {
        return invalid_argument(row.place + ": field \"reference\" is to be a list of tags (\"B-PER\", \"O\", ...), or a map of kinds to lists of entities");
      }
      const auto predicted = by_object ? read_object(row.prediction) : read_tags(row.prediction);
      if (!predicted) ++unreadable;
      const double value = add_row(predicted.value_or(Entities()), *wanted, tallies);
      scores.scores.push_back(predicted ? value : 0);  // words that are no list are not a list without entities
    }
    scores.mean = mean_of(scores.scores);
    if (unreadable > 0) scores.summary["unreadable"] = unreadable;
    summarise(tallies, scores.summary);
    return scores;
  }
};

}  // namespace

std::vector<Chunk> chunks_of(const std::vector<std::string>& tags) {
  std::vector<Chunk> chunks;
  Tag before{.mark = 'O', .kind = ""};
  size_t begin = 0;
  for (size_t i = 0; i <= tags.size(); ++i) {
    Tag tag = read_tag(i < tags.size() ? tags[i] : "O");
    if (ends(before, tag)) chunks.push_back({.kind = before.kind, .begin = begin, .end = i - 1});
    if (begins(before, tag)) begin = i;
    before = std::move(tag);
  }
  return chunks;
}

std::unique_ptr<Scorer> entity_scorer() { return std::make_unique<EntityF1>(); }

}  // namespace umbel::eval
