#include "serve/keys/key_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <thread>
#include <unordered_map>

#include "base/nearest.h"
#include "base/utc.h"
#include "serve/keys/glob.h"

namespace umbel::serve {
namespace {

constexpr size_t kPatternsMax = 500000;  // of all keys: an alias repeats a list for a few bytes
constexpr int64_t kLimitMax = int64_t{1} << 50;
constexpr int kLockTries = 200;
constexpr auto kLockPause = std::chrono::milliseconds(50);

Status at_field(const std::string& where, const std::string& field, const std::string& message) {
  return invalid_argument(where + ": `" + field + "`: " + message);
}

// A field of a map, and how it is read. The failure names the place.
template <typename T>
struct Field {
  const char* name;
  Status (*read)(const YamlEntry& entry, T& into);
};

// Gives the failures of a reader of one value their place.
template <typename T, Status (*kRead)(const Yaml& value, T& into)>
Status placed(const YamlEntry& entry, T& into) {
  const Status status = kRead(*entry.value, into);
  return status.ok() ? status : at_field(entry.where, entry.key, status.message());
}

template <typename T, size_t kCount>
Status read_fields(const Yaml& map, const std::array<Field<T>, kCount>& fields, T& into) {
  for (const YamlEntry& entry : map.entries) {
    const auto field =
        std::find_if(fields.begin(), fields.end(), [&](const Field<T>& known) { return known.name == entry.key; });
    if (field == fields.end()) {
      std::vector<std::string> names;
      for (const Field<T>& known : fields) names.emplace_back(known.name);
      const std::string near = nearest_name(entry.key, names);
      return invalid_argument(entry.where + ": no such field" +
                              (near.empty() ? std::string() : "; did you mean `" + near + "`?"));
    }
    RETURN_IF_ERROR(field->read(entry, into));
  }
  return ok_status();
}

Result<std::vector<std::string>> texts(const Yaml& value, size_t count_max) {
  if (!value.is_list()) return invalid_argument("expected a list, not " + describe_yaml(value));
  if (value.items.size() > count_max)
    return invalid_argument(std::to_string(value.items.size()) + " entries; at most " + std::to_string(count_max));
  std::vector<std::string> list;
  for (const YamlPtr& item : value.items) {
    ASSIGN_OR_RETURN(std::string text, yaml_text(*item));
    list.push_back(std::move(text));
  }
  return list;
}

template <std::optional<int64_t> KeyLimits::* kMember>
Status read_limit(const Yaml& value, KeyLimits& limits) {
  if (value.is_null()) return ok_status();
  ASSIGN_OR_RETURN(const int64_t number, yaml_integer(value));
  if (number < 1 || number > kLimitMax)
    return invalid_argument("expected a whole number from 1 to " + std::to_string(kLimitMax) +
                            "; leave the limit out for none, revoke the key to shut it out");
  limits.*kMember = number;
  return ok_status();
}

constexpr std::array<Field<KeyLimits>, 5> kLimitFields = {{
    {"requests_per_minute", placed<KeyLimits, read_limit<&KeyLimits::requests_per_minute>>},
    {"tokens_per_minute", placed<KeyLimits, read_limit<&KeyLimits::tokens_per_minute>>},
    {"running", placed<KeyLimits, read_limit<&KeyLimits::running>>},
    {"queued", placed<KeyLimits, read_limit<&KeyLimits::queued>>},
    {"body_bytes", placed<KeyLimits, read_limit<&KeyLimits::body_bytes>>},
}};

Status read_name(const Yaml& value, KeySpec& key) {
  ASSIGN_OR_RETURN(key.name, yaml_text(value));
  return check_key_name(key.name);
}

Status read_digest(const Yaml& value, KeySpec& key) {
  ASSIGN_OR_RETURN(key.sha256, yaml_text(value));
  for (char& c : key.sha256) c = c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
  if (key.sha256.size() == 64 && key.sha256.find_first_not_of("0123456789abcdef") == std::string::npos)
    return ok_status();
  return invalid_argument("expected the 64 hexadecimal digits of the key's SHA-256 (never the key itself)");
}

Status read_scopes(const Yaml& value, KeySpec& key) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, texts(value, std::size(kScopes)));
  for (size_t i = 0; i < names.size(); ++i) {
    if (!scope_of(names[i]))
      return invalid_argument(describe_yaml(*value.items[i]) + " is no scope; there are generate, admin, metrics, jobs");
  }
  key.scopes.clear();
  for (const Scope scope : kScopes) {
    if (std::count(names.begin(), names.end(), scope_name(scope)) > 0) key.scopes.push_back(scope);
  }
  return ok_status();
}

Status read_adapters(const Yaml& value, KeySpec& key) {
  ASSIGN_OR_RETURN(key.adapters, texts(value, kKeyPatternsMax));
  for (const std::string& pattern : key.adapters) RETURN_IF_ERROR(check_glob(pattern));
  return ok_status();
}

Status read_base(const Yaml& value, KeySpec& key) {
  ASSIGN_OR_RETURN(key.base, yaml_switch(value));
  return ok_status();
}

Status read_moment(const Yaml& value, std::optional<int64_t>& moment) {
  if (value.is_null()) return ok_status();
  ASSIGN_OR_RETURN(const std::string text, yaml_text(value));
  ASSIGN_OR_RETURN(moment, parse_utc(text));
  return ok_status();
}

Status read_expiry(const Yaml& value, KeySpec& key) { return read_moment(value, key.expires_s); }
Status read_created(const Yaml& value, KeySpec& key) { return read_moment(value, key.created_s); }

Status read_limits(const YamlEntry& entry, KeySpec& key) {
  if (!entry.value->is_map())
    return at_field(entry.where, entry.key, "expected a map of limits, not " + describe_yaml(*entry.value));
  return read_fields(*entry.value, kLimitFields, key.limits);
}

constexpr std::array<Field<KeySpec>, 8> kKeyFields = {{
    {"name", placed<KeySpec, read_name>},
    {"sha256", placed<KeySpec, read_digest>},
    {"scopes", placed<KeySpec, read_scopes>},
    {"adapters", placed<KeySpec, read_adapters>},
    {"base", placed<KeySpec, read_base>},
    {"limits", read_limits},
    {"expires", placed<KeySpec, read_expiry>},
    {"created", placed<KeySpec, read_created>},
}};

Result<KeySpec> read_key(const Yaml& node) {
  if (!node.is_map()) return invalid_argument(node.where + ": expected a key's fields, not " + describe_yaml(node));
  KeySpec key;
  key.scopes = {Scope::kGenerate};
  RETURN_IF_ERROR(read_fields(node, kKeyFields, key));
  if (key.name.empty()) return at_field(node.where, "name", "is missing");
  if (key.sha256.empty()) return at_field(node.where, "sha256", "is missing; `umbel keys add` makes a key and its entry");
  return key;
}

// The path itself may be a link (a mounted secret): what it leads to is replaced.
Path behind_links(const Path& path) {
  std::error_code error;
  const Path real = std::filesystem::canonical(path, error);
  return error ? path : real;
}

// Holds the folder of a file against others who edit in it. The file itself is replaced, so it can't be held.
class FolderLock {
 public:
  static Result<FolderLock> take(const Path& path) {
    const Path folder = path.has_parent_path() ? path.parent_path() : Path(".");
    FolderLock lock(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (lock.descriptor_ < 0)
      return Status(Code::kNotFound, "cannot open the folder " + folder.string() + ": " + std::strerror(errno));
    for (int tries = 0; tries < kLockTries; ++tries) {
      if (::flock(lock.descriptor_, LOCK_EX | LOCK_NB) == 0) return lock;
      if (errno != EWOULDBLOCK && errno != EINTR)
        return Status(Code::kUnavailable, "cannot lock the folder " + folder.string() + ": " + std::strerror(errno));
      std::this_thread::sleep_for(kLockPause);
    }
    return Status(Code::kUnavailable, "another program holds the folder " + folder.string() + "; try again");
  }
  FolderLock(FolderLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FolderLock& operator=(FolderLock&&) = delete;
  ~FolderLock() {
    if (descriptor_ >= 0) ::close(descriptor_);  // and so unlocks
  }

 private:
  explicit FolderLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

nlohmann::ordered_json limits_json(const KeyLimits& limits) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  const auto add = [&](const char* name, const std::optional<int64_t>& value) {
    if (value) json[name] = *value;
  };
  add("requests_per_minute", limits.requests_per_minute);
  add("tokens_per_minute", limits.tokens_per_minute);
  add("running", limits.running);
  add("queued", limits.queued);
  add("body_bytes", limits.body_bytes);
  return json;
}

nlohmann::ordered_json key_json(const KeySpec& key) {
  nlohmann::ordered_json json = {{"name", key.name}, {"sha256", key.sha256}};
  json["scopes"] = nlohmann::ordered_json::array();
  for (const Scope scope : key.scopes) json["scopes"].push_back(scope_name(scope));
  json["adapters"] = key.adapters;
  json["base"] = key.base;
  if (!(key.limits == KeyLimits{})) json["limits"] = limits_json(key.limits);
  if (key.expires_s) json["expires"] = utc_text_seconds(*key.expires_s);
  if (key.created_s) json["created"] = utc_text_seconds(*key.created_s);
  return json;
}

}  // namespace

Result<std::vector<KeySpec>> parse_key_file(std::string_view text, const std::string& what) {
  ASSIGN_OR_RETURN(const YamlPtr root, parse_yaml(text, what));
  const YamlEntry* list = root->find("keys");
  if (list == nullptr || !list->value->is_list())
    return invalid_argument(what + ": expected `keys:` with a list (`keys: []` for none)");
  for (const YamlEntry& entry : root->entries) {
    if (&entry != list) return invalid_argument(entry.where + ": no such field; a file of keys has `keys` alone");
  }
  if (list->value->items.size() > kKeysMax)
    return Status(Code::kTooLong, what + ": " + std::to_string(list->value->items.size()) + " keys; at most " +
                                      std::to_string(kKeysMax));
  std::vector<KeySpec> keys;
  std::unordered_map<std::string, std::string> names, digests;  // to where they stand
  size_t patterns = 0;
  for (const YamlPtr& node : list->value->items) {
    ASSIGN_OR_RETURN(KeySpec key, read_key(*node));
    if (const auto [first, fresh] = names.emplace(key.name, node->where); !fresh)
      return at_field(node->where, "name", "\"" + key.name + "\" stands twice (first at " + first->second + ")");
    if (const auto [first, fresh] = digests.emplace(key.sha256, node->where); !fresh)
      return at_field(node->where, "sha256", "the key stands twice (first at " + first->second + ")");
    patterns += key.adapters.size();
    if (patterns > kPatternsMax)
      return Status(Code::kTooLong, node->where + ": more than " + std::to_string(kPatternsMax) + " patterns in all");
    keys.push_back(std::move(key));
  }
  return keys;
}

Result<std::vector<KeySpec>> read_key_file(const Path& path) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path, kYamlBytesMax));
  return parse_key_file(text, path.string());
}

std::string key_file_text(const std::vector<KeySpec>& keys) {
  std::string text = "{\"keys\": [";
  for (size_t i = 0; i < keys.size(); ++i) text += (i == 0 ? "\n  " : ",\n  ") + key_json(keys[i]).dump();
  return text + (keys.empty() ? "]}\n" : "\n]}\n");
}

Status edit_key_file(const Path& path, const std::function<Status(std::vector<KeySpec>&)>& change) {
  const Path real = behind_links(path);
  ASSIGN_OR_RETURN(const FolderLock lock, FolderLock::take(real));
  struct stat before {};
  const bool there = ::stat(real.c_str(), &before) == 0;
  std::vector<KeySpec> keys;
  if (there) {
    ASSIGN_OR_RETURN(keys, read_key_file(real));
  }
  RETURN_IF_ERROR(change(keys));
  const std::string text = key_file_text(keys);
  if (text.size() > kYamlBytesMax || keys.size() > kKeysMax)
    return Status(Code::kTooLong, real.string() + " would have " + std::to_string(keys.size()) + " keys in " +
                                      std::to_string(text.size()) + " bytes; at most " + std::to_string(kKeysMax) +
                                      " and " + std::to_string(kYamlBytesMax) + " are read");
  ASSIGN_OR_RETURN(const std::vector<KeySpec> written, parse_key_file(text, real.string()));
  if (!(written == keys)) return invalid_argument("a pattern has characters that YAML does not keep; use plain letters");
  const mode_t old_mask = ::umask(0077);
  const Status status = write_file_atomic(real, text);
  ::umask(old_mask);
  RETURN_IF_ERROR(status);
  if (!there) return ok_status();
  // As far as this user may; a server that reads through the group goes on reading.
  if (::chown(real.c_str(), static_cast<uid_t>(-1), before.st_gid) != 0) return ok_status();
  if (::chmod(real.c_str(), before.st_mode & 07777) != 0)
    return Status(Code::kPermissionDenied, "cannot set the mode of " + real.string() + ": " + std::strerror(errno));
  return ok_status();
}

}  // namespace umbel::serve
