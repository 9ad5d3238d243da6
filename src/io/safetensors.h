// safetensors: u64 little-endian header length, JSON header {name: {dtype, shape, data_offsets}}, raw data.
// Source: the format description of the safetensors project. Strict: overlapping, gapped, misordered or out-of-range
// offsets, sizes that do not match dtype x shape, duplicate names and headers over 100 MB are kDataLoss.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/file.h"
#include "tensor/tensor.h"

namespace umbel {

// One or several mapped files with one name space. Move-only. Views stay valid as long as this object. Any thread.
class Safetensors {
 public:
  // A single .safetensors file.
  static Result<Safetensors> open(const Path& file);
  // DIR/model.safetensors or DIR/model.safetensors.index.json with its shards; a missing shard is named.
  static Result<Safetensors> open_model(const Path& dir);

  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  // Null when absent.
  const TensorView* find(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  Status add_file(const Path& file);
  std::vector<MappedFile> files_;
  std::map<std::string, TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
};

// Writes tensors (in name order) atomically. metadata gets "format": "pt" unless given.
Status write_safetensors(const Path& file, const std::map<std::string, TensorView>& tensors,
                         const std::map<std::string, std::string>& metadata = {});

}  // namespace umbel
