// Any bytes as a file of keys: keys that are written and read back as they were, or a refusal that names the file.
#include "fuzz.h"
#include "serve/keys/key_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace umbel;
  using namespace umbel::serve;
  const auto keys = parse_key_file(fuzz::text_of(data, size), "keys.yaml");
  if (!keys.ok()) {
    fuzz::check_refusal(keys.status());
    CHECK(keys.status().message().find("keys.yaml") != std::string::npos, "a refusal names the file");
    return 0;
  }
  for (const KeySpec& key : *keys) (void)key.may_use("banking77-lora-r8");
  const auto again = parse_key_file(key_file_text(*keys), "written");
  CHECK(again.ok() && *again == *keys, "what is written is read back");
  return 0;
}
