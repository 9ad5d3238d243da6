#include "adapters/tensor_names.h"

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include "adapters/kind_tensors.h"

namespace umbel {
namespace {

// Parts of names that PEFT's wrappers put there, beside the kinds' own tensors.
enum class Wrapper : uint8_t {
  kSaved,     // modules_to_save.NAME.weight is the module's own weight
  kOriginal,  // original_module.weight is the base's weight
  kInner,     // has a tensor behind it
};

struct WrapperPart {
  std::string_view part;
  Wrapper wrapper;
};

constexpr WrapperPart kWrapperParts[] = {{"modules_to_save", Wrapper::kSaved},
                                         {"original_module", Wrapper::kOriginal},
                                         {"base_layer", Wrapper::kInner},
                                         {"token_adapter", Wrapper::kInner}};
// Rows of an embedding or head that the adapter replaces, and VeRA's projections: parameters, as most kinds' tensors.
constexpr std::string_view kParameterParts[] = {"trainable_tokens_delta", "vera_A", "vera_B"};
// Older files have it as a module (PEFT up to 0.9), newer ones as a parameter.
constexpr std::string_view kEitherPart = "lora_magnitude_vector";

// What stands inside names although it is no module of the model.
constexpr std::string_view kWrappers[] = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module",
                                          "_forward_module"};
// What may stand before the path of a module of the base.
constexpr std::string_view kOuterModules[] = {"base_model", "model", "module", "language_model", "text_model"};

using Parts = std::vector<std::string_view>;

Parts split(std::string_view name) {
  Parts parts;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    parts.push_back(name.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

std::string joined(std::span<const std::string_view> parts) {
  std::string text;
  for (const std::string_view part : parts) text.append(text.empty() ? "" : ".").append(part);
  return text;
}

const WrapperPart* find_wrapper(std::string_view part) {
  const auto* const found = std::ranges::find(kWrapperParts, part, &WrapperPart::part);
  return found == std::end(kWrapperParts) ? nullptr : found;
}

std::optional<Holder> find_holder(std::string_view part) {
  if (std::ranges::find(kParameterParts, part) != std::end(kParameterParts)) return Holder::kParameter;
  for (const KindTensor& tensor : kind_tensors()) {
    if (marker_of(tensor) == part) return holder_of(tensor);
  }
  return {};
}

bool is_marker(std::string_view part) { return find_wrapper(part) != nullptr || find_holder(part).has_value(); }

bool is_leaf(std::string_view part) { return part == "weight" || part == "bias"; }

// Takes the adapter's name out of parts, which has a kind's tensor at `at`.
void strip_name(Parts& parts, size_t at, Holder holder) {
  const size_t behind = parts.size() - at - 1;
  const bool leaf_last = behind > 0 && is_leaf(parts.back());
  const bool either = parts[at] == kEitherPart;
  if (holder == Holder::kModule || (either && leaf_last)) {
    if (behind == 2 && leaf_last) parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    if (either) parts.pop_back();
  } else if (behind == 1) {
    parts.pop_back();
  }
}

// What a wrapper at `at` makes of the name; false: a tensor may stand behind it.
bool strip_wrapper(Parts& parts, size_t at, Wrapper wrapper) {
  const size_t behind = parts.size() - at - 1;
  if (wrapper == Wrapper::kInner) return false;
  const auto begin = parts.begin() + static_cast<std::ptrdiff_t>(at);
  if (wrapper == Wrapper::kSaved && behind >= 1) parts.erase(begin, begin + (behind >= 2 ? 2 : 1));
  if (wrapper == Wrapper::kOriginal && behind >= 1) parts[at] = "base_layer";
  return true;
}

}  // namespace

std::string tensor_name(std::string_view path, std::string_view suffix) {
  return std::string(kTensorPrefix).append(path).append(".").append(suffix);
}

std::string_view without_prefix(std::string_view name) {
  return name.starts_with(kTensorPrefix) ? name.substr(kTensorPrefix.size()) : std::string_view();
}

size_t path_length(std::string_view name) {
  size_t begin = 0, last = 0;
  for (const std::string_view part : split(name)) {
    if (begin > 0 && is_marker(part)) return begin - 1;
    last = begin;
    begin += part.size() + 1;
  }
  return last == 0 ? 0 : last - 1;
}

std::string canonical_tensor_name(std::string_view name) {
  Parts parts = split(name);
  std::erase_if(parts, [](std::string_view part) { return std::ranges::find(kWrappers, part) != std::end(kWrappers); });
  while (parts.size() > 1 && parts[0] == "module") parts.erase(parts.begin());
  while (parts.size() > 2 && parts[0] == "base_model" && parts[1] == "model") parts.erase(parts.begin(), parts.begin() + 2);
  const bool marked = std::ranges::any_of(parts, is_marker);
  const bool ours = parts.size() > 1 && (marked || is_leaf(parts.back()));
  for (size_t at = 0; ours && at < parts.size(); ++at) {
    if (const WrapperPart* wrapper = find_wrapper(parts[at])) {
      if (strip_wrapper(parts, at, wrapper->wrapper)) break;
    } else if (const std::optional<Holder> holder = find_holder(parts[at])) {
      strip_name(parts, at, *holder);
      break;
    }
  }
  if (!ours) return std::string(name);
  if (parts[0] == "vera_A" || parts[0] == "vera_B") return "base_model." + joined(parts);  // beside the modules
  if (parts[0] == "base_model") return joined(parts);
  return std::string(kTensorPrefix) + joined(parts);
}

Result<NamedTensors> canonical_tensors(const std::map<std::string, TensorView>& file) {
  NamedTensors made;
  for (const auto& [name, view] : file) {
    const std::string own = canonical_tensor_name(name);
    if (!made.tensors.emplace(own, view).second) {
      const auto other = made.spelled.find(own);
      return invalid_argument("adapter_model.safetensors: " + (other == made.spelled.end() ? own : other->second) + " and " +
                              name + " are the same tensor of two adapters; a folder holds one, so save each into its own");
    }
    if (own != name) made.spelled.emplace(own, name);
  }
  return made;
}

std::string fitting_path(std::string_view path, const TargetTable& targets) {
  while (true) {
    if (targets.find(path) >= 0) return std::string(path);
    const std::string within = "model." + std::string(path);
    if (targets.find(within) >= 0) return within;
    const size_t dot = path.find('.');
    if (dot == std::string_view::npos) return "";
    if (std::ranges::find(kOuterModules, path.substr(0, dot)) == std::end(kOuterModules)) return "";
    path.remove_prefix(dot + 1);
  }
}

}  // namespace umbel
