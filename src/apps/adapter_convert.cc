// umbel adapter convert: another kind where it is exactly the same, another type. umbel adapter export: GGUF, HIRA.
#include <iostream>

#include "adapters/registry.h"
#include "apps/adapter.h"
#include "apps/base_model.h"
#include "apps/exit.h"
#include "store/convert.h"
#include "store/gguf_lora.h"

namespace umbel::apps {
namespace {

constexpr const char* kConvertFooter = R"(
Examples:
  umbel adapter convert mine --to rslora --out mine-rs
  umbel adapter convert mine --dtype bf16 --out mine-16
  umbel adapter convert assets/adapters/clinc150-vera-r256 --to lora --base seedling --out as-lora
Exact: lora <-> rslora, vera -> lora, ia3 <-> flora, flora <-> flora-residual, flora and flora-residual <-> hira. Anything else
is refused and says why.)";

constexpr const char* kExportFooter = R"(
Examples:
  umbel adapter export mine --format gguf --base seedling --out mine.gguf      for llama-server --lora mine.gguf
  umbel adapter export assets/adapters/restaurant8k-flora-r4 --format hira --out as-hira      for PEFT 0.20 and later)";

struct Flags {
  ModelFlags model;
  bool has_base = false;
  std::string adapter, out, to, format = "gguf";
  std::string dtype = "auto";
  bool force = false;
  bool json = false;
};

Result<std::optional<DType>> wanted_dtype(const Flags& flags) {
  if (flags.dtype == "auto") return std::optional<DType>();
  ASSIGN_OR_RETURN(const DType dtype, parse_dtype(flags.dtype));
  return std::optional<DType>(dtype);
}

// The adapter on its base, where one was given.
struct OnBase {
  std::optional<BaseModel> base;
  std::shared_ptr<const Adapter> adapter;
};

Result<OnBase> open_on_base(const Flags& flags, const AdapterFolder& folder) {
  OnBase made;
  if (!flags.has_base) return made;
  ASSIGN_OR_RETURN(made.base, open_base_model(flags.model));
  auto built = build_adapter(folder.peft.source(), made.base->model->targets(), {.factor_dtype = DType::kF32});
  if (!built.ok()) return built.status().with_context(folder.dir.string());
  made.adapter = std::move(built).value();
  return made;
}

void print_done(const Flags& flags, const std::string& from, const std::string& to, size_t tensors) {
  if (flags.json) {
    std::cout << Json{{"out", flags.out}, {"from", from}, {"to", to}, {"tensors", tensors}}.dump() << "\n";
  } else {
    std::cout << flags.out << ": " << from << " as " << to << ", " << tensors << " tensors\n";
  }
}

Status convert(const Flags& flags, const std::string& to) {
  RETURN_IF_ERROR(check_free(flags.out, existing_of(flags.force)));
  ASSIGN_OR_RETURN(const AdapterFolder folder, open_adapter_folder(flags.adapter));
  const std::string from = adapter_kind(folder.config), wanted = to.empty() ? from : to;
  ASSIGN_OR_RETURN(const std::optional<DType> dtype, wanted_dtype(flags));
  if (from == wanted && !dtype) return invalid_argument(folder.dir.string() + " is of kind " + from + " already; give another --to, or a --dtype");
  ASSIGN_OR_RETURN(const OnBase on, open_on_base(flags, folder));
  const ConvertInput input{.config = folder.config, .source = folder.peft.source(),
                           .targets = on.base ? &on.base->model->targets() : nullptr, .built = on.adapter.get()};
  auto made = convert_adapter(input, wanted, dtype);
  if (!made.ok()) return made.status().with_context(folder.dir.string());
  made->card = "# " + adapter_name(flags.out) + "\n\n" + adapter_name(folder.dir) + " (" + from + ") as " + wanted + ", converted by umbel.\n";
  made->chat_template = own_chat_template(folder.dir);
  RETURN_IF_ERROR(write_peft_files(flags.out, *made, existing_of(flags.force)));
  print_done(flags, from, wanted, made->tensors.size());
  return ok_status();
}

Result<GgufBase> gguf_base(const ModelConfig& config) {
  GgufBase base{.architecture = config.model_type, .tied = config.tie_word_embeddings, .hidden = config.hidden_size,
                .ffn = config.intermediate_size, .vocab = config.vocab_size, .heads = config.heads,
                .kv_heads = config.kv_heads, .head_dim = config.head_dim};
  if (config.model_type == "llama" || config.model_type == "mistral") {
    base.architecture = "llama";
    base.pairs_reordered = true;
  } else if (config.model_type != "qwen2" && config.model_type != "qwen3") {
    return unsupported("config.json: model_type " + config.model_type + " has no GGUF export here");
  }
  return base;
}

// A LoRA's factors are read from its file; other kinds of one low-rank product are folded on the base.
Result<LoraModules> gguf_modules(const Flags& flags, const AdapterFolder& folder) {
  if (folder.peft.spec().peft_type == "LORA") return read_lora_modules(folder.peft.source());
  const std::string& type = folder.peft.spec().peft_type;
  if (type != "VERA" && type != "LOHA" && type != "MISS") {
    return unsupported("llama.cpp applies low-rank products only; a " + adapter_kind(folder.config) +
                       " adapter is none: merge it into its base (umbel adapter merge --base)");
  }
  ASSIGN_OR_RETURN(const OnBase on, open_on_base(flags, folder));
  return low_rank_modules(*on.adapter, on.base->model->targets());
}

Status export_gguf(const Flags& flags) {
  if (!flags.has_base) return invalid_argument("--format gguf needs --base: names and the order of rows depend on the base's family");
  RETURN_IF_ERROR(check_free(flags.out, existing_of(flags.force)));
  std::error_code error;
  if (std::filesystem::is_directory(flags.out, error)) return invalid_argument("--out: " + flags.out + " is a folder; a GGUF adapter is one file");
  ASSIGN_OR_RETURN(const AdapterFolder folder, open_adapter_folder(flags.adapter));
  ASSIGN_OR_RETURN(const Path base_dir, find_model(flags.model.model));
  ASSIGN_OR_RETURN(const ModelConfig config, load_model_config(base_dir));
  ASSIGN_OR_RETURN(const GgufBase base, gguf_base(config));
  auto modules = gguf_modules(flags, folder);
  if (!modules.ok()) return modules.status().with_context(folder.dir.string());
  auto lora = to_gguf_lora(*modules, base);
  if (!lora.ok()) return lora.status().with_context(folder.dir.string());
  ASSIGN_OR_RETURN(const std::optional<DType> dtype, wanted_dtype(flags));
  RETURN_IF_ERROR(write_gguf_lora(flags.out, *lora, base, adapter_name(folder.dir), dtype.value_or(DType::kF32)));
  print_done(flags, adapter_kind(folder.config), "gguf", lora->tensors.size());
  return ok_status();
}

void declare_common(CLI::App& verb, Flags& flags) {
  verb.add_option("ADAPTER", flags.adapter, "an adapter's folder")->required();
  verb.add_option("--dtype", flags.dtype, "type of what is written: auto, f32, bf16, f16")->check(CLI::IsMember({"auto", "f32", "bf16", "f16"}));
  verb.add_flag("--force", flags.force, "replace OUT when it is there");
  verb.add_flag("--json", flags.json, "JSON for machines");
}

}  // namespace

void add_adapter_convert(CLI::App& adapter, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = adapter.add_subcommand("convert", "to another kind, where it computes the same, or another type");
  declare_common(*verb, *flags);
  verb->add_option("--to", flags->to, "lora, rslora, ia3, flora, flora-residual, hira (default: the same kind)");
  verb->add_option("--out", flags->out, "the new folder")->required();
  CLI::Option* base = verb->add_option("--base", flags->model.model, "the base, where sizes or biases are asked of it");
  verb->footer(kConvertFooter);
  verb->callback([flags, base, &run] {
    flags->has_base = base->count() > 0;
    run = [flags] { return finish(convert(*flags, flags->to)); };
  });
}

void add_adapter_export(CLI::App& adapter, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = adapter.add_subcommand("export", "for llama.cpp (GGUF) or for PEFT's HIRA");
  declare_common(*verb, *flags);
  verb->add_option("--format", flags->format, "gguf, hira")->check(CLI::IsMember({"gguf", "hira"}))->capture_default_str();
  verb->add_option("--out", flags->out, "the new file (gguf) or folder (hira)")->required();
  CLI::Option* base = verb->add_option("--base", flags->model.model, "the base: a Hugging Face folder, or \"seedling\"");
  verb->footer(kExportFooter);
  verb->callback([flags, base, &run] {
    flags->has_base = base->count() > 0;
    run = [flags] { return finish(flags->format == "gguf" ? export_gguf(*flags) : convert(*flags, "hira")); };
  });
}

}  // namespace umbel::apps
