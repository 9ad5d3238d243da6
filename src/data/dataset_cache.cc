#include "data/dataset_cache.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fstream>
#include <system_error>

#include "io/byte_stream.h"
#include "io/sha256.h"

namespace umbel::data {
namespace {

// Raise it whenever the same file and options may give other examples, or the layout below changes.
constexpr uint64_t kVersion = 3;
constexpr std::string_view kMagic = "umbel rows\n";
constexpr size_t kPieceBytes = size_t{1} << 20;
constexpr size_t kDigestBytes = 64;  // hex

// Numbers as LEB128, texts with their length, all of it digested on the way.
class Writer {
 public:
  explicit Writer(AtomicFile& file) : file_(file) {}

  void number(uint64_t value) {
    for (; value >= 0x80; value >>= 7) buffer_ += static_cast<char>(value | 0x80);
    buffer_ += static_cast<char>(value);
    flush(kPieceBytes);
  }
  void text(std::string_view value) {
    number(value.size());
    buffer_ += value;
    flush(kPieceBytes);
  }
  // Little-endian, `width` bytes each.
  void ids(const std::vector<TokenId>& tokens, size_t width) {
    for (const TokenId token : tokens) {
      for (size_t byte = 0; byte < width; ++byte) buffer_ += static_cast<char>(static_cast<uint32_t>(token) >> (8 * byte));
    }
    flush(kPieceBytes);
  }
  void raw(std::string_view value) { buffer_ += value; }
  Status finish() {
    flush(0);
    RETURN_IF_ERROR(failure_);
    RETURN_IF_ERROR(file_.append(digest_.hex()));
    return file_.commit();
  }

 private:
  void flush(size_t limit) {
    if (buffer_.size() <= limit || !failure_.ok()) return;
    digest_.add(buffer_.data(), buffer_.size());
    failure_ = file_.append(buffer_);
    buffer_.clear();
  }
  AtomicFile& file_;
  Sha256 digest_;
  std::string buffer_;
  Status failure_;
};

// The counterpart. After a failure everything reads as zero; ask bad(). Never gives more than the file can hold.
class Reader {
 public:
  Reader(ByteStream& stream, uint64_t bytes) : stream_(stream), left_(bytes) {}

  uint64_t number() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (!need(1)) return 0;
      const auto byte = static_cast<unsigned char>(buffer_[at_++]);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    bad_ = true;
    return 0;
  }
  // A number of things that take at least `bytes` each.
  size_t count(size_t bytes) {
    const uint64_t value = number();
    if (value > (left_ + buffer_.size() - at_) / std::max<size_t>(1, bytes)) bad_ = true;
    return bad_ ? 0 : static_cast<size_t>(value);
  }
  std::string text() {
    const size_t size = count(1);
    return raw(size);
  }
  std::string raw(size_t size) {
    if (!need(size)) return {};
    at_ += size;
    return buffer_.substr(at_ - size, size);
  }
  std::vector<TokenId> ids(size_t count, size_t width) {
    std::vector<TokenId> tokens;
    if (!need(count * width)) return tokens;
    tokens.resize(count);
    for (TokenId& token : tokens) {
      uint32_t value = 0;
      for (size_t byte = 0; byte < width; ++byte) value |= static_cast<uint32_t>(static_cast<unsigned char>(buffer_[at_++])) << (8 * byte);
      token = static_cast<TokenId>(value);
    }
    return tokens;
  }
  // Whether all was read and the digest is right.
  bool ends_well() {
    if (bad_ || left_ + buffer_.size() - at_ != 0) return false;
    std::string stored(kDigestBytes, '\0');
    size_t size = 0;
    while (size < stored.size()) {
      const auto count = stream_.read(stored.data() + size, stored.size() - size);
      if (!count.ok() || *count == 0) return false;
      size += *count;
    }
    return stored == digest_.hex();
  }
  bool bad() const { return bad_; }

 private:
  // Makes `size` bytes stand in the buffer behind at_.
  bool need(size_t size) {
    if (bad_) return false;
    if (buffer_.size() - at_ >= size) return true;
    if (size - (buffer_.size() - at_) > left_) {
      bad_ = true;
      return false;
    }
    buffer_.erase(0, at_);
    at_ = 0;
    const size_t kept = buffer_.size();
    size_t wanted = std::max(size - kept, static_cast<size_t>(std::min<uint64_t>(left_, kPieceBytes)));
    buffer_.resize(kept + wanted);
    for (size_t done = 0; done < wanted;) {
      const auto count = stream_.read(buffer_.data() + kept + done, wanted - done);
      if (!count.ok() || *count == 0) {
        bad_ = true;
        return false;
      }
      done += *count;
    }
    digest_.add(buffer_.data() + kept, wanted);
    left_ -= wanted;
    return true;
  }

  ByteStream& stream_;
  uint64_t left_;  // of the file before its digest, not read yet
  Sha256 digest_;
  std::string buffer_;
  size_t at_ = 0;
  bool bad_ = false;
};

// trained as lengths of runs, beginning with untrained ones.
std::vector<uint64_t> runs_of(const std::vector<uint8_t>& trained) {
  std::vector<uint64_t> runs = {0};
  uint8_t current = 0;
  for (const uint8_t value : trained) {
    if ((value != 0) != (current != 0)) {
      runs.push_back(0);
      current = value;
    }
    ++runs.back();
  }
  return runs;
}

void write_example(Writer& writer, const Example& example, size_t width) {
  writer.number(static_cast<uint64_t>(example.line));
  writer.number(static_cast<uint64_t>(example.part));
  writer.number(example.tokens.size());
  const std::vector<uint64_t> runs = runs_of(example.trained);
  writer.number(runs.size());
  for (const uint64_t run : runs) writer.number(run);
  writer.ids(example.tokens, width);
}

// False when it contradicts itself.
bool read_example(Reader& reader, size_t width, Example& example) {
  example.line = static_cast<int64_t>(reader.number());
  example.part = static_cast<int32_t>(reader.number());
  const size_t tokens = reader.count(width);
  const size_t runs = reader.count(1);
  example.trained.reserve(tokens);
  for (size_t i = 0; i < runs; ++i) {
    const uint64_t run = reader.number();
    if (run > tokens - example.trained.size()) return false;
    example.trained.insert(example.trained.end(), run, static_cast<uint8_t>(i % 2));
  }
  example.tokens = reader.ids(tokens, width);
  return !reader.bad() && example.trained.size() == tokens && !example.trained.empty() && example.trained[0] == 0;
}

void write_rows(Writer& writer, const Dataset& data) {
  TokenId largest = 0;
  for (const Example& example : data.examples) {
    for (const TokenId token : example.tokens) largest = std::max(largest, token);
  }
  const size_t width = largest < (1 << 16) ? 2 : 4;
  writer.number(static_cast<uint64_t>(data.format));
  writer.number(static_cast<uint64_t>(data.rows));
  writer.number(width);
  writer.number(data.examples.size());
  for (const Example& example : data.examples) write_example(writer, example, width);
  writer.number(data.skipped.size());
  for (const SkippedRow& row : data.skipped) {
    writer.number(static_cast<uint64_t>(row.line));
    writer.text(row.reason);
  }
  writer.number(data.cut.size());
  for (const CutRow& row : data.cut) {
    writer.number(static_cast<uint64_t>(row.line));
    writer.number(static_cast<uint64_t>(row.tokens));
  }
  writer.number(data.unread.size());
  for (const auto& [name, rows] : data.unread) {
    writer.text(name);
    writer.number(static_cast<uint64_t>(rows));
  }
}

bool read_rows(Reader& reader, Dataset& data) {
  const uint64_t format = reader.number();
  if (format > static_cast<uint64_t>(RowFormat::kTemplate)) return false;
  data.format = static_cast<RowFormat>(format);
  data.rows = static_cast<int64_t>(reader.number());
  const uint64_t width = reader.number();
  if (width != 2 && width != 4) return false;
  data.examples.resize(reader.count(4));
  for (Example& example : data.examples) {
    if (!read_example(reader, width, example)) return false;
    data.trained_tokens += std::count(example.trained.begin(), example.trained.end(), 1);
  }
  data.skipped.resize(reader.count(2));
  for (SkippedRow& row : data.skipped) {
    row.line = static_cast<int64_t>(reader.number());
    row.reason = reader.text();
  }
  data.cut.resize(reader.count(2));
  for (CutRow& row : data.cut) {
    row.line = static_cast<int64_t>(reader.number());
    row.tokens = static_cast<int64_t>(reader.number());
  }
  data.cut_rows = static_cast<int64_t>(data.cut.size());
  const size_t unread = reader.count(2);
  for (size_t i = 0; i < unread; ++i) {
    const std::string name = reader.text();
    data.unread[name] = static_cast<int64_t>(reader.number());
  }
  return !reader.bad();
}

void remove_old(const Path& dir, const Path& kept, uint64_t bytes_max) {
  struct Entry {
    std::filesystem::file_time_type used;
    uint64_t bytes;
    Path path;
  };
  std::vector<Entry> entries;
  uint64_t bytes = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(dir, error)) {
    if (entry.path().extension() != ".rows" || !entry.is_regular_file(error)) continue;
    entries.push_back({entry.last_write_time(error), entry.file_size(error), entry.path()});
    bytes += entries.back().bytes;
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.used < b.used; });
  for (const Entry& entry : entries) {
    if (bytes <= bytes_max) return;
    if (entry.path == kept && bytes - entry.bytes > 0) continue;
    std::filesystem::remove(entry.path, error);
    bytes -= entry.bytes;
  }
}

// The bytes as they are stored, in pieces.
Status digest_bytes(const Path& path, Sha256& digest) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return not_found("cannot open " + path.string() + ": " + std::strerror(errno));
  std::string piece(kPieceBytes, '\0');
  while (file) {
    file.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    digest.add(piece.data(), static_cast<size_t>(file.gcount()));
  }
  return file.bad() ? Status(Code::kUnavailable, "cannot read " + path.string() + ": " + std::strerror(errno)) : ok_status();
}

}  // namespace

Path dataset_cache_path(const Path& dir, const std::string& key) { return dir / (key + ".rows"); }

Result<std::string> dataset_cache_key(const Path& file, const Tokenizer& tokenizer, const ChatTemplate* chat_template,
                                      const DatasetOptions& options) {
  Sha256 key;
  key.add_u64(kVersion);
  key.add_text(tokenizer.digest());
  key.add_text(chat_template != nullptr ? chat_template->digest() : "");
  if (chat_template != nullptr && chat_template->source().find("strftime_now") != std::string::npos) {
    const std::time_t now = std::time(nullptr);
    std::tm day{};
    localtime_r(&now, &day);
    key.add_u64(static_cast<uint64_t>(day.tm_year * 1000 + day.tm_yday));
  }
  key.add_u64(static_cast<uint64_t>(options.format));
  key.add_u64(static_cast<uint64_t>(options.length_max));
  key.add_u64(static_cast<uint64_t>(options.eos));
  key.add_text(options.prompt_template);
  key.add_text(options.completion_template);
  key.add_u64(options.columns.size());
  for (const std::string& column : options.columns) key.add_text(column);
  // The name decides whether the file is CSV.
  Path name = file.filename();
  if (name.extension() == ".gz") name = name.stem();
  key.add_text(name.extension().string());
  RETURN_IF_ERROR(digest_bytes(file, key));
  return key.hex();
}

Result<Dataset> read_dataset_cache(const Path& dir, const std::string& key) {
  const Path path = dataset_cache_path(dir, key);
  std::error_code error;
  const uint64_t bytes = std::filesystem::file_size(path, error);
  if (error) return not_found("no cached rows for this file");
  if (bytes < kMagic.size() + kDigestBytes) return data_loss(path.string() + ": the cache file is cut off");
  ASSIGN_OR_RETURN(const auto stream, ByteStream::open(path));
  Reader reader(*stream, bytes - kDigestBytes);
  Dataset data;
  const bool good = reader.raw(kMagic.size()) == kMagic && reader.number() == kVersion && reader.text() == key && read_rows(reader, data) &&
                    reader.ends_well();
  if (!good) return data_loss(path.string() + ": the cache file is damaged");
  std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now(), error);  // used just now
  return data;
}

Status write_dataset_cache(const Path& dir, const std::string& key, const Dataset& data, uint64_t bytes_max) {
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  if (error) return failed_precondition("cannot make the cache folder " + dir.string() + ": " + error.message());
  const Path path = dataset_cache_path(dir, key);
  ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  Writer writer(file);
  writer.raw(kMagic);
  writer.number(kVersion);
  writer.text(key);
  write_rows(writer, data);
  RETURN_IF_ERROR(writer.finish());
  remove_old(dir, path, bytes_max);
  return ok_status();
}

}  // namespace umbel::data
