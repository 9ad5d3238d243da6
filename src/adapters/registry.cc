#include "adapters/registry.h"

#include "adapters/bounds.h"
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
    {"FLORA", "flora", 1, build_flora}, {"HIRA", "hira", 32, build_hira}, {"LOHA", "loha", 8, build_loha},
    {"MISS", "miss", 64, build_miss},
};

const Kind* find_kind(std::string_view peft_type) {
  for (const Kind& kind : kKinds) {
    if (kind.peft_type == peft_type) return &kind;
  }
  return nullptr;
}

// The source with every tensor under the path that its module has in this base.
AdapterSource fitted(AdapterSource source, const TargetTable& targets) {
  std::vector<std::pair<std::string, std::string>> moves;
  for (const auto& [name, view] : source.tensors) {
    const std::string_view rest = without_prefix(name);
    const size_t length = path_length(rest);
    if (length == 0 || targets.find(rest.substr(0, length)) >= 0) continue;
    const std::string path = fitting_path(rest.substr(0, length), targets);
    if (path.empty()) continue;
    std::string moved = tensor_name(path, rest.substr(length + 1));
    if (source.tensors.contains(moved)) continue;
    source.own_paths[path] = rest.substr(0, length);
    moves.emplace_back(name, std::move(moved));
  }
  for (const auto& [from, to] : moves) {
    if (source.tensors.contains(to)) continue;  // a second one of that name stays unknown, and is named
    auto tensor = source.tensors.extract(from);
    source.tensors.emplace(to, std::move(tensor.mapped()));
    const auto spelled = source.spelled.find(from);
    source.spelled[to] = spelled == source.spelled.end() ? from : spelled->second;
  }
  return source;
}

}  // namespace

std::string_view kind_name(std::string_view peft_type) {
  const Kind* kind = find_kind(peft_type);
  return kind == nullptr ? std::string_view() : kind->name;
}

int64_t default_rank(std::string_view peft_type) {
  const Kind* kind = find_kind(peft_type);
  CHECK(kind != nullptr, "a kind that is computed here");
  return kind->rank;
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
  const AdapterSource own = fitted(source, targets);
  Builder builder(own, targets, options, kind->rank);
  RETURN_IF_ERROR(builder.read_vocabulary());
  RETURN_IF_ERROR(builder.read_biases());
  RETURN_IF_ERROR(kind->build(builder));
  RETURN_IF_ERROR(builder.finish(kind->name));
  RETURN_IF_ERROR(check_growth(builder.adapter(), targets));
  return builder.release();
}

}  // namespace umbel
