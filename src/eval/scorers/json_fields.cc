#include "eval/scorers/json_fields.h"

#include <map>
#include <optional>

#include "eval/text/python_text.h"

namespace umbel::eval {
namespace {

using Fields = std::map<std::string, OrderedJson>;

// Depth is bounded by the reader of JSON.
void collect(const OrderedJson& value, const std::string& path, Fields& fields) {
  if (!value.is_structured() || value.empty()) {
    fields[path] = value;
    return;
  }
  for (const auto& [name, item] : value.items()) collect(item, path + "/" + name, fields);
}

// Where the value that begins at the text's first { or [ ends, by brackets and strings alone.
std::string_view first_value(std::string_view text) {
  const size_t begin = text.find_first_of("{[");
  if (begin == std::string_view::npos) return {};
  int depth = 0;
  bool in_string = false;
  for (size_t i = begin; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      in_string = c != '"';
      continue;
    }
    in_string = c == '"';
    if (c == '{' || c == '[') ++depth;
    if ((c == '}' || c == ']') && --depth == 0) return text.substr(begin, i + 1 - begin);
  }
  return {};
}

enum class Form : uint8_t { kWhole, kExtract };

std::optional<Fields> read_fields(const OrderedJson& value, Form form) {
  Fields fields;
  if (value.is_structured()) {
    collect(value, "", fields);
    return fields;
  }
  if (!value.is_string()) return std::nullopt;
  const std::string text = value.get<std::string>();
  const auto parsed = parse_ordered_json(form == Form::kExtract ? first_value(text) : std::string_view(text), "the answer", kRequestJsonLimits);
  if (!parsed.ok() || !parsed->is_structured()) return std::nullopt;
  collect(*parsed, "", fields);
  return fields;
}

class JsonFields final : public Scorer {
 public:
  JsonFields(Form form, bool ignore_case) : form_(form), ignore_case_(ignore_case) {}

  Result<Scores> score(std::span<const ScoredRow> rows) const override {
    Scores scores;
    int64_t unreadable = 0, exact = 0, invented = 0;
    for (const ScoredRow& row : rows) {
      const auto wanted = read_fields(row.reference, Form::kWhole);
      if (!wanted) return invalid_argument(row.place + ": field \"reference\" is to be JSON: a map or a list");
      const auto answer = read_fields(row.prediction, form_);
      if (!answer) {
        ++unreadable;
        scores.scores.push_back(0);
        continue;
      }
      size_t right = 0;
      for (const auto& [path, value] : *wanted) {
        const auto found = answer->find(path);
        if (found != answer->end() && same(found->second, value)) ++right;
      }
      size_t others = 0;
      for (const auto& [path, value] : *answer) others += wanted->count(path) == 0 ? 1 : 0;
      scores.scores.push_back(static_cast<double>(right) / static_cast<double>(wanted->size()));
      exact += right == wanted->size() && others == 0 ? 1 : 0;
      invented += static_cast<int64_t>(others);
    }
    scores.mean = mean_of(scores.scores);
    scores.summary["exact"] = rows.empty() ? 0 : static_cast<double>(exact) / static_cast<double>(rows.size());
    scores.summary["invented"] = invented;
    scores.summary["unreadable"] = unreadable;
    return scores;
  }

 private:
  bool same(const OrderedJson& a, const OrderedJson& b) const {
    if (ignore_case_ && a.is_string() && b.is_string()) return lower_case(a.get<std::string>()) == lower_case(b.get<std::string>());
    return a == b;
  }

  Form form_;
  bool ignore_case_;
};

}  // namespace

std::unique_ptr<Scorer> json_scorer(Options& options) {
  const bool ignore_case = options.flag("ignore_case", false);
  return std::make_unique<JsonFields>(options.flag("extract", false) ? Form::kExtract : Form::kWhole, ignore_case);
}

}  // namespace umbel::eval
