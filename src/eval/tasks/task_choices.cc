// A row's choices, and which of them is right.
#include <algorithm>
#include <charconv>
#include <set>

#include "eval/tasks/task.h"
#include "eval/text/python_text.h"

namespace umbel::eval {
namespace {

constexpr size_t kChoicesMax = 500;

Result<std::vector<std::string>> texts_at(const OrderedJson& fields, const std::string& path, const char* key) {
  const std::string what = std::string(key) + ": \"" + path + "\"";
  const OrderedJson* list = value_at(fields, path);
  if (list == nullptr || !list->is_array() || list->empty()) return invalid_argument(what + " is no list of texts");
  if (list->size() > kChoicesMax) return invalid_argument(what + " has more than " + std::to_string(kChoicesMax) + " entries");
  std::vector<std::string> texts;
  for (const OrderedJson& text : *list) {
    if (!text.is_string()) return invalid_argument(what + " holds " + text.dump() + ", which is no text");
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

std::optional<size_t> place_of(const std::vector<std::string>& texts, const std::string& text) {
  const auto found = std::find(texts.begin(), texts.end(), text);
  if (found == texts.end()) return std::nullopt;
  return static_cast<size_t>(found - texts.begin());
}

// A place (from 0; a number or its digits), a label, or the text itself. Labels go first: they may be digits.
std::optional<size_t> right_place(const OrderedJson& reference, const std::vector<std::string>& labels, const std::vector<std::string>& choices) {
  const std::string text = reference.is_string() ? reference.get<std::string>() : reference.dump();
  if (!labels.empty()) return place_of(labels, text);
  if (const auto place = place_of(choices, text)) return place;
  size_t index = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), index);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size() || index >= choices.size()) return std::nullopt;
  return index;
}

}  // namespace

Status add_choices(const Task& task, TaskRow& row) {
  for (const std::string& text : task.choices.templates) {
    ASSIGN_OR_RETURN(const data::RowTemplate choice, data::RowTemplate::parse(text, "choices"));
    ASSIGN_OR_RETURN(std::string filled, choice.fill(row.fields));
    row.choices.push_back(std::move(filled));
  }
  if (!task.choices.from.empty()) {
    ASSIGN_OR_RETURN(row.choices, texts_at(row.fields, task.choices.from, "choices_from"));
  }
  std::set<std::string> seen;
  for (const std::string& choice : row.choices) {
    if (strip_blanks(choice).empty()) return invalid_argument("a choice is empty");
    // lm-evaluation-harness takes the first of two that are the same; only one can be right.
    if (task.choices.ask == AskKind::kChoose && !seen.insert(choice).second) return invalid_argument("the choice \"" + choice + "\" is there twice");
  }
  std::vector<std::string> labels;
  if (!task.choices.labels_from.empty()) {
    ASSIGN_OR_RETURN(labels, texts_at(row.fields, task.choices.labels_from, "labels_from"));
    if (labels.size() != row.choices.size()) return invalid_argument("labels_from has " + std::to_string(labels.size()) + " labels for " + std::to_string(row.choices.size()) + " choices");
  }
  const auto right = right_place(row.reference, labels, row.choices);
  if (!right) return invalid_argument("the reference " + row.reference.dump() + " is none of the row's " + std::to_string(row.choices.size()) + " choices");
  row.reference = task.choices.ask == AskKind::kLikelihood ? OrderedJson(*right) : OrderedJson(row.choices[*right]);
  return ok_status();
}

}  // namespace umbel::eval
