#include "apps/workshop.h"

#include <system_error>

#include "base/log.h"
#include "io/stray.h"
#include "store/peft_dir.h"
#include "text/adapter_tokenizer.h"

namespace umbel::apps {

void EngineFlags::declare(CLI::App& verb) {
  verb.add_option("--adapters", adapters, "folder whose sub-folders are adapters (PEFT layout)");
  verb.add_option("--adapter-links-root", adapter_links_root,
                  "links in adapters' folders may lead to files beneath this folder (a shared cache of the hub); else links are refused");
  verb.add_option("--max-rank", rank_max, "largest rank of an adapter: a number, or by kind: lora=256,flora=32");
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
  verb.add_option("--adapter-vocab-extra", adapter_vocab_extra,
                  "tokens that an adapter with a resized vocabulary may have beyond the base's (sizes the logits)")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  verb.add_flag("--no-prefix-cache", no_prefix_cache, "compute every prompt from its first token");
}

void EngineFlags::declare_caps(CLI::App& verb) {
  const auto cap = [&](const char* name, int& value, const char* what) {
    verb.add_option(name, value, what)->check(CLI::Range(0, 1 << 20))->capture_default_str();
  };
  cap("--tenant-running", tenant_running, "sequences of one key that may run at once (0 = no cap)");
  cap("--tenant-queue", tenant_queue, "requests of one key that may wait (0 = its share of --queue)");
  cap("--adapter-running", adapter_running, "sequences of one adapter that may run at once (0 = no cap)");
  cap("--adapter-queue", adapter_queue, "requests of one adapter that may wait (0 = no cap)");
}

Result<Workshop> open_workshop(const ModelFlags& model_flags, const EngineFlags& flags, bool watch) {
  Workshop shop;
  RETURN_IF_ERROR(check_adapters_flag(flags.adapters));
  ASSIGN_OR_RETURN(shop.base, open_base_model(model_flags));
  const Model& model = *shop.base.model;
  Limits limits{.context_max = flags.context,
                .sequences_max = flags.sequences,
                .step_tokens_max = flags.step_tokens,
                .queue_max = flags.queue,
                .tenant_running_max = flags.tenant_running,
                .tenant_queue_max = flags.tenant_queue,
                .adapter_running_max = flags.adapter_running,
                .adapter_queue_max = flags.adapter_queue,
                .kv_bytes = flags.kv_bytes,
                .prefill_chunk_max = flags.chunk,
                .adapter_vocab_extra = flags.adapter_vocab_extra,
                .prefix_cache = !flags.no_prefix_cache};
  const size_t adapter_bytes = flags.adapters.empty() ? 0 : flags.adapter_bytes;
  ASSIGN_OR_RETURN(shop.plan, plan_memory(model, adapter_bytes, limits));
  LOG_INFO("{}", shop.plan.to_string());
  RankLimits ranks;
  if (!flags.rank_max.empty()) {
    ASSIGN_OR_RETURN(ranks, parse_rank_limits(flags.rank_max));
  }
  LibraryOptions options{.dir = flags.adapters, .only = flags.only, .budget_bytes = flags.adapter_bytes,
                         .keep_versions = flags.keep_versions,
                         .watch_interval = watch ? from_seconds(0.5) : Duration{},
                         .factor_dtype = model.factor_dtype(),
                         .ranks = ranks,
                         .links_root = flags.adapter_links_root,
                         .vocabulary_max = model.config().vocab_size + flags.adapter_vocab_extra,
                         .reserved_names = flags.base_names};
  options.reserved_names.push_back(shop.base.name);
  ASSIGN_OR_RETURN(shop.library, AdapterLibrary::open(model.targets(), options));
  if (!flags.adapters.empty() && flags.only.empty() && shop.library->list().empty()) {
    LOG_WARN("--adapters: no sub-folder of {} is an adapter (none holds an {})", flags.adapters, kAdapterConfigName);
  }
  EngineParts parts{.model = shop.base.model, .library = shop.library.get(), .choice = shop.base.choice,
                    .threads = shop.base.threads, .limits = limits,
                    .tokenless = tokenless_ids(*shop.base.tokenizer, model.config().vocab_size)};
  ASSIGN_OR_RETURN(shop.engine, Engine::start(std::move(parts)));
  return shop;
}

std::vector<int32_t> tokenless_ids(const Tokenizer& tokenizer, int64_t rows) {
  std::vector<int32_t> ids;
  for (int64_t id = 0; id < rows; ++id) {
    if (!tokenizer.token(static_cast<TokenId>(id))) ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

Status check_adapters_flag(const std::string& dir) {
  std::error_code error;
  if (dir.empty() || !std::filesystem::exists(Path(dir) / kAdapterConfigName, error)) return ok_status();
  return invalid_argument("--adapters: " + dir +
                          " is an adapter itself; --adapters takes the folder that holds adapters, one in each sub-folder "
                          "(to use this one alone: --adapter " + dir + ")");
}

Result<std::string> resolve_adapter_flag(const std::string& adapter, EngineFlags& flags) {
  if (adapter.empty()) return adapter;
  std::error_code error;
  if (!flags.adapters.empty() && std::filesystem::is_directory(Path(flags.adapters) / adapter, error)) return adapter;
  if (std::filesystem::exists(Path(adapter) / kAdapterConfigName, error)) {
    const Path full = std::filesystem::canonical(adapter, error);
    if (error) return not_found("--adapter: cannot read the folder \"" + adapter + "\"");
    flags.adapters = full.parent_path().string();
    flags.only = {full.filename().string()};
    if (flags.adapter_links_root.empty()) flags.adapter_links_root = hub_links_root(full).string();
    return full.filename().string();
  }
  if (flags.adapters.empty()) {
    return not_found("--adapter: there is no folder \"" + adapter +
                     "\" with an adapter_config.json" + stray_place(adapter, kAdapterConfigName) + "; give such a folder, or --adapters DIR and a name inside it");
  }
  return adapter;  // the library names the known ones
}

Result<AdapterRef> find_adapter(Workshop& workshop, const std::string& name) {
  if (name.empty() || name == workshop.base.name) return AdapterRef();
  return workshop.library->resolve(name);
}

Result<std::shared_ptr<const Tokenizer>> tokenizer_of(const BaseModel& base, const TextFiles& adapter) {
  return adapter_tokenizer(adapter, base.tokenizer, base.model->config().vocab_size + static_cast<int64_t>(kAddedTokensMax));
}

Result<std::shared_ptr<const Tokenizer>> tokenizer_of(Workshop& workshop, const std::string& adapter) {
  if (const auto found = workshop.tokenizers.find(adapter); found != workshop.tokenizers.end()) return found->second;
  ASSIGN_OR_RETURN(const AdapterRef ref, find_adapter(workshop, adapter));
  if (ref == nullptr) return workshop.base.tokenizer;
  ASSIGN_OR_RETURN(FolderReader folder, FolderReader::open(workshop.library->info(ref).place));
  ASSIGN_OR_RETURN(auto made, tokenizer_of(workshop.base, text_files_of(std::move(folder))));
  return workshop.tokenizers.emplace(adapter, std::move(made)).first->second;
}

}  // namespace umbel::apps
