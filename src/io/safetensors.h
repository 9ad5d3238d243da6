// safetensors: u64 little-endian header length, JSON header {name: {dtype, shape, data_offsets}}, raw data.
// Source: the format description of the safetensors project. Strict: overlapping, gapped, misordered or out-of-range
// offsets, sizes that do not match dtype x shape, duplicate names and headers over 100 MB are kDataLoss; an element type
// without a name in tensor/dtype.h is kUnsupported.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/file.h"
#include "tensor/tensor.h"

namespace umbel {

inline constexpr size_t kSafetensorsHeaderMax = 100'000'000;  // bytes, as the format's own reader has it

// What a file says of itself, from its first bytes and its size alone: all that can be checked without reading the data.
struct SafetensorsSummary {
  size_t header_bytes = 0;
  size_t tensors = 0;
  size_t elements_max = 0;  // of the largest tensor
};
// kTooLong with both numbers for a header of more than header_bytes_max; else as Safetensors::open.
Result<SafetensorsSummary> summarise_safetensors(const OpenFile& file, size_t header_bytes_max);

// One or several files with one name space. Move-only. Views stay valid as long as this object. Any thread.
class Safetensors {
 public:
  // A single .safetensors file, mapped.
  static Result<Safetensors> open(const Path& file);
  // For files that may be rewritten while we read them: from a copy in memory (MappedFile::open_copy), or mapped with what is
  // gone read as zeros (MappedFile::open_unsteady); then intact() and OpenFile::check_unchanged() tell at the end whether
  // what was read is what was there.
  static Result<Safetensors> open_copy(const OpenFile& file);
  static Result<Safetensors> open_unsteady(const OpenFile& file);
  bool intact() const;
  // DIR/model.safetensors, whatever else is there (as transformers does), or DIR/model.safetensors.index.json with its shards;
  // missing shards are named. kNotFound says what weights are there in other forms.
  static Result<Safetensors> open_model(const Path& dir);

  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  // Null when absent.
  const TensorView* find(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  // Checks the whole header, then adds its tensors. what names the file in errors.
  Status add_file(MappedFile file, const std::string& what);
  std::vector<MappedFile> files_;
  std::map<std::string, TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
};

// Writes tensors (in name order) atomically. metadata gets "format": "pt" unless given.
Status write_safetensors(const Path& file, const std::map<std::string, TensorView>& tensors,
                         const std::map<std::string, std::string>& metadata = {});

// The same tensor by tensor, for files larger than memory: create with what will come, append in that order, commit.
// Dropped before commit() it leaves nothing behind. One thread.
class SafetensorsWriter {
 public:
  struct Entry {
    std::string name;
    DType dtype = DType::kF32;
    Shape shape;
  };
  static Result<SafetensorsWriter> create(const Path& file, std::vector<Entry> entries,
                                          const std::map<std::string, std::string>& metadata = {});

  // REQUIRES the type and shape of the next entry.
  Status append(const TensorView& tensor);
  // REQUIRES all entries appended.
  Status commit();

 private:
  SafetensorsWriter(std::vector<Entry> entries, AtomicFile file) : entries_(std::move(entries)), file_(std::move(file)) {}

  std::vector<Entry> entries_;
  size_t next_ = 0;
  AtomicFile file_;
};

}  // namespace umbel
