#include "engine/adapter_source.h"

namespace umbel {

const std::string& LibrarySource::digest(const AdapterRef& ref) const { return adapter_id(ref).digest; }

Result<std::optional<AdapterHandle>> LibrarySource::try_pin(const AdapterRef& ref) {
  if (ref == nullptr) return std::optional<AdapterHandle>(AdapterHandle());
  if (library_ == nullptr) return failed_precondition("this engine serves the base only, it has no adapters");
  return library_->try_pin(ref);
}

}  // namespace umbel
