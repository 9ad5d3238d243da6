// AdapterPins: the little that the engine asks of the adapter library, so that a simulation can stand in for it.
#pragma once

#include <optional>
#include <string>

#include "base/status.h"
#include "store/library.h"

namespace umbel {

// Called by the engine's thread only.
class AdapterPins {
 public:
  virtual ~AdapterPins() = default;
  // The prefix cache's key: what the adapter's files contain, not what it is called. REQUIRES ref.
  virtual const std::string& digest(const AdapterRef& ref) const = 0;
  // As AdapterLibrary::try_pin: never waits for a load.
  virtual Result<std::optional<AdapterHandle>> try_pin(const AdapterRef& ref) = 0;
};

// The real one.
class LibraryPins final : public AdapterPins {
 public:
  // library outlives this; null = base only.
  explicit LibraryPins(AdapterLibrary* library) : library_(library) {}
  const std::string& digest(const AdapterRef& ref) const override;
  Result<std::optional<AdapterHandle>> try_pin(const AdapterRef& ref) override;

 private:
  AdapterLibrary* library_;
};

}  // namespace umbel
