#include "adapters/registry.h"

#include "adapters/builder.h"
#include "adapters/kinds.h"

namespace umbel {
namespace {

struct Kind {
  std::string_view peft_type;
  std::string_view name;
  int64_t rank;  // when the file does not say: PEFT's default for the type
  Status (*build)(Builder&);
};

constexpr Kind kKinds[] = {
    {"LORA", "lora", 8, build_lora},    {"IA3", "ia3", 1, build_ia3},     {"VERA", "vera", 256, build_vera},
    {"FLORA", "flora", 1, build_flora}, {"HIRA", "hira", 32, build_hira},
};

const Kind* find_kind(std::string_view peft_type) {
  for (const Kind& kind : kKinds) {
    if (kind.peft_type == peft_type) return &kind;
  }
  return nullptr;
}

}  // namespace

std::string_view kind_name(std::string_view peft_type) {
  const Kind* kind = find_kind(peft_type);
  return kind == nullptr ? std::string_view() : kind->name;
}

std::vector<std::string> kind_types() {
  std::vector<std::string> types;
  for (const Kind& kind : kKinds) types.emplace_back(kind.peft_type);
  return types;
}

Result<std::shared_ptr<const Adapter>> build_adapter(const AdapterSource& source, const TargetTable& targets,
                                                     const BuildOptions& options) {
  const Kind* kind = find_kind(source.spec.peft_type);
  if (kind == nullptr) {
    std::string known;
    for (const std::string& type : kind_types()) known += (known.empty() ? "" : ", ") + type;
    return unsupported("adapter_config.json: peft_type " + source.spec.peft_type + " is not computed here (" + known +
                       " are)");
  }
  Builder builder(source, targets, options, kind->rank);
  RETURN_IF_ERROR(builder.read_biases());
  RETURN_IF_ERROR(kind->build(builder));
  RETURN_IF_ERROR(builder.finish(kind->name));
  return builder.release();
}

}  // namespace umbel
