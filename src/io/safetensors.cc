#include "io/safetensors.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <tuple>

#include "io/json.h"
#include "io/stray.h"

namespace umbel {
namespace {

constexpr const char* kMetadataName = "__metadata__";
constexpr size_t kLengthBytes = 8;
constexpr size_t kDimensionsMax = 16;

struct Entry {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  uint64_t begin = 0;  // offsets into the data part
  uint64_t end = 0;
};

struct Header {
  std::vector<Entry> entries;  // in order of their offsets
  std::map<std::string, std::string> metadata;
};

std::string tensor_text(const std::string& name) { return "tensor \"" + name.substr(0, 200) + "\""; }

// The shape's bytes, or nothing when they do not fit into 63 bits.
std::optional<uint64_t> shape_bytes(DType dtype, const Shape& shape) {
  // With a zero among them the product is zero, but the others must still multiply: element_count() does.
  int64_t count = 1;
  for (int64_t extent : shape) {
    if (__builtin_mul_overflow(count, extent, &count)) return std::nullopt;
  }
  int64_t bytes = 0;
  if (__builtin_mul_overflow(count, static_cast<int64_t>(size_of(dtype)), &bytes)) return std::nullopt;
  return static_cast<uint64_t>(bytes);
}

Result<Shape> parse_shape(const Json& json) {
  if (!json.is_array() || json.size() > kDimensionsMax) {
    return data_loss("\"shape\" must be a list of at most " + std::to_string(kDimensionsMax) + " numbers");
  }
  Shape shape;
  for (const Json& extent : json) {
    const bool valid = extent.is_number_unsigned() && extent.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX);
    if (!valid) return data_loss("\"shape\" must hold whole numbers of at least 0");
    shape.push_back(extent.get<int64_t>());
  }
  return shape;
}

Status parse_offsets(const Json& json, Entry* entry) {
  const bool valid =
      json.is_array() && json.size() == 2 && json[0].is_number_unsigned() && json[1].is_number_unsigned();
  if (!valid) return data_loss("\"data_offsets\" must be two whole numbers of at least 0");
  entry->begin = json[0].get<uint64_t>();
  entry->end = json[1].get<uint64_t>();
  if (entry->begin > entry->end) return data_loss("its data ends before it begins");
  return ok_status();
}

Result<Entry> parse_entry(const std::string& name, const Json& json) {
  if (!json.is_object()) return data_loss("its entry is not an object");
  for (const auto& [key, value] : json.items()) {
    if (key != "dtype" && key != "shape" && key != "data_offsets") {
      return data_loss("its entry has the unknown field \"" + key.substr(0, 100) + "\"");
    }
  }
  if (json.size() != 3) return data_loss("its entry lacks one of dtype, shape, data_offsets");
  Entry entry;
  entry.name = name;
  if (!json["dtype"].is_string()) return data_loss("\"dtype\" must be a string");
  const std::string dtype_text = json["dtype"].get<std::string>();
  Result<DType> dtype = parse_dtype(dtype_text);
  if (!dtype.ok()) return unsupported("its element type \"" + dtype_text.substr(0, 40) + "\" is not known here");
  entry.dtype = *dtype;
  ASSIGN_OR_RETURN(entry.shape, parse_shape(json["shape"]));
  RETURN_IF_ERROR(parse_offsets(json["data_offsets"], &entry));
  const std::optional<uint64_t> bytes = shape_bytes(entry.dtype, entry.shape);
  if (!bytes || *bytes != entry.end - entry.begin) {
    return data_loss("its data has " + std::to_string(entry.end - entry.begin) + " bytes, which is not " +
                     shape_string(entry.shape) + " of " + std::string(dtype_name(entry.dtype)));
  }
  return entry;
}

Status parse_metadata(const Json& json, Header* header) {
  if (!json.is_object()) return data_loss("\"__metadata__\" is not an object");
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) return data_loss("\"__metadata__\" must map strings to strings");
    header->metadata[key] = value.get<std::string>();
  }
  return ok_status();
}

// Together the tensors cover the data part exactly once: no gap, no overlap, nothing behind the last.
Status check_cover(const std::vector<Entry>& entries, uint64_t data_bytes) {
  uint64_t position = 0;
  for (const Entry& entry : entries) {
    if (entry.end > data_bytes) {
      return data_loss(tensor_text(entry.name) + " ends at byte " + std::to_string(entry.end) + " of the data, which has " +
                       std::to_string(data_bytes) + ": the file is cut short or damaged (is the download complete?)");
    }
    if (entry.begin < position) return data_loss(tensor_text(entry.name) + " overlaps the tensor before it");
    if (entry.begin > position) return data_loss("there is a gap before " + tensor_text(entry.name));
    position = entry.end;
  }
  if (position != data_bytes) {
    return data_loss(std::to_string(data_bytes - position) + " bytes follow the last tensor");
  }
  return ok_status();
}

Result<Header> parse_header(std::string_view text, uint64_t data_bytes) {
  if (text.empty() || text.front() != '{') return data_loss("the header does not begin with '{'");
  Result<Json> json = parse_json(text, "header", JsonKeys::kUnique);
  if (!json.ok()) return data_loss(json.status().message());
  Header header;
  for (const auto& [name, value] : json->items()) {
    if (name == kMetadataName) {
      RETURN_IF_ERROR(parse_metadata(value, &header));
      continue;
    }
    Result<Entry> entry = parse_entry(name, value);
    if (!entry.ok()) return entry.status().with_context(tensor_text(name));
    header.entries.push_back(*std::move(entry));
  }
  std::sort(header.entries.begin(), header.entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  RETURN_IF_ERROR(check_cover(header.entries, data_bytes));
  return header;
}

uint64_t read_length(const std::byte* bytes) {
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) length |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  return length;
}

// The header's length that a file of this size begins with. head: its first bytes, up to kStrayHeadBytes of them.
Result<uint64_t> checked_length(std::string_view head, size_t file_bytes, const std::string& what) {
  const uint64_t length = file_bytes < kLengthBytes ? 0 : read_length(reinterpret_cast<const std::byte*>(head.data()));
  if (file_bytes >= kLengthBytes && length <= kSafetensorsHeaderMax && length <= file_bytes - kLengthBytes) return length;
  if (const std::string stray = stray_content(head); !stray.empty()) return data_loss(what + " is " + stray);
  if (file_bytes < kLengthBytes) return data_loss(what + ": too short for a safetensors file");
  return data_loss(what + ": the header is said to have " + std::to_string(length) + " bytes, the file has " +
                   std::to_string(file_bytes) + ": it is cut short or not a safetensors file");
}

std::string write_length(uint64_t length) {
  std::string bytes(kLengthBytes, '\0');
  for (size_t i = 0; i < kLengthBytes; ++i) bytes[i] = static_cast<char>(length >> (8 * i));
  return bytes;
}

// The format's spelling of an element type.
std::string format_name(DType dtype) {
  std::string name(dtype_name(dtype));
  for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

}  // namespace

Result<SafetensorsSummary> summarise_safetensors(const OpenFile& file, size_t header_bytes_max) {
  const std::string what = file.path().string();
  std::string head(std::min(file.size(), kStrayHeadBytes), '\0');
  RETURN_IF_ERROR(file.read_exactly(0, head.data(), head.size()));
  ASSIGN_OR_RETURN(const uint64_t length, checked_length(head, file.size(), what));
  if (length > header_bytes_max) {
    return Status(Code::kTooLong, what + ": the header has " + std::to_string(length) + " bytes, the limit is " +
                                      std::to_string(header_bytes_max));
  }
  std::string text(length, '\0');
  RETURN_IF_ERROR(file.read_exactly(kLengthBytes, text.data(), length));
  const Result<Header> header = parse_header(text, file.size() - kLengthBytes - length);
  if (!header.ok()) return header.status().with_context(what);
  SafetensorsSummary summary{.header_bytes = length, .tensors = header->entries.size()};
  for (const Entry& entry : header->entries) {
    summary.elements_max = std::max<size_t>(summary.elements_max, (entry.end - entry.begin) / size_of(entry.dtype));
  }
  return summary;
}

bool Safetensors::intact() const {
  return std::all_of(files_.begin(), files_.end(), [](const MappedFile& file) { return file.intact(); });
}

Status Safetensors::add_file(MappedFile file, const std::string& what) {
  const std::span<const std::byte> bytes = file.bytes();
  const std::string_view head(reinterpret_cast<const char*>(bytes.data()), std::min(bytes.size(), kStrayHeadBytes));
  ASSIGN_OR_RETURN(const uint64_t length, checked_length(head, bytes.size(), what));
  // A copy: the parser looks at some bytes twice, and a mapped file may change under it.
  const std::string text(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, length);
  Result<Header> header = parse_header(text, bytes.size() - kLengthBytes - length);
  if (!header.ok()) return header.status().with_context(what);
  const std::byte* data = bytes.data() + kLengthBytes + length;
  for (Entry& entry : header->entries) {
    const TensorView view{entry.dtype, std::move(entry.shape), data + entry.begin};
    if (!tensors_.emplace(entry.name, view).second) {
      return data_loss(what + ": " + tensor_text(entry.name) + " is in an earlier shard too");
    }
  }
  metadata_.merge(header->metadata);
  files_.push_back(std::move(file));
  return ok_status();
}

Result<Safetensors> Safetensors::open(const Path& file) {
  ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::open(file));
  Safetensors result;
  RETURN_IF_ERROR(result.add_file(std::move(mapped), file.string()));
  return result;
}

Result<Safetensors> Safetensors::open_copy(const OpenFile& file) {
  ASSIGN_OR_RETURN(MappedFile copy, MappedFile::open_copy(file));
  Safetensors result;
  RETURN_IF_ERROR(result.add_file(std::move(copy), file.path().string()));
  return result;
}

Result<Safetensors> Safetensors::open_unsteady(const OpenFile& file) {
  ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::open_unsteady(file));
  Safetensors result;
  RETURN_IF_ERROR(result.add_file(std::move(mapped), file.path().string()));
  return result;
}

const TensorView* Safetensors::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

Status write_safetensors(const Path& file, const std::map<std::string, TensorView>& tensors,
                         const std::map<std::string, std::string>& metadata) {
  std::vector<SafetensorsWriter::Entry> entries;
  for (const auto& [name, view] : tensors) entries.push_back({name, view.dtype, view.shape});
  ASSIGN_OR_RETURN(SafetensorsWriter writer, SafetensorsWriter::create(file, std::move(entries), metadata));
  for (const auto& [name, view] : tensors) RETURN_IF_ERROR(writer.append(view));
  return writer.commit();
}

Result<SafetensorsWriter> SafetensorsWriter::create(const Path& file, std::vector<Entry> entries,
                                                    const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  std::map<std::string, std::string> all = metadata;
  all.emplace("format", "pt");
  for (const auto& [key, value] : all) {
    if (!is_utf8(key) || !is_utf8(value)) return invalid_argument("metadata is not UTF-8");
  }
  header[kMetadataName] = all;
  uint64_t position = 0;
  for (const Entry& entry : entries) {
    if (!is_utf8(entry.name) || header.contains(entry.name)) {
      return invalid_argument("a tensor's name is not allowed: " + entry.name);
    }
    const uint64_t end = position + TensorView{entry.dtype, entry.shape, nullptr}.bytes();
    header[entry.name] = {
        {"dtype", format_name(entry.dtype)}, {"shape", entry.shape}, {"data_offsets", {position, end}}};
    position = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // so that the data begins at a multiple of 8
  if (text.size() > kSafetensorsHeaderMax) return Status(Code::kTooLong, file.string() + ": the header is too long");
  ASSIGN_OR_RETURN(AtomicFile target, AtomicFile::create(file));
  RETURN_IF_ERROR(target.append(write_length(text.size()) + text));
  return SafetensorsWriter(std::move(entries), std::move(target));
}

Status SafetensorsWriter::append(const TensorView& tensor) {
  CHECK(next_ < entries_.size() && tensor.dtype == entries_[next_].dtype && tensor.shape == entries_[next_].shape,
        "tensors come as they were announced");
  ++next_;
  return file_.append({static_cast<const char*>(tensor.data), tensor.bytes()});
}

Status SafetensorsWriter::commit() {
  CHECK(next_ == entries_.size(), "every announced tensor was appended");
  return file_.commit();
}

}  // namespace umbel
