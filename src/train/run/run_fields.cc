#include "train/run/run_fields.h"

#include "io/sha256.h"
#include "train/config/config_key.h"

namespace umbel::train {
namespace {

constexpr size_t kFingerprintDigits = 16;  // of the 64 that SHA-256 has: these tell files apart, nobody forges them

}  // namespace

Json job_fields(const JobPlan& plan) {
  const ConfigValues values{.job = plan};
  Json fields{{"sweep", plan.sweep}};
  for (const ConfigKey& key : config_key_table()) {
    if ((key.use & ConfigKey::kResult) != 0) fields[key.name] = config_key_value(key, values);
  }
  return fields;
}

std::string dataset_fingerprint(const data::Dataset& data) {
  Sha256 hash;
  for (const data::Example& example : data.examples) {
    hash.add_u64(example.tokens.size());
    hash.add(example.tokens.data(), example.tokens.size() * sizeof(TokenId));
    hash.add(example.trained.data(), example.trained.size());
  }
  return hash.hex().substr(0, kFingerprintDigits);
}

std::string weights_fingerprint(const Safetensors& weights) {
  constexpr size_t kSamples = 16, kSampleBytes = 4096;
  Sha256 hash;
  for (const auto& [name, tensor] : weights.tensors()) {
    hash.add_text(name);
    hash.add_text(dtype_name(tensor.dtype));
    hash.add_text(shape_string(tensor.shape));
    const auto* bytes = static_cast<const unsigned char*>(tensor.data);
    const size_t count = tensor.bytes();
    if (count <= kSamples * kSampleBytes) {
      hash.add(bytes, count);
      continue;
    }
    for (size_t i = 0; i < kSamples; ++i) hash.add(bytes + (count - kSampleBytes) * i / (kSamples - 1), kSampleBytes);
  }
  return hash.hex().substr(0, kFingerprintDigits);
}

Status same_fields(const std::string& what, const Json& recorded, const Json& now) {
  for (const auto& [name, value] : now.items()) {
    const Json before = recorded.is_object() && recorded.contains(name) ? recorded[name] : Json();
    // Through text: the recorded one came from a file, where 3.0 and 3 are alike.
    if (before == value || before.dump() == value.dump()) continue;
    return failed_precondition(what + ": " + name + " was " + before.dump() + " when the checkpoint was made and is " + value.dump() +
                               " now; put it back, or begin anew without --resume in another folder");
  }
  return ok_status();
}

}  // namespace umbel::train
