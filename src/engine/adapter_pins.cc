#include "engine/adapter_pins.h"

namespace umbel {

const std::string& LibraryPins::digest(const AdapterRef& ref) const { return adapter_id(ref).digest; }

Result<std::optional<AdapterHandle>> LibraryPins::try_pin(const AdapterRef& ref) {
  if (ref == nullptr) return std::optional<AdapterHandle>(AdapterHandle());
  if (library_ == nullptr) return failed_precondition("this engine serves the base only, it has no adapters");
  return library_->try_pin(ref);
}

}  // namespace umbel
