// YAML of strangers: a document as a tree whose every value knows where it stands, parsed without exceptions, size and
// depth limited. Scalars stay text: whoever knows which type a key has reads them (so "1e-3" is a number where a number
// belongs and "no" a word where a word belongs, whatever YAML 1.1 thinks of them).
//
// Anchors and aliases share one node; merge keys ("<<") are flattened: a key of the map itself counts before a merged one, an
// earlier merged map before a later one. A key that stands twice in one map is an error. Immutable once parsed.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/file.h"

namespace umbel {

inline constexpr int kYamlDepthMax = 32;
inline constexpr size_t kYamlBytesMax = size_t{4} << 20;

struct Yaml;
using YamlPtr = std::shared_ptr<const Yaml>;  // never null

struct YamlEntry {
  std::string key;
  std::string where;  // of the key
  YamlPtr value;
};

struct Yaml {
  enum class Kind : uint8_t { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  std::string where;               // "run.yaml:12", or the flag that it comes from ("--lr")
  bool from_flag = false;          // not out of a file
  std::string text;                // kScalar
  bool quoted = false;             // kScalar: written in quotes or as a block, so it is meant as text
  std::vector<YamlPtr> items;      // kList
  std::vector<YamlEntry> entries;  // kMap, in written order; keys are distinct

  bool is_map() const { return kind == Kind::kMap; }
  bool is_list() const { return kind == Kind::kList; }
  bool is_scalar() const { return kind == Kind::kScalar; }
  bool is_null() const { return kind == Kind::kNull; }
  // Null when this is no map or has no such key.
  const YamlEntry* find(std::string_view key) const;
};

// The text of a flag: a scalar, or what parse_yaml makes of it when it begins with "[" or "{". where: the flag.
Result<YamlPtr> yaml_of_flag(const std::string& text, const std::string& where);
// The text as a scalar, whatever it begins with.
YamlPtr yaml_text_of_flag(const std::string& text, const std::string& where);
// The same map with this entry in the place of the one with its key, else at the end. REQUIRES a map.
YamlPtr yaml_with(const Yaml& map, YamlEntry entry);

// One document; an empty one is kNull. what names the source in errors and places. Refused, with the line: syntax errors,
// tags other than YAML's own scalars, keys that are not scalars, aliases into themselves, text that is not UTF-8.
Result<YamlPtr> parse_yaml(std::string_view text, const std::string& what);
Result<YamlPtr> read_yaml(const Path& path);

// Typed reading of one scalar. Failures say what was expected and what stands there, without the place.
// Integers: decimal digits with a sign, no leading zeros (which YAML 1.1 reads as octal), or a number that is whole (1e3).
Result<int64_t> yaml_integer(const Yaml& node);
Result<uint64_t> yaml_unsigned(const Yaml& node);
// Finite numbers only.
Result<double> yaml_number(const Yaml& node);
// true, false, yes, no, on, off in any case.
Result<bool> yaml_switch(const Yaml& node);
Result<std::string> yaml_text(const Yaml& node);
// "a list", "the text \"x\"", ...: what stands there, for error messages (shortened, plain ASCII).
std::string describe_yaml(const Yaml& node);

}  // namespace umbel
