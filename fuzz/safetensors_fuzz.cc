// Any bytes as a .safetensors file: refused with a reason, or every tensor's bytes can be read.
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "fuzz.h"
#include "io/json.h"
#include "io/safetensors.h"

namespace {

// A file that exists in memory only, with a path under /proc.
class MemoryFile {
 public:
  MemoryFile(const uint8_t* data, size_t size) : descriptor_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    CHECK(descriptor_ >= 0, "a file in memory");
    CHECK(::write(descriptor_, data, size) == static_cast<ssize_t>(size), "its bytes");
  }
  ~MemoryFile() { ::close(descriptor_); }
  umbel::Path path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

unsigned touch(const umbel::Safetensors& file) {
  unsigned sum = 0;
  size_t total = 0;
  for (const auto& [name, view] : file.tensors()) {
    const auto* bytes = static_cast<const uint8_t*>(view.data);
    for (size_t i = 0; i < view.bytes(); ++i) sum += bytes[i];
    total += view.bytes();
    CHECK(umbel::is_utf8(name), "names are text");
  }
  CHECK(total <= (size_t{1} << 30), "no more data than the file has");
  return sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace umbel;
  const MemoryFile file(data, size);
  const Result<Safetensors> mapped = Safetensors::open(file.path());
  const Result<Safetensors> copied = Safetensors::open_copy(OpenFile::open(file.path()).value());
  CHECK(mapped.ok() == copied.ok(), "a copy is read like a mapping");
  if (!mapped.ok()) {
    fuzz::check_refusal(mapped.status());
    return 0;
  }
  CHECK(touch(*mapped) == touch(*copied), "the same bytes");
  return 0;
}
