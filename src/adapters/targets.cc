#include "adapters/targets.h"

namespace umbel {

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

}  // namespace umbel
