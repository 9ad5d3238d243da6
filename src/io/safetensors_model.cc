// Which files make a checkpoint: model.safetensors, or the shards that model.safetensors.index.json names.
#include <set>

#include "base/log.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "io/stray.h"

namespace umbel {
namespace {

constexpr const char* kSingleName = "model.safetensors";
constexpr const char* kIndexName = "model.safetensors.index.json";
constexpr size_t kShardsNamed = 4;

using Shards = std::map<std::string, std::string>;  // tensor -> file

std::string quoted(const std::string& name) { return "tensor \"" + name.substr(0, 200) + "\""; }

Result<Shards> read_index(const Path& path) {
  ASSIGN_OR_RETURN(const Json json, read_json(path));
  const auto map = json.is_object() ? json.find("weight_map") : json.end();
  if (!json.is_object() || map == json.end() || !map->is_object()) {
    return data_loss(path.string() + ": \"weight_map\" is missing");
  }
  Shards shards;
  for (const auto& [name, value] : map->items()) {
    const std::string shard = value.is_string() ? value.get<std::string>() : "";
    const bool plain = !shard.empty() && shard != "." && shard != ".." && shard.find('/') == std::string::npos &&
                       shard.find('\0') == std::string::npos;
    if (!plain) return data_loss(path.string() + ": the shard of " + quoted(name) + " is not a plain file name");
    shards[name] = shard;
  }
  return shards;
}

// Every shard that is not there, by name.
Status check_shards(const Path& dir, const std::set<std::string>& names) {
  std::string missing;
  size_t count = 0;
  for (const std::string& name : names) {
    std::error_code error;
    if (std::filesystem::exists(dir / name, error)) continue;
    if (++count <= kShardsNamed) missing += (count > 1 ? ", " : "") + name;
  }
  if (count == 0) return ok_status();
  if (count > kShardsNamed) missing += " and " + std::to_string(count - kShardsNamed) + " more";
  return not_found(dir.string() + ": " + std::to_string(count) + " of the " + std::to_string(names.size()) + " files that " +
                   kIndexName + " names are missing: " + missing + "; the download is not complete");
}

}  // namespace

Result<Safetensors> Safetensors::open_model(const Path& dir) {
  std::error_code ignored;
  const Path single = dir / kSingleName;
  const Path index = dir / kIndexName;
  const bool has_index = std::filesystem::exists(index, ignored);
  if (std::filesystem::exists(single, ignored)) {  // it comes first, as in transformers
    if (has_index) LOG_WARN("{}: {} is read, {} beside it is not", dir.string(), kSingleName, kIndexName);
    return open(single);
  }
  if (!has_index) {
    const std::string instead = stray_weights(dir);
    return not_found(dir.string() + " has neither " + kSingleName + " nor " + kIndexName + stray_place(dir, kSingleName) +
                     (instead.empty() ? "" : ": " + instead));
  }
  ASSIGN_OR_RETURN(const Shards shards, read_index(index));
  std::set<std::string> names;
  for (const auto& [tensor, shard] : shards) names.insert(shard);
  RETURN_IF_ERROR(check_shards(dir, names));
  Safetensors result;
  for (const std::string& name : names) {
    Result<MappedFile> mapped = MappedFile::open(dir / name);
    if (!mapped.ok()) return mapped.status().with_context("a shard named in " + std::string(kIndexName));
    RETURN_IF_ERROR(result.add_file(*std::move(mapped), (dir / name).string()));
  }
  for (const auto& [tensor, shard] : shards) {
    if (result.find(tensor) == nullptr) {
      return data_loss(index.string() + ": " + quoted(tensor) + " is not in any shard (it should be in " + shard + ")");
    }
  }
  return result;
}

}  // namespace umbel
