#include "apps/workshop.h"

#include <system_error>

#include "base/log.h"

namespace umbel::apps {

void EngineFlags::declare(CLI::App& verb) {
  verb.add_option("--adapters", adapters, "folder whose sub-folders are adapters (PEFT layout)");
  verb.add_option("--adapter-bytes", adapter_bytes, "memory for resident adapters (also 512MB, 2GB, ...)")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  verb.add_option("--kv-bytes", kv_bytes, "memory for the KV cache (0 = from free memory)")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  verb.add_option("--context", context, "longest sequence, prompt and answer (0 = the model's)")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  verb.add_option("--sequences", sequences, "sequences running at once")->check(CLI::Range(1, 4096))->capture_default_str();
  verb.add_option("--step-tokens", step_tokens, "token budget of one step, cost-weighted")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  verb.add_option("--chunk", chunk, "longest prefill chunk in tokens")->check(CLI::Range(1, 65536))->capture_default_str();
  verb.add_option("--queue", queue, "waiting requests before new ones are refused")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  verb.add_flag("--no-prefix-cache", no_prefix_cache, "compute every prompt from its first token");
}

Result<Workshop> open_workshop(const ModelFlags& model_flags, const EngineFlags& flags, bool watch) {
  Workshop shop;
  ASSIGN_OR_RETURN(shop.base, open_base_model(model_flags));
  const Model& model = *shop.base.model;
  Limits limits{.context_max = flags.context,
                .sequences_max = flags.sequences,
                .step_tokens_max = flags.step_tokens,
                .queue_max = flags.queue,
                .kv_bytes = flags.kv_bytes,
                .prefill_chunk_max = flags.chunk,
                .prefix_cache = !flags.no_prefix_cache};
  const size_t adapter_bytes = flags.adapters.empty() ? 0 : flags.adapter_bytes;
  ASSIGN_OR_RETURN(shop.plan, plan_memory(model, adapter_bytes, limits));
  LOG_INFO("{}", shop.plan.to_string());
  LibraryOptions options{.dir = flags.adapters, .budget_bytes = flags.adapter_bytes,
                         .watch_interval = watch ? from_seconds(0.5) : Duration{},
                         .factor_dtype = model.factor_dtype(),
                         .reserved_names = {shop.base.name}};
  ASSIGN_OR_RETURN(shop.library, AdapterLibrary::open(model.targets(), options));
  EngineParts parts{.model = shop.base.model, .library = shop.library.get(), .choice = shop.base.choice,
                    .threads = shop.base.threads, .limits = limits};
  ASSIGN_OR_RETURN(shop.engine, Engine::start(std::move(parts)));
  return shop;
}

Result<std::string> resolve_adapter_flag(const std::string& adapter, EngineFlags& flags) {
  if (adapter.empty()) return adapter;
  std::error_code error;
  if (!flags.adapters.empty() && std::filesystem::is_directory(Path(flags.adapters) / adapter, error)) return adapter;
  if (std::filesystem::exists(Path(adapter) / "adapter_config.json", error)) {
    const Path full = std::filesystem::canonical(adapter, error);
    if (error) return not_found("--adapter: cannot read the folder \"" + adapter + "\"");
    flags.adapters = full.parent_path().string();
    return full.filename().string();
  }
  if (flags.adapters.empty()) {
    return not_found("--adapter: there is no folder \"" + adapter +
                     "\" with an adapter_config.json; give such a folder, or --adapters DIR and a name inside it");
  }
  return adapter;  // the library names the known ones
}

Result<AdapterRef> find_adapter(Workshop& workshop, const std::string& name) {
  if (name.empty() || name == workshop.base.name) return AdapterRef();
  return workshop.library->resolve(name);
}

}  // namespace umbel::apps
