#include "store/convert.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "adapters/hadamard_modules.h"
#include "adapters/kind_tensors.h"
#include "adapters/registry.h"
#include "adapters/tensor_names.h"

namespace umbel {
namespace {

// The new folder while it is made. Names of tensors that a conversion handled are in `done`; the rest is copied.
struct Work {
  const ConvertInput& input;
  std::string from;
  std::string to;
  PeftFiles files;
  std::set<std::string> done = {};
};

Tensor copied(const TensorView& view) {
  Tensor made(view.dtype, view.shape);
  std::memcpy(made.data(), view.data, view.bytes());
  return made;
}

// The fields that all kinds share.
OrderedJson common_fields(const OrderedJson& from, const char* peft_type) {
  OrderedJson made{{"peft_type", peft_type}};
  for (const char* name : {"base_model_name_or_path", "task_type", "inference_mode", "revision", "auto_mapping", "target_modules",
                           "exclude_modules", "layers_to_transform", "layers_pattern", "modules_to_save"}) {
    if (from.contains(name)) made[name] = from[name];
  }
  return made;
}

OrderedJson as_number(double value) {
  if (value == std::floor(value) && std::fabs(value) < 1e15) return static_cast<int64_t>(value);
  return value;
}

template <typename T>
T commonest(const std::map<std::string, T>& values) {
  std::map<T, int> counts;
  for (const auto& [path, value] : values) ++counts[value];
  return std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second < b.second; })->first;
}

// ---- lora <-> rslora ---------------------------------------------------------------------------------------------------

// s = alpha / r = alpha' / sqrt(r).
Status flip_rslora(Work& work) {
  const AdapterSpec& spec = work.input.source.spec;
  const bool to_rslora = work.to == "rslora";
  ASSIGN_OR_RETURN(const double plain, json_field_or<double>(work.input.config, "lora_alpha", kLoraAlphaDefault));
  std::map<std::string, double> alphas;
  for (const auto& [name, view] : work.input.source.tensors) {
    for (const KindTensor& factor : {kLoraA, kLoraEmbeddingA}) {
      const std::string_view own = without_prefix(name);
      const size_t length = path_length(own);
      if (length == 0 || own.substr(length + 1) != factor.suffix) continue;
      const std::string path(own.substr(0, length));
      ASSIGN_OR_RETURN(const int64_t rank, spec.rank_at(path, default_rank(spec.peft_type)));
      ASSIGN_OR_RETURN(const double alpha, spec.alpha_at(path, plain));
      alphas[path] = flipped_lora_alpha(alpha, rank, to_rslora);
    }
  }
  if (alphas.empty()) return invalid_argument("adapter_model.safetensors holds no lora_A");
  const double most = commonest(alphas);
  OrderedJson& config = work.files.config;
  config["use_rslora"] = to_rslora;
  config["lora_alpha"] = as_number(most);
  config["alpha_pattern"] = OrderedJson::object();
  for (const auto& [path, alpha] : alphas) {
    if (alpha != most) config["alpha_pattern"][path] = as_number(alpha);
  }
  return ok_status();
}

// ---- vera, loha, miss -> lora ------------------------------------------------------------------------------------------------------

// Kinds that are one low-rank product at each module once they are on their base.
Status low_rank_to_lora(Work& work) {
  if (work.input.built == nullptr) {
    return unsupported(work.from + " to lora multiplies factors out to the sizes of the base's layers, so it needs --base");
  }
  ASSIGN_OR_RETURN(const LoraModules modules, low_rank_modules(*work.input.built, *work.input.targets));
  OrderedJson config = common_fields(work.input.config, "LORA");
  config.update({{"lora_dropout", 0.0}, {"bias", "none"}, {"fan_in_fan_out", false}, {"init_lora_weights", true}});
  ASSIGN_OR_RETURN(PeftFiles files, lora_files(std::move(config), modules, DType::kF32));
  work.files = std::move(files);
  for (const auto& [name, view] : work.input.source.tensors) work.done.insert(name);
  return ok_status();
}

// ---- ia3 <-> flora -----------------------------------------------------------------------------------------------------

OrderedJson flora_config(const OrderedJson& from, bool residual, int64_t rank) {
  OrderedJson config = common_fields(from, "FLORA");
  config.update({{"flora_format", 1}, {"r", rank}, {"flora_alpha", nullptr}, {"reduction", "sum"}, {"store_offset", false},
                 {"form", residual ? "residual" : "multiplicative"}, {"scale_bias", false}, {"bias", "none"}});
  return config;
}

Status ia3_to_flora(Work& work) {
  work.files.config = flora_config(work.input.config, false, 1);
  work.files.config["scale_bias"] = true;
  for (const auto& [name, view] : work.input.source.tensors) {
    const std::string_view own = without_prefix(name);
    const size_t length = path_length(own);
    if (length == 0 || own.substr(length + 1) != kIa3Input.suffix) continue;
    const bool input_side = view.shape.size() == 2 && view.shape[0] == 1;  // [1, in]; the output side is [out, 1]
    work.files.tensors[tensor_name(own.substr(0, length), (input_side ? kFloraTensors.a : kFloraTensors.b).suffix)] = copied(view);
    work.done.insert(name);
  }
  return ok_status();
}

bool all_ones(const Tensor& tensor, float scale) {
  return std::all_of(tensor.f32(), tensor.f32() + tensor.elements(), [&](float x) { return x * scale == 1.0f; });
}

Status flora_to_ia3(Work& work) {
  ASSIGN_OR_RETURN(HadamardModules flora, read_hadamard_modules(work.input.source, work.input.targets));
  std::vector<std::string> input_side, all;
  for (auto& [path, module] : flora.modules) {
    const bool in = all_ones(module.b, module.scale), out = all_ones(module.a, module.scale) && flora.scale_bias;
    if (module.rank() != 1 || module.scale != 1.0f || module.embedding || (!in && !out)) {
      return unsupported(path + " is not an IA3 vector: IA3 is a FLoRA of rank 1 with s = 1, one factor of ones, and (on the output "
                                "side) scale_bias");
    }
    all.push_back(path);
    if (in) input_side.push_back(path);
    work.files.tensors[tensor_name(path, (in ? kIa3Input : kIa3Output).suffix)] = std::move(in ? module.a : module.b);
  }
  work.files.config = common_fields(work.input.config, "IA3");
  work.files.config.update({{"target_modules", all}, {"feedforward_modules", input_side}, {"fan_in_fan_out", false}, {"init_ia3_weights", true}});
  for (const auto& [name, view] : work.input.source.tensors) {
    if (!flora.others.contains(name)) work.done.insert(name);
  }
  return ok_status();
}

// ---- the Hadamard kinds ------------------------------------------------------------------------------------------------

// s multiplied into B, one component of `extra` appended when it is not 0, and components of zeros up to `rank`.
void extend(HadamardModule& module, float extra, int64_t rank) {
  const int64_t in = module.a.shape()[1], out = module.b.shape()[0], old = module.rank();
  Tensor a(DType::kF32, {rank, in}), b(DType::kF32, {out, rank});
  std::copy_n(module.a.f32(), module.a.elements(), a.f32());
  for (int64_t row = 0; row < out; ++row) {
    for (int64_t k = 0; k < old; ++k) b.f32()[row * rank + k] = module.scale * module.b.f32()[row * old + k];
    if (extra != 0) b.f32()[row * rank + old] = extra;
  }
  if (extra != 0) std::fill_n(a.f32() + old * in, in, 1.0f);
  module = {.a = std::move(a), .b = std::move(b), .embedding = module.embedding};
}

// HiRA leaves the bias alone, so scale_bias must have had nothing to scale.
Status check_unscaled_bias(const Work& work, const HadamardModules& flora) {
  if (work.input.source.spec.bias != "none") {
    return unsupported("adapter_config.json: bias is set; PEFT's HIRA has no trained biases");
  }
  if (!flora.scale_bias) return ok_status();
  if (work.input.targets == nullptr) return unsupported("adapter_config.json: scale_bias is set, which HIRA can't express; with --base it is checked whether any adapted module has a bias");
  for (const auto& [path, module] : flora.modules) {
    const int32_t index = work.input.targets->find(path);
    if (index >= 0 && (*work.input.targets)[index].kind != TargetKind::kEmbedding && (*work.input.targets)[index].vector != nullptr) {
      return unsupported("adapter_config.json: scale_bias scales the bias of " + path + ", which HIRA can't express");
    }
  }
  return ok_status();
}

Status between_hadamard(Work& work) {
  ASSIGN_OR_RETURN(HadamardModules flora, read_hadamard_modules(work.input.source, work.input.targets));
  if (flora.modules.empty()) return invalid_argument("adapter_model.safetensors holds no factors");
  const bool to_hira = work.to == "hira", residual = work.to != "flora";
  if (to_hira) RETURN_IF_ERROR(check_unscaled_bias(work, flora));
  const float extra = residual == flora.residual ? 0.0f : residual ? -1.0f : 1.0f;
  std::map<std::string, int64_t> ranks;
  for (const auto& [path, module] : flora.modules) ranks[path] = module.rank() + (extra != 0);
  // PEFT 0.21 makes every HIRA module with r, whatever rank_pattern says: shorter ones are filled up with zeros.
  int64_t rank = commonest(ranks);
  if (to_hira) {
    for (auto& [path, most] : ranks) rank = std::max(rank, most);
    for (auto& [path, own] : ranks) own = rank;
  }
  OrderedJson patterns = OrderedJson::object();
  for (auto& [path, module] : flora.modules) {
    if (ranks[path] != rank) patterns[path] = ranks[path];
    extend(module, extra, ranks[path]);
    const HadamardTensors& names = to_hira ? kHiraTensors : kFloraTensors;
    work.files.tensors[tensor_name(path, (module.embedding ? names.embedding_a : names.a).suffix)] = std::move(module.a);
    work.files.tensors[tensor_name(path, (module.embedding ? names.embedding_b : names.b).suffix)] = std::move(module.b);
  }
  if (to_hira) {
    work.files.config = common_fields(work.input.config, "HIRA");
    work.files.config.update({{"r", rank}, {"hira_dropout", 0.0}, {"fan_in_fan_out", false}, {"init_weights", true}});
  } else {
    work.files.config = flora_config(work.input.config, residual, rank);
    work.files.config["scale_bias"] = flora.scale_bias;
    work.files.config["bias"] = work.input.source.spec.bias;
  }
  work.files.config["rank_pattern"] = patterns;
  for (const auto& [name, view] : work.input.source.tensors) {
    if (!flora.others.contains(name)) work.done.insert(name);
  }
  return ok_status();
}

struct Conversion {
  std::string_view from, to;
  Status (*make)(Work&);
};

constexpr Conversion kConversions[] = {
    {"lora", "rslora", flip_rslora},
    {"rslora", "lora", flip_rslora},
    {"vera", "lora", low_rank_to_lora},
    {"loha", "lora", low_rank_to_lora},
    {"miss", "lora", low_rank_to_lora},
    {"ia3", "flora", ia3_to_flora},
    {"flora", "ia3", flora_to_ia3},
    {"flora", "flora-residual", between_hadamard},
    {"flora-residual", "flora", between_hadamard},
    {"flora", "hira", between_hadamard},
    {"flora-residual", "hira", between_hadamard},
    {"hira", "flora-residual", between_hadamard},
    {"hira", "flora", between_hadamard},
};

constexpr std::string_view kKinds[] = {"lora", "rslora", "dora", "ia3", "vera", "flora", "flora-residual", "hira", "loha", "miss"};

std::string why_not(const std::string& from, const std::string& to) {
  const auto additive = [](const std::string& kind) {
    return kind == "lora" || kind == "rslora" || kind == "vera" || kind == "loha" || kind == "miss";
  };
  if (from == "dora") return "DoRA rescales the rows of the whole weight, which is no low-rank update; merge it into its base instead";
  if (to == "dora") return "DoRA's magnitudes are the row norms of one base and would make it another adapter as soon as it is trained";
  if (to == "vera") return "VeRA's shared projections are random, so they can't be made to give a particular update";
  if (to == "loha") return "a LoHa's rows and columns are products of fewer, which an update has by chance only";
  if (to == "miss") return "MiSS adds the same block to all shards of a weight, which an update has by chance only";
  if (from == "ia3" && to == "hira") return "go by way of flora: IA3 scales biases, HIRA does not, and that is checked there";
  if (from == "ia3" && to == "flora-residual") return "go by way of flora";
  if (additive(from) != additive(to)) return "a low-rank sum W + BA and an elementwise product W o M have no common form: a product leaves every zero of W zero";
  return "the two compute different things";
}

// Copies what no conversion touched, and rounds everything to the wanted type.
Status finish(Work& work, std::optional<DType> dtype) {
  for (const auto& [name, view] : work.input.source.tensors) {
    if (!work.done.contains(name) && !work.files.tensors.contains(name)) work.files.tensors[name] = copied(view);
  }
  if (!dtype) return ok_status();
  for (auto& [name, tensor] : work.files.tensors) {
    const DType old = tensor.dtype();
    if (old != DType::kF32 && old != DType::kBF16 && old != DType::kF16) continue;
    ASSIGN_OR_RETURN(tensor, rounded_tensor(name, tensor.view(), *dtype));
  }
  return ok_status();
}

}  // namespace

std::string adapter_kind(const Json& config) {
  const auto named = json_field_or<std::string>(config, "peft_type", "");
  std::string type = named.ok() ? *named : "";
  std::transform(type.begin(), type.end(), type.begin(), [](unsigned char c) { return std::tolower(c); });
  const auto on = [&](const char* name) { return config.contains(name) && config[name].is_boolean() && config[name].get<bool>(); };
  if (type == "lora") return on("use_dora") ? "dora" : on("use_rslora") ? "rslora" : "lora";
  if (type == "flora") return config.contains("form") && config["form"] == "residual" ? "flora-residual" : "flora";
  const std::vector<std::string> types = kind_types();
  const auto known = [&](const std::string& one) { return kind_name(one) == type; };
  return std::any_of(types.begin(), types.end(), known) ? type : "";
}

Result<PeftFiles> convert_adapter(const ConvertInput& input, std::string_view to, std::optional<DType> dtype) {
  Work work{.input = input, .from = adapter_kind(input.config), .to = std::string(to)};
  if (work.from.empty()) return unsupported("adapter_config.json: peft_type " + input.source.spec.peft_type + " is not converted here");
  if (std::find(std::begin(kKinds), std::end(kKinds), to) == std::end(kKinds)) {
    std::string known;
    for (const std::string_view kind : kKinds) known += (known.empty() ? "" : ", ") + std::string(kind);
    return invalid_argument("there is no kind '" + work.to + "' (" + known + " are known)");
  }
  work.files.config = input.config;
  if (work.from != work.to) {
    const auto found = std::find_if(std::begin(kConversions), std::end(kConversions),
                                    [&](const Conversion& one) { return one.from == work.from && one.to == work.to; });
    if (found == std::end(kConversions)) {
      return unsupported("there is no exact conversion from " + work.from + " to " + work.to + ": " + why_not(work.from, work.to));
    }
    RETURN_IF_ERROR(found->make(work));
  }
  RETURN_IF_ERROR(finish(work, dtype));
  return std::move(work.files);
}

}  // namespace umbel
