#include "io/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include "io/json.h"

namespace umbel {
namespace {

constexpr size_t kMergedKeysMax = 100000;

std::string printable(std::string_view text) {
  constexpr size_t kShown = 60;
  std::string out;
  for (const char c : text.substr(0, kShown)) out += c >= 0x20 && c < 0x7F ? c : '?';
  return text.size() > kShown ? out + "..." : out;
}

// Builds the tree from the parser's events. The first failure stands in status(); what comes after it is ignored.
class TreeBuilder final : public YAML::EventHandler {
 public:
  explicit TreeBuilder(const std::string& what) : what_(what) {}

  const Status& status() const { return status_; }
  YamlPtr root() const { return root_ != nullptr ? root_ : std::make_shared<Yaml>(Yaml{.where = what_ + ":1"}); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    finish_value(std::make_shared<Yaml>(Yaml{.where = at(mark)}), anchor);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& value) override {
    check_tag(mark, tag);
    const bool quoted = !tag.empty() && tag != "?";
    finish_value(std::make_shared<Yaml>(Yaml{.kind = Yaml::Kind::kScalar, .where = at(mark), .text = value, .quoted = quoted && !is_core_number(tag)}), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (!status_.ok()) return;
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) return fail(at(mark), "the alias stands inside what it names");
    finish_value(found->second, 0);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    check_tag(mark, tag);
    open(Yaml::Kind::kList, mark, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    check_tag(mark, tag);
    open(Yaml::Kind::kMap, mark, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Frame {
    std::shared_ptr<Yaml> node;
    YAML::anchor_t anchor = 0;
    std::optional<YamlEntry> pending;  // a map's key that waits for its value
    bool merge = false;                // that key is "<<"
    std::vector<YamlPtr> merged;
    std::set<std::string> keys;
  };

  std::string at(const YAML::Mark& mark) const { return what_ + ":" + std::to_string(mark.line + 1); }
  void fail(const std::string& where, const std::string& message) {
    if (status_.ok()) status_ = invalid_argument(where + ": " + message);
  }
  static bool is_core_number(const std::string& tag) {
    return tag == "tag:yaml.org,2002:int" || tag == "tag:yaml.org,2002:float" || tag == "tag:yaml.org,2002:bool";
  }
  void check_tag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!" || tag == "tag:yaml.org,2002:str" || tag == "tag:yaml.org,2002:seq" ||
        tag == "tag:yaml.org,2002:map" || is_core_number(tag)) {
      return;
    }
    fail(at(mark), "the tag \"" + printable(tag) + "\" has no meaning here");
  }

  void open(Yaml::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (!status_.ok()) return;
    if (frames_.size() >= static_cast<size_t>(kYamlDepthMax)) {
      return fail(at(mark), "nested deeper than " + std::to_string(kYamlDepthMax) + " levels");
    }
    frames_.push_back({.node = std::make_shared<Yaml>(Yaml{.kind = kind, .where = at(mark)}), .anchor = anchor});
  }

  void close() {
    if (!status_.ok()) return;
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    for (const YamlPtr& other : frame.merged) {
      merged_keys_ += other->entries.size() + 1;
      if (merged_keys_ > kMergedKeysMax) return fail(frame.node->where, "\"<<\" merges too many keys");
      for (const YamlEntry& entry : other->entries) {
        if (frame.keys.insert(entry.key).second) frame.node->entries.push_back(entry);
      }
    }
    finish_value(frame.node, frame.anchor);
  }

  void finish_value(YamlPtr value, YAML::anchor_t anchor) {
    if (!status_.ok()) return;
    if (anchor != 0) anchors_[anchor] = value;
    if (frames_.empty()) {
      root_ = std::move(value);
    } else if (Frame& frame = frames_.back(); frame.node->is_list()) {
      frame.node->items.push_back(std::move(value));
    } else if (!frame.pending) {
      take_key(frame, *value);
    } else {
      take_map_value(frame, std::move(value));
    }
  }

  void take_key(Frame& frame, const Yaml& key) {
    if (!key.is_scalar()) return fail(key.where, "a key is a word, not " + describe_yaml(key));
    frame.merge = key.text == "<<" && !key.quoted;
    if (!frame.merge && !frame.keys.insert(key.text).second) {
      const auto first = std::find_if(frame.node->entries.begin(), frame.node->entries.end(), [&](const YamlEntry& e) { return e.key == key.text; });
      return fail(key.where, "the key \"" + printable(key.text) + "\" stands twice" +
                                 (first != frame.node->entries.end() ? " (first at " + first->where + ")" : ""));
    }
    frame.pending = YamlEntry{.key = key.text, .where = key.where};
  }

  void take_map_value(Frame& frame, YamlPtr value) {
    if (!frame.merge) {
      // The parser notices that nothing stands there only at the next key.
      if (value->is_null()) value = std::make_shared<Yaml>(Yaml{.where = frame.pending->where});
      frame.pending->value = std::move(value);
      frame.node->entries.push_back(*std::move(frame.pending));
    } else {
      const std::vector<YamlPtr> maps = value->is_list() ? value->items : std::vector<YamlPtr>{value};
      for (const YamlPtr& map : maps) {
        if (!map->is_map()) return fail(frame.pending->where, "\"<<\" merges maps, not " + describe_yaml(*map));
        frame.merged.push_back(map);
      }
    }
    frame.pending.reset();
  }

  const std::string& what_;
  Status status_;
  YamlPtr root_;
  std::vector<Frame> frames_;
  std::map<YAML::anchor_t, YamlPtr> anchors_;
  size_t merged_keys_ = 0;  // looked at so far
};

// The same tree as it came from a flag; places within the flag are not worth telling.
YamlPtr marked(const Yaml& node, const std::string& where) {
  auto copy = std::make_shared<Yaml>(node);
  copy->where = where;
  copy->from_flag = true;
  for (YamlPtr& item : copy->items) item = marked(*item, where);
  for (YamlEntry& entry : copy->entries) entry = {.key = entry.key, .where = where, .value = marked(*entry.value, where)};
  return copy;
}

bool same_word(std::string_view text, std::string_view word) {
  return std::equal(text.begin(), text.end(), word.begin(), word.end(), [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; });
}

Status expected(const char* type, const Yaml& node) { return invalid_argument(std::string("expected ") + type + ", found " + describe_yaml(node)); }

// The digits of a number, without a leading "+"; empty for anything that is no plain scalar.
std::string_view number_text(const Yaml& node) {
  if (!node.is_scalar() || node.quoted) return {};
  std::string_view text = node.text;
  if (text.starts_with('+')) text.remove_prefix(1);
  return text.starts_with('+') ? std::string_view() : text;
}

// Also reads what is written as a whole real number, like 1e3.
template <typename T>
Result<T> whole_number(const Yaml& node, const char* type) {
  const std::string_view text = number_text(node);
  const std::string_view digits = text.substr(text.starts_with('-') ? 1 : 0);
  if (digits.size() > 1 && digits[0] == '0' && digits.find_first_not_of("0123456789") == std::string_view::npos) {
    return invalid_argument(std::string("expected ") + type + " without leading zeros, found " + describe_yaml(node));
  }
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (!text.empty() && error == std::errc() && end == text.data() + text.size()) return value;
  if (error == std::errc::result_out_of_range) return invalid_argument(std::string("expected ") + type + " of 64 bits, found " + describe_yaml(node));
  constexpr double kExact = 9007199254740992.0;  // 2^53: beyond it a double is not every whole number
  const auto real = yaml_number(node);
  if (!real.ok() || *real != std::floor(*real) || std::abs(*real) > kExact || (std::is_unsigned_v<T> && *real < 0)) return expected(type, node);
  return static_cast<T>(*real);
}

}  // namespace

const YamlEntry* Yaml::find(std::string_view key) const {
  const auto found = std::find_if(entries.begin(), entries.end(), [&](const YamlEntry& entry) { return entry.key == key; });
  return found == entries.end() ? nullptr : &*found;
}

Result<YamlPtr> yaml_of_flag(const std::string& text, const std::string& where) {
  if (text.starts_with('[') || text.starts_with('{')) {
    ASSIGN_OR_RETURN(const YamlPtr parsed, parse_yaml(text, where));
    return marked(*parsed, where);
  }
  return yaml_text_of_flag(text, where);
}

YamlPtr yaml_text_of_flag(const std::string& text, const std::string& where) {
  return std::make_shared<Yaml>(Yaml{.kind = Yaml::Kind::kScalar, .where = where, .from_flag = true, .text = text});
}

YamlPtr yaml_with(const Yaml& map, YamlEntry entry) {
  auto copy = std::make_shared<Yaml>(map);
  for (YamlEntry& old : copy->entries) {
    if (old.key != entry.key) continue;
    old = std::move(entry);
    return copy;
  }
  copy->entries.push_back(std::move(entry));
  return copy;
}

Result<YamlPtr> parse_yaml(std::string_view text, const std::string& what) {
  if (text.size() > kYamlBytesMax) {
    return Status(Code::kTooLong, what + ": " + std::to_string(text.size()) + " bytes; a configuration has at most " + std::to_string(kYamlBytesMax));
  }
  if (!is_utf8(text)) return invalid_argument(what + ": is not UTF-8 text");
  if (text.find('\0') != std::string_view::npos) return invalid_argument(what + ": contains a zero byte");
  TreeBuilder builder(what);
  std::istringstream stream{std::string(text)};
  try {
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    if (!builder.status().ok()) return builder.status();
    const YamlPtr root = builder.root();
    if (parser.HandleNextDocument(builder)) return invalid_argument(what + ": holds more than one document (\"---\")");
    return root;
  } catch (const YAML::Exception& error) {
    const std::string line = error.mark.is_null() ? "" : ":" + std::to_string(error.mark.line + 1);
    return invalid_argument(what + line + ": not valid YAML: " + printable(error.msg));
  }
}

Result<YamlPtr> read_yaml(const Path& path) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path, kYamlBytesMax));
  return parse_yaml(text, path.string());
}

Result<int64_t> yaml_integer(const Yaml& node) { return whole_number<int64_t>(node, "a whole number"); }
Result<uint64_t> yaml_unsigned(const Yaml& node) { return whole_number<uint64_t>(node, "a whole number that is not negative"); }

Result<double> yaml_number(const Yaml& node) {
  const std::string_view text = number_text(node);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool infinite = same_word(text, ".inf") || same_word(text, "-.inf") || same_word(text, ".nan");
  if (infinite || (!text.empty() && end == text.data() + text.size() && (error != std::errc() || !std::isfinite(value)))) {
    return invalid_argument("expected a finite number, found " + describe_yaml(node));
  }
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return expected("a number", node);
  return value;
}

Result<bool> yaml_switch(const Yaml& node) {
  if (node.is_scalar() && !node.quoted) {
    for (const char* word : {"true", "yes", "on"}) {
      if (same_word(node.text, word)) return true;
    }
    for (const char* word : {"false", "no", "off"}) {
      if (same_word(node.text, word)) return false;
    }
  }
  return expected("true or false", node);
}

Result<std::string> yaml_text(const Yaml& node) {
  if (!node.is_scalar()) return expected("text", node);
  return node.text;
}

std::string describe_yaml(const Yaml& node) {
  switch (node.kind) {
    case Yaml::Kind::kNull: return "nothing";
    case Yaml::Kind::kList: return "a list";
    case Yaml::Kind::kMap: return "a map";
    case Yaml::Kind::kScalar: break;
  }
  return (node.quoted ? "the quoted text \"" : "\"") + printable(node.text) + "\"";
}

}  // namespace umbel
