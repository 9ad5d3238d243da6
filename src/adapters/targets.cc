#include "adapters/targets.h"

namespace umbel {

void read_weight_row(const Target& target, int64_t index, float* row) {
  if (target.weight != nullptr) {
    target.weight->read_row(index, row);
    return;
  }
  CHECK(target.table.data != nullptr, "a target with weights");
  const size_t row_bytes = static_cast<size_t>(target.out) * size_of(target.table.dtype);
  widen_to_f32(target.table.dtype, static_cast<const std::byte*>(target.table.data) + index * row_bytes, row,
               static_cast<size_t>(target.out));
}

int32_t TargetTable::add(Target target) {
  const int32_t index = size();
  CHECK(index_.emplace(target.path, index).second, "a module path is added to the target table once");
  targets_.push_back(std::move(target));
  return index;
}

int32_t TargetTable::find(std::string_view path) const {
  const auto found = index_.find(std::string(path));
  return found == index_.end() ? -1 : found->second;
}

int32_t TargetTable::find_stored(std::string_view path) const {
  const int32_t as_it_is = find(path);
  if (as_it_is >= 0) return as_it_is;
  if (path == "embed_out") return find("lm_head");
  return prefix_.empty() ? -1 : find(prefix_ + std::string(path));
}

}  // namespace umbel
