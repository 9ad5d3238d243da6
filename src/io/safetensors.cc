#include "io/safetensors.h"

#include <algorithm>
#include <optional>
#include <cstring>

#include "io/json.h"

namespace umbel {
namespace {

constexpr uint64_t kHeaderBytesMax = 100u << 20;

struct Entry {
  std::string name;
  TensorView view;
  uint64_t begin = 0;
  uint64_t end = 0;
};

// shape x element size, or nullopt on overflow.
std::optional<uint64_t> byte_count(const Shape& shape, DType dtype) {
  uint64_t bytes = size_of(dtype);
  for (int64_t extent : shape) {
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(extent), &bytes)) return std::nullopt;
  }
  return bytes > static_cast<uint64_t>(INT64_MAX) ? std::nullopt : std::optional<uint64_t>(bytes);
}

bool is_natural(const Json& value) { return value.is_number_unsigned() && value.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX); }

Result<Entry> parse_entry(const std::string& name, const Json& json, const std::string& where) {
  const std::string tensor = where + ": tensor \"" + name + "\"";
  if (!json.is_object() || !json.contains("dtype") || !json.contains("shape") || !json.contains("data_offsets")) {
    return data_loss(tensor + " has no dtype, shape or data_offsets");
  }
  Entry entry{.name = name};
  if (!json["dtype"].is_string()) return data_loss(tensor + ": dtype is not a string");
  auto dtype = parse_dtype(json["dtype"].get<std::string>());
  if (!dtype.ok()) return unsupported(tensor + ": " + dtype.status().message());
  entry.view.dtype = *dtype;
  if (!json["shape"].is_array() || json["shape"].size() > 16) return data_loss(tensor + ": shape is not a list of at most 16 extents");
  for (const Json& extent : json["shape"]) {
    if (!is_natural(extent)) return data_loss(tensor + ": a shape's extents are natural numbers");
    entry.view.shape.push_back(extent.get<int64_t>());
  }
  const Json& offsets = json["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !is_natural(offsets[0]) || !is_natural(offsets[1])) {
    return data_loss(tensor + ": data_offsets is not a pair of natural numbers");
  }
  entry.begin = offsets[0].get<uint64_t>();
  entry.end = offsets[1].get<uint64_t>();
  const auto bytes = byte_count(entry.view.shape, entry.view.dtype);
  if (!bytes || entry.end < entry.begin || entry.end - entry.begin != *bytes) {
    return data_loss(tensor + ": " + shape_string(entry.view.shape) + " of " + std::string(dtype_name(entry.view.dtype)) +
                     " does not fit its data_offsets");
  }
  return entry;
}

// Duplicate keys are dropped silently by the JSON object; a header must not have them.
class DuplicateFinder : public nlohmann::json_sax<Json> {
 public:
  std::string duplicate;
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(int64_t) override { return true; }
  bool number_unsigned(uint64_t) override { return true; }
  bool number_float(double, const std::string&) override { return true; }
  bool string(std::string&) override { return true; }
  bool binary(Json::binary_t&) override { return true; }
  bool start_object(size_t) override {
    keys_.emplace_back();
    return true;
  }
  bool end_object() override {
    keys_.pop_back();
    return true;
  }
  bool start_array(size_t) override { return true; }
  bool end_array() override { return true; }
  bool key(std::string& name) override {
    if (keys_.back().emplace(name, true).second) return true;
    duplicate = name;
    return false;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

 private:
  std::vector<std::map<std::string, bool>> keys_;
};

struct Header {
  std::vector<Entry> entries;  // by begin
  std::map<std::string, std::string> metadata;
};

Result<Header> parse_header(std::string_view text, const std::string& where) {
  ASSIGN_OR_RETURN(const Json json, parse_json(text, where + " (header)"));
  if (!json.is_object()) return data_loss(where + ": the header is not a JSON object");
  DuplicateFinder finder;
  if (!Json::sax_parse(text, &finder)) return data_loss(where + ": \"" + finder.duplicate + "\" stands twice in the header");
  Header header;
  for (const auto& [name, value] : json.items()) {
    if (name == "__metadata__") {
      if (!value.is_object()) return data_loss(where + ": __metadata__ is not an object");
      for (const auto& [key, text_value] : value.items()) {
        if (!text_value.is_string()) return data_loss(where + ": __metadata__ holds strings only");
        header.metadata[key] = text_value.get<std::string>();
      }
      continue;
    }
    ASSIGN_OR_RETURN(Entry entry, parse_entry(name, value, where));
    header.entries.push_back(std::move(entry));
  }
  std::sort(header.entries.begin(), header.entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  return header;
}

// The tensors must fill the data without gap or overlap.
Status check_layout(const Header& header, uint64_t data_bytes, const std::string& where) {
  uint64_t at = 0;
  for (const Entry& entry : header.entries) {
    if (entry.begin != at) return data_loss(where + ": tensor \"" + entry.name + "\" overlaps another or leaves a gap");
    at = entry.end;
  }
  if (at != data_bytes) {
    return data_loss(where + ": the tensors take " + std::to_string(at) + " bytes, the file holds " + std::to_string(data_bytes) +
                     " (is the download complete?)");
  }
  return ok_status();
}

}  // namespace

Status Safetensors::add_file(const Path& file) {
  const std::string where = file.string();
  ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::open(file));
  const std::span<const std::byte> bytes = mapped.bytes();
  if (bytes.size() < 8) return data_loss(where + ": shorter than a safetensors header (is the download complete?)");
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), 8);
  if (header_bytes > kHeaderBytesMax || header_bytes > bytes.size() - 8) {
    return data_loss(where + ": the header's length does not fit the file (not a safetensors file, or truncated)");
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + 8, header_bytes);
  ASSIGN_OR_RETURN(Header header, parse_header(text, where));
  const std::span<const std::byte> data = bytes.subspan(8 + header_bytes);
  RETURN_IF_ERROR(check_layout(header, data.size(), where));
  for (Entry& entry : header.entries) {
    entry.view.data = data.data() + entry.begin;
    if (!tensors_.emplace(entry.name, entry.view).second) {
      return data_loss(where + ": tensor \"" + entry.name + "\" stands in another shard as well");
    }
  }
  metadata_.merge(header.metadata);
  files_.push_back(std::move(mapped));
  return ok_status();
}

Result<Safetensors> Safetensors::open(const Path& file) {
  Safetensors tensors;
  RETURN_IF_ERROR(tensors.add_file(file));
  return tensors;
}

namespace {

// shard file name -> names of its tensors, from model.safetensors.index.json.
Result<std::map<std::string, std::vector<std::string>>> read_index(const Path& index) {
  ASSIGN_OR_RETURN(const Json json, read_json(index));
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object()) {
    return data_loss(index.string() + ": no \"weight_map\"");
  }
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [tensor, shard] : json["weight_map"].items()) {
    if (!shard.is_string()) return data_loss(index.string() + ": \"weight_map\" maps names to file names");
    const std::string name = shard.get<std::string>();
    if (name.empty() || name.find('/') != std::string::npos || name == "..") {
      return data_loss(index.string() + ": \"" + name + "\" is not a plain file name");
    }
    shards[name].push_back(tensor);
  }
  return shards;
}

}  // namespace

Result<Safetensors> Safetensors::open_model(const Path& dir) {
  std::error_code error;
  const Path index = dir / "model.safetensors.index.json";
  const bool sharded = std::filesystem::exists(index, error);
  if (std::filesystem::exists(dir / "model.safetensors", error) && !sharded) return open(dir / "model.safetensors");
  if (!sharded) {
    return not_found("\"" + dir.string() + "\" has neither model.safetensors nor model.safetensors.index.json; other weight "
                     "files (.bin, .pth) are not read: convert them with transformers' save_pretrained");
  }
  ASSIGN_OR_RETURN(const auto shards, read_index(index));
  Safetensors tensors;
  for (const auto& [shard, names] : shards) {
    if (!std::filesystem::exists(dir / shard, error)) {
      return not_found("the shard \"" + (dir / shard).string() + "\" that model.safetensors.index.json names is missing");
    }
    RETURN_IF_ERROR(tensors.add_file(dir / shard));
    for (const std::string& name : names) {
      if (!tensors.find(name)) return data_loss("the index places tensor \"" + name + "\" in " + shard + ", but it is not there");
    }
  }
  return tensors;
}

const TensorView* Safetensors::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

Status write_safetensors(const Path& file, const std::map<std::string, TensorView>& tensors,
                         const std::map<std::string, std::string>& metadata) {
  constexpr std::string_view kNames[] = {"F32", "BF16", "F16", "F64", "I64", "I32", "I16", "I8", "U8", "BOOL"};
  nlohmann::ordered_json header;
  header["__metadata__"] = {{"format", "pt"}};
  for (const auto& [key, value] : metadata) header["__metadata__"][key] = value;
  uint64_t at = 0;
  for (const auto& [name, view] : tensors) {
    header[name] = {{"dtype", kNames[static_cast<int>(view.dtype)]}, {"shape", view.shape}, {"data_offsets", {at, at + view.bytes()}}};
    at += view.bytes();
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t header_bytes = text.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &header_bytes, 8);
  bytes += text;
  for (const auto& [name, view] : tensors) bytes.append(static_cast<const char*>(view.data), view.bytes());
  return write_file_atomic(file, bytes);
}

}  // namespace umbel
