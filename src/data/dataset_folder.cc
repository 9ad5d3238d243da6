#include "data/dataset_folder.h"

#include <fnmatch.h>

#include <algorithm>
#include <map>
#include <utility>

#include "io/stray.h"
#include "io/yaml.h"

namespace umbel::data {
namespace {

constexpr size_t kFilesMax = 10'000;
constexpr int kDepthMax = 4;
constexpr size_t kReadmeBytesMax = size_t{16} << 20;
constexpr size_t kPatternsMax = 1'000;  // of a split: each is held against each file
constexpr const char* kExtensions[] = {".parquet", ".jsonl", ".json", ".ndjson", ".csv", ".tsv"};
constexpr const char* kDefault = "default";

using Names = std::vector<std::string>;       // of files, below the folder
using Splits = std::map<std::string, Names>;  // by split: files, or patterns of them

struct Configuration {
  std::string dir;                 // its files begin with this
  std::optional<Splits> patterns;  // absent: files say their split themselves
};
// What a README.md says. Patterns are held against files only for the split that is asked for.
struct Layout {
  Names files;
  std::map<std::string, Configuration> configurations;
  std::string fallback = kDefault;  // the configuration that is meant when none is named
};

std::string extension_of(Path name) {
  if (name.extension() == ".gz" || name.extension() == ".zst") name = name.stem();
  return name.extension().string();
}

bool holds_rows(const Path& name) {
  const std::string extension = extension_of(name);
  return std::any_of(std::begin(kExtensions), std::end(kExtensions), [&](const char* one) { return extension == one; });
}

Result<Names> list_files(const Path& folder) {
  Names names;
  std::error_code error;
  std::filesystem::recursive_directory_iterator at(folder, error), end;
  for (; !error && at != end; at.increment(error)) {
    const Path& path = at->path();
    if (path.filename().string().starts_with(".") || at.depth() > kDepthMax) {
      at.disable_recursion_pending();
      continue;
    }
    std::error_code ignored;
    if (!holds_rows(path) || !std::filesystem::is_regular_file(path, ignored)) continue;
    names.push_back(path.lexically_relative(folder).generic_string());
    if (names.size() > kFilesMax) return Status(Code::kTooLong, "\"" + folder.string() + "\" holds more than " + std::to_string(kFilesMax) + " files of rows");
  }
  if (error) return Status(Code::kUnavailable, "\"" + folder.string() + "\" can't be listed: " + error.message());
  std::sort(names.begin(), names.end());
  return names;
}

// What a file's name says of its split: NAME-00000-of-00002, or one of the usual words between separators; else it is for training.
std::string split_of(const std::string& name) {
  const std::string stem = Path(name).filename().string();
  const size_t dash = stem.find("-0");
  if (dash != std::string::npos && dash > 0 && stem.find("-of-", dash) != std::string::npos) return stem.substr(0, dash);
  std::string text = "/" + name + "/";
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return c < 0x80 ? static_cast<char>(std::tolower(c)) : static_cast<char>(c); });
  const std::string_view separators = "-._ 0123456789/";
  const std::pair<const char*, std::vector<const char*>> words[] = {
      {"train", {"train", "training"}}, {"validation", {"validation", "valid", "dev", "val"}}, {"test", {"test", "testing", "eval", "evaluation"}}};
  for (const auto& [split, ways] : words) {
    for (const std::string_view way : ways) {
      for (size_t at = text.find(way); at != std::string::npos; at = text.find(way, at + 1)) {
        if (separators.find(text[at - 1]) != std::string_view::npos && separators.find(text[at + way.size()]) != std::string_view::npos) return split;
      }
    }
  }
  return "train";
}

// The lines between the first two "---"; "" without any.
std::string front_matter(const std::string& readme) {
  if (!readme.starts_with("---\n") && !readme.starts_with("---\r\n")) return "";
  const size_t begin = readme.find('\n') + 1;
  const size_t end = readme.find("\n---", begin - 1);
  return end == std::string::npos ? "" : readme.substr(begin, end + 1 - begin);
}

Status read_patterns(const Yaml& node, const std::string& dir, Names& patterns) {
  if (node.is_list()) {
    for (const YamlPtr& item : node.items) RETURN_IF_ERROR(read_patterns(*item, dir, patterns));
    return ok_status();
  }
  const auto text = yaml_text(node);
  if (!text.ok()) return text.status().with_context(node.where);
  if (patterns.size() == kPatternsMax) return Status(Code::kTooLong, node.where + ": data_files: more than " + std::to_string(kPatternsMax) + " patterns");
  patterns.push_back(dir + *text);
  return ok_status();
}

// data_files: a pattern, a list of them (all for training), a map from splits, or a list of {split, path}.
Status read_data_files(const Yaml& node, const std::string& dir, Splits& splits) {
  if (node.is_map()) {
    for (const YamlEntry& entry : node.entries) RETURN_IF_ERROR(read_patterns(*entry.value, dir, splits[entry.key]));
    return ok_status();
  }
  for (const YamlPtr& item : node.is_list() ? node.items : std::vector<YamlPtr>{}) {
    if (!item->is_map()) continue;
    const YamlEntry* split = item->find("split");
    const YamlEntry* path = item->find("path");
    if (split == nullptr || path == nullptr) return invalid_argument(item->where + ": data_files: an entry has \"split\" and \"path\"");
    ASSIGN_OR_RETURN(const std::string name, yaml_text(*split->value));
    RETURN_IF_ERROR(read_patterns(*path->value, dir, splits[name]));
  }
  return splits.empty() ? read_patterns(node, dir, splits["train"]) : ok_status();
}

bool matches(const std::string& pattern, const std::string& name) {
  const std::string plain = pattern.starts_with("./") ? pattern.substr(2) : pattern;
  const int flags = plain.find("**") != std::string::npos ? 0 : FNM_PATHNAME;
  return fnmatch(plain.c_str(), name.c_str(), flags) == 0;
}

Names matching(const Names& patterns, const Names& files) {
  Names found;
  for (const std::string& name : files) {
    if (std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) { return matches(pattern, name); })) found.push_back(name);
  }
  return found;
}

Status read_configuration(const Yaml& map, Layout& layout) {
  const YamlEntry* named = map.is_map() ? map.find("config_name") : nullptr;
  if (named == nullptr) return invalid_argument(map.where + ": configs: an entry has \"config_name\" and \"data_files\"");
  ASSIGN_OR_RETURN(std::string name, yaml_text(*named->value));
  Configuration configuration;
  std::string& dir = configuration.dir;
  if (const YamlEntry* entry = map.find("data_dir")) {
    ASSIGN_OR_RETURN(dir, yaml_text(*entry->value));
    if (!dir.empty() && !dir.ends_with('/')) dir += '/';
  }
  const YamlEntry* marked = map.find("default");
  if (marked != nullptr && yaml_switch(*marked->value).ok() && *yaml_switch(*marked->value)) layout.fallback = name;
  if (const YamlEntry* entry = map.find("data_files")) {
    RETURN_IF_ERROR(read_data_files(*entry->value, dir, configuration.patterns.emplace()));
  }
  layout.configurations[name] = std::move(configuration);
  return ok_status();
}

Result<Layout> read_layout(const Path& folder) {
  Layout layout;
  ASSIGN_OR_RETURN(layout.files, list_files(folder));
  const Path readme = folder / "README.md";
  std::error_code error;
  if (std::filesystem::is_regular_file(readme, error)) {
    ASSIGN_OR_RETURN(const std::string text, read_file(readme, kReadmeBytesMax));
    ASSIGN_OR_RETURN(const YamlPtr root, parse_yaml(front_matter(text), readme.string()));
    const YamlEntry* configs = root->find("configs");
    for (const YamlPtr& item : configs != nullptr ? configs->value->items : std::vector<YamlPtr>{}) RETURN_IF_ERROR(read_configuration(*item, layout));
  }
  if (layout.configurations.empty() && !layout.files.empty()) layout.configurations[kDefault];
  return layout;
}

// Files by split, as their names say.
Splits splits_by_name(const Names& files, const std::string& dir) {
  Splits splits;
  for (const std::string& file : files) {
    if (file.starts_with(dir)) splits[split_of(file)].push_back(file);
  }
  return splits;
}

// The entry that is meant, by its name or for being the only one. fallback: its name when none is given.
template <typename Value>
Result<const Value*> choose(const std::map<std::string, Value>& all, const std::string& name, const std::string& what, const std::string& fallback = kDefault) {
  if (name.empty() && all.size() == 1) return &all.begin()->second;
  const auto found = all.find(name.empty() ? fallback : name);
  if (found != all.end()) return &found->second;
  std::string known;
  for (const auto& [one, value] : all) known += (known.empty() ? "" : ", ") + one;
  return not_found(name.empty() ? "it has several " + what + "s (" + known + "): name one" : "it has no " + what + " \"" + name + "\"; there are: " + known);
}

class SplitRows final : public RowSource {
 public:
  explicit SplitRows(std::vector<Path> files) : files_(std::move(files)) {}

  Status open_next() {
    ASSIGN_OR_RETURN(source_, RowSource::open(files_[at_]));
    if (at_ > 0 && source_->columns() != columns_) return invalid_argument("\"" + files_[at_].string() + "\" has other columns than \"" + files_[0].string() + "\"");
    columns_ = source_->columns();
    return ok_status();
  }
  Result<bool> next(RawRow& row) override {
    for (;;) {
      ASSIGN_OR_RETURN(const bool more, source_->next(row));
      if (more) {
        if (!row.problem.empty()) row.problem = files_[at_].filename().string() + ":" + std::to_string(row.line) + ": " + row.problem;
        row.line = ++rows_;
        return true;
      }
      if (++at_ == files_.size()) {
        --at_;
        return false;
      }
      RETURN_IF_ERROR(open_next());
    }
  }
  const std::vector<std::string>& columns() const override { return columns_; }

 private:
  std::vector<Path> files_;
  size_t at_ = 0;
  std::unique_ptr<RowSource> source_;
  std::vector<std::string> columns_;
  int64_t rows_ = 0;
};

bool is_folder(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_directory(path, error);
}

}  // namespace

std::optional<FolderSplit> folder_split(const Path& name) {
  const std::string text = name.string();
  if (is_folder(text)) return FolderSplit{.folder = name, .configuration = "", .split = ""};
  const size_t last = text.rfind(':');
  if (last == std::string::npos || last == 0 || std::filesystem::exists(name)) return std::nullopt;
  if (is_folder(text.substr(0, last))) return FolderSplit{.folder = text.substr(0, last), .configuration = "", .split = text.substr(last + 1)};
  const size_t first = text.rfind(':', last - 1);
  if (first == std::string::npos || !is_folder(text.substr(0, first))) return std::nullopt;
  return FolderSplit{.folder = text.substr(0, first), .configuration = text.substr(first + 1, last - first - 1), .split = text.substr(last + 1)};
}

Path folder_split_name(const FolderSplit& split) { return split.folder.string() + ":" + split.configuration + ":" + split.split; }

Result<std::vector<Path>> split_files(const FolderSplit& split) {
  const std::string where = "the data folder \"" + split.folder.string() + "\"";
  ASSIGN_OR_RETURN(const Path folder, hub_snapshot(split.folder));
  ASSIGN_OR_RETURN(const Layout layout, read_layout(folder));
  if (layout.configurations.empty()) {
    std::string known;
    for (const char* extension : kExtensions) known += (known.empty() ? "" : ", ") + std::string(extension);
    return not_found(where + " holds no file of rows (" + known + "; plain, .gz or .zst)");
  }
  const auto configuration = choose(layout.configurations, split.configuration, "configuration", layout.fallback);
  if (!configuration.ok()) return not_found(where + ": " + configuration.status().message() + " (as FOLDER:CONFIGURATION:SPLIT)");
  const std::optional<Splits>& patterns = (*configuration)->patterns;
  const Splits splits = patterns ? *patterns : splits_by_name(layout.files, (*configuration)->dir);
  const auto chosen = choose(splits, split.split, "split");
  if (!chosen.ok()) return not_found(where + ": " + chosen.status().message() + " (as FOLDER:SPLIT, or FOLDER:CONFIGURATION:SPLIT)");
  const Names files = patterns ? matching(**chosen, layout.files) : **chosen;
  if (files.empty()) return not_found(where + ": the files that its README.md names for this split are not there");
  std::vector<Path> paths;
  for (const std::string& name : files) paths.push_back(folder / name);
  return paths;
}

Result<std::unique_ptr<RowSource>> open_split(const FolderSplit& split) {
  ASSIGN_OR_RETURN(std::vector<Path> files, split_files(split));
  auto rows = std::make_unique<SplitRows>(std::move(files));
  RETURN_IF_ERROR(rows->open_next());
  return std::unique_ptr<RowSource>(std::move(rows));
}

}  // namespace umbel::data
