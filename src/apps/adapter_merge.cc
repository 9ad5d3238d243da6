// umbel adapter merge: an adapter into its base (a complete checkpoint), or several LoRA adapters into one.
#include <algorithm>
#include <iostream>

#include "adapters/combine.h"
#include "adapters/registry.h"
#include "apps/adapter.h"
#include "apps/base_model.h"
#include "apps/exit.h"
#include "data/questions.h"
#include "apps/table.h"
#include "io/safetensors.h"
#include "models/logit_drift.h"
#include "store/merged_checkpoint.h"
#include "store/peft_files.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Examples:
  umbel adapter merge --base seedling --adapter assets/adapters/banking77-lora-r8 --out merged
      a checkpoint that umbel and transformers load, in the base's type (or --dtype f32|bf16|f16)
  umbel adapter merge --base seedling --adapter mine --out merged --base-dtype nf4
      also says how much of the adapter is left when the merged model is quantised
  umbel adapter merge --adapter one --adapter two --weights 0.7,0.3 --method cat --out both
      a new LoRA adapter; methods: linear, cat, ties, dare_linear, dare_ties (docs/adapters.md has the formulas))";

struct Flags {
  ModelFlags model;
  bool has_base = false;
  std::vector<std::string> adapters;
  std::string out;
  std::string dtype = "auto";
  std::string base_dtype = "auto";
  std::string data;
  std::string method = "linear";
  std::string sign = "total";
  CombineOptions combine;
  bool same_base = false;
  bool no_drift = false;
  bool force = false;
  bool json = false;
};

// ---- into a base ----------------------------------------------------------------------------------------------------

// What is compared when --data does not say otherwise.
constexpr const char* kPrompts[] = {
    "The quick brown fox jumps over the lazy dog, and then it",
    "Question: What is the capital of France?\nAnswer:",
    "Dear customer, thank you for your message. We are sorry that your card",
    "It was late in the evening when the old man opened the door and said:",
};
constexpr size_t kDriftTokensMax = 256;  // of one row
constexpr size_t kDriftRowsMax = 64;

Result<std::vector<std::string>> drift_texts(const std::string& file) {
  if (file.empty()) return std::vector<std::string>(std::begin(kPrompts), std::end(kPrompts));
  ASSIGN_OR_RETURN(const auto rows, data::read_plain_pairs(file, kDriftRowsMax, data::Answers::kOptional));
  std::vector<std::string> texts;
  for (const data::PlainPair& row : rows) texts.push_back(row.prompt + row.completion.value_or(""));
  return texts;
}

// The type of all weights in the base's checkpoint, when they have one.
Result<std::optional<DType>> common_dtype(const Path& base) {
  ASSIGN_OR_RETURN(const Safetensors checkpoint, Safetensors::open_model(base));
  std::optional<DType> common;
  for (const auto& [name, view] : checkpoint.tensors()) {
    if (common && *common != view.dtype) return std::optional<DType>();
    common = view.dtype;
  }
  return common;
}

// Merging reads the base's weights as they are: in their own type, or widened where types are mixed or f32 is written.
struct MergePlan {
  DType written;
  std::string loaded;
  kernels::Quantisation served;
};

Result<MergePlan> plan_merge(const Flags& flags, const Path& base) {
  ASSIGN_OR_RETURN(const std::optional<DType> common, common_dtype(base));
  MergePlan plan{.written = common.value_or(DType::kBF16), .loaded = "f32", .served = kernels::Quantisation::kNone};
  if (flags.dtype != "auto") {
    ASSIGN_OR_RETURN(plan.written, parse_dtype(flags.dtype));
  }
  if (common && *common == plan.written) plan.loaded = dtype_name(*common);
  if (flags.base_dtype == "int8") plan.served = kernels::Quantisation::kInt8;
  if (flags.base_dtype == "nf4") plan.served = kernels::Quantisation::kNf4;
  if (flags.base_dtype == "nf4-dq") plan.served = kernels::Quantisation::kNf4Dq;
  return plan;
}

struct DriftInput {
  const BaseModel& base;  // the unmerged side's model, unless the merged model is served quantised
  const AdapterFolder& folder;
  const Adapter& adapter;
  const Path& merged;  // the new checkpoint's folder
  const std::vector<std::string>& texts;
  std::string served;  // how both sides are loaded: "f32", "nf4", ...
};

// Merged against unmerged, both loaded as the merged model will be served.
Result<LogitDrift> measure_drift(const DriftInput& input) {
  const ModelOptions options{.dtype = input.served, .choice = input.base.choice};
  ASSIGN_OR_RETURN(const auto merged, load_model(input.merged, options));
  std::shared_ptr<const Model> unmerged = input.base.model;
  std::shared_ptr<const Adapter> own;
  const Adapter* adapter = &input.adapter;
  if (unmerged->weight_type() != input.served) {
    ASSIGN_OR_RETURN(unmerged, load_model(input.base.dir, options));
    ASSIGN_OR_RETURN(own, build_adapter(input.folder.peft.source(), unmerged->targets(), {.factor_dtype = DType::kF32}));
    adapter = own.get();
  }
  ThreadPool pool(input.base.threads);
  LogitDrift drift;
  for (const std::string& text : input.texts) {
    ASSIGN_OR_RETURN(std::vector<TokenId> ids, input.base.tokenizer->encode(text, /*add_special=*/true));
    const size_t longest = std::min(kDriftTokensMax, static_cast<size_t>(unmerged->config().context_length()));
    if (ids.size() > longest) ids.resize(longest);
    if (ids.empty()) continue;
    drift.add(sequence_logits(*unmerged, input.base.choice, pool, ids, adapter),
              sequence_logits(*merged, input.base.choice, pool, ids, nullptr), merged->config().vocab_size);
  }
  return drift;
}

Json drift_json(const MergeReport& report, const LogitDrift* logits) {
  Json modules = Json::array();
  for (const ModuleDrift& module : report.modules) {
    modules.push_back({{"module", module.path}, {"change", module.change}, {"error", module.error}, {"error_of_change", module.error_of_change}});
  }
  Json drift{{"modules", modules}};
  if (logits != nullptr) {
    drift["logits"] = {{"rows", logits->rows()},   {"largest", logits->largest()},       {"mean", logits->mean()},
                       {"kl", logits->divergence()}, {"top1_agreement", logits->top1_agreement()}};
  }
  return drift;
}

void print_drift(const MergeReport& report, const LogitDrift* logits) {
  constexpr size_t kShown = 10;
  std::vector<ModuleDrift> modules = report.modules;
  std::stable_sort(modules.begin(), modules.end(),
                   [](const ModuleDrift& a, const ModuleDrift& b) { return a.error_of_change > b.error_of_change; });
  Table table({"module", "change", "error", "error/change"});
  double total = 0;
  for (const ModuleDrift& module : modules) total += module.error_of_change;
  for (size_t i = 0; i < std::min(kShown, modules.size()); ++i) {
    const ModuleDrift& module = modules[i];
    table.add({module.path, number(module.change), number(module.error), number(module.error_of_change)});
  }
  std::cout << table.text();
  if (modules.size() > kShown) std::cout << "(the worst " << kShown << " of " << modules.size() << " changed weights)\n";
  if (!modules.empty()) std::cout << "mean error/change " << number(total / static_cast<double>(modules.size())) << "\n";
  if (logits != nullptr) {
    std::cout << "logits merged against unmerged, " << logits->rows() << " positions: largest difference " << number(logits->largest())
              << ", mean " << number(logits->mean()) << ", KL " << number(logits->divergence()) << " nats, same top token "
              << number(100 * logits->top1_agreement()) << " %\n";
  }
}

std::string merged_card(const BaseModel& base, const AdapterFolder& folder) {
  return "# " + base.name + " + " + adapter_name(folder.dir) + "\n\nThe base model " + base.name + " with the adapter " +
         adapter_name(folder.dir) + " (" + folder.peft.spec().peft_type + ") merged into its weights by umbel.\n";
}

// The tokenizer that the adapter was saved with: of a resized vocabulary it is the one that has the added tokens.
Status copy_tokenizer(const Path& from, const Path& out) {
  constexpr size_t kBytesMax = size_t{256} << 20;
  ASSIGN_OR_RETURN(const FolderReader folder, FolderReader::open({.folder = from, .links_root = hub_links_root(from)}));
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"}) {
    if (!folder.has(name)) continue;
    ASSIGN_OR_RETURN(const std::string bytes, folder.read(name, kBytesMax));  // a link would put what it leads to into the result
    RETURN_IF_ERROR(write_file_atomic(out / name, bytes));
  }
  return ok_status();
}

Status merge_into_base(Flags flags) {
  if (flags.adapters.size() != 1) {
    return invalid_argument("--base takes one --adapter; merge several into one adapter first (without --base)");
  }
  RETURN_IF_ERROR(check_free(flags.out, existing_of(flags.force)));
  ASSIGN_OR_RETURN(const AdapterFolder folder, open_adapter_folder(flags.adapters.front()));
  ASSIGN_OR_RETURN(const std::vector<std::string> texts, drift_texts(flags.data));
  ASSIGN_OR_RETURN(const Path base_dir, find_model(flags.model.model));
  ASSIGN_OR_RETURN(const MergePlan plan, plan_merge(flags, base_dir));
  flags.model.dtype = plan.loaded;
  if (flags.model.arithmetic == "auto") flags.model.arithmetic = "f32-fma";  // the drift of the weights, not of the activations
  ASSIGN_OR_RETURN(const BaseModel base, open_base_model(flags.model));
  auto built = build_adapter(folder.peft.source(), base.model->targets(), {.factor_dtype = DType::kF32});
  if (!built.ok()) return built.status().with_context(folder.dir.string());
  const std::shared_ptr<const Adapter> adapter = std::move(built).value();

  ASSIGN_OR_RETURN(NewFolder out, NewFolder::create(flags.out, existing_of(flags.force)));
  const MergeOptions options{.dtype = plan.written, .served = plan.served};
  ASSIGN_OR_RETURN(const MergeReport report, write_merged_checkpoint(base.dir, base.model->targets(), *adapter, options, out.path()));
  RETURN_IF_ERROR(write_file_atomic(out.path() / "README.md", merged_card(base, folder)));
  if (const std::string own = own_chat_template(folder.dir); !own.empty()) {
    RETURN_IF_ERROR(write_file_atomic(out.path() / "chat_template.jinja", own));
  }
  if (adapter->vocabulary() > 0) RETURN_IF_ERROR(copy_tokenizer(folder.dir, out.path()));
  std::optional<LogitDrift> logits;
  std::string no_logits;  // why; the checkpoint is good without the comparison
  const bool smaller = adapter->vocabulary() > 0 && adapter->vocabulary() < base.model->config().vocab_size;
  if (smaller) no_logits = "the adapter's vocabulary is smaller than the base's";  // which wrote the ids of the texts
  if (!flags.no_drift && !smaller) {
    const std::string served = plan.served == kernels::Quantisation::kNone ? std::string(dtype_name(plan.written)) : flags.base_dtype;
    auto compared = measure_drift({base, folder, *adapter, out.path(), texts, served});
    if (compared.ok()) {
      logits = *compared;
    } else {
      no_logits = compared.status().message();
    }
  }
  RETURN_IF_ERROR(out.commit());
  const LogitDrift* measured = logits ? &*logits : nullptr;
  if (flags.json) {
    Json summary{{"out", flags.out}, {"tensors", report.tensors}, {"changed", report.changed}, {"bytes", report.bytes}, {"untied", report.untied}};
    summary["drift"] = drift_json(report, measured);
    if (!no_logits.empty()) summary["drift"]["logits_not_compared"] = no_logits;
    std::cout << summary.dump(2) << "\n";
    return ok_status();
  }
  std::cout << flags.out << ": " << report.tensors << " tensors (" << report.changed << " changed), " << dtype_name(plan.written)
            << (report.untied ? ", embedding and head no longer tied" : "") << "\n";
  print_drift(report, measured);
  if (!no_logits.empty()) std::cout << "logits were not compared: " << no_logits << "\n";
  return ok_status();
}

// ---- several adapters into one ---------------------------------------------------------------------------------------

std::string last_part(const std::string& name) {
  const size_t slash = name.find_last_of('/', name.size() < 2 ? 0 : name.size() - 2);
  return slash == std::string::npos ? name : name.substr(slash + 1);
}

Status check_one_base(const std::vector<AdapterFolder>& folders) {
  const std::string first = last_part(folders.front().peft.spec().base_model);
  for (const AdapterFolder& folder : folders) {
    const std::string base = last_part(folder.peft.spec().base_model);
    if (base.empty() || first.empty() || base == first) continue;
    return failed_precondition(folders.front().dir.string() + " was made for the base " + first + ", " + folder.dir.string() + " for " + base +
                               "; adapters of different bases can't be merged (--same-base if it is one base under two names)");
  }
  return ok_status();
}

std::string combined_card(const Flags& flags, const std::vector<AdapterFolder>& folders) {
  std::string text = "# " + adapter_name(flags.out) + "\n\nMade by umbel adapter merge, method " + flags.method;
  if (flags.method != "linear" && flags.method != "cat") text += ", density " + number(flags.combine.density);
  if (flags.method.starts_with("dare")) text += ", seed " + std::to_string(flags.combine.seed);
  text += ", from:\n\n";
  for (size_t i = 0; i < folders.size(); ++i) text += "- " + adapter_name(folders[i].dir) + ", weight " + number(flags.combine.weights[i]) + "\n";
  return text;
}

// The type of the first adapter's first tensor, unless told.
Result<DType> output_dtype(const Flags& flags, const AdapterFolder& first) {
  if (flags.dtype != "auto") return parse_dtype(flags.dtype);
  const DType stored = first.peft.source().tensors.begin()->second.dtype;
  return stored == DType::kBF16 || stored == DType::kF16 ? stored : DType::kF32;
}

Status merge_adapters(Flags flags) {
  RETURN_IF_ERROR(check_free(flags.out, existing_of(flags.force)));
  ASSIGN_OR_RETURN(flags.combine.method, parse_combine_method(flags.method));
  flags.combine.sign = flags.sign == "total" ? MajoritySign::kTotal : MajoritySign::kFrequency;
  const size_t count = flags.adapters.size();
  if (flags.combine.weights.empty()) flags.combine.weights.assign(count, 1.0 / static_cast<double>(count));
  std::vector<AdapterFolder> folders;
  std::vector<LoraModules> modules;
  std::vector<OrderedJson> configs;
  for (const std::string& dir : flags.adapters) {
    ASSIGN_OR_RETURN(AdapterFolder folder, open_adapter_folder(dir));
    auto read = read_lora_modules(folder.peft.source());
    if (!read.ok()) return read.status().with_context(dir);
    modules.push_back(std::move(read).value());
    configs.push_back(folder.config);
    folders.push_back(std::move(folder));
  }
  if (!flags.same_base) RETURN_IF_ERROR(check_one_base(folders));
  ASSIGN_OR_RETURN(const LoraModules made, combine(modules, flags.combine));
  ASSIGN_OR_RETURN(const DType dtype, output_dtype(flags, folders.front()));
  OrderedJson config = configs.front();
  unite_targets(config, configs, made);
  ASSIGN_OR_RETURN(PeftFiles files, lora_files(std::move(config), made, dtype));
  files.card = combined_card(flags, folders);
  files.chat_template = own_chat_template(folders.front().dir);
  RETURN_IF_ERROR(write_peft_files(flags.out, files, existing_of(flags.force)));
  if (flags.json) {
    std::cout << Json{{"out", flags.out}, {"method", flags.method}, {"weights", flags.combine.weights}, {"modules", made.size()},
                      {"rank", files.config["r"]}, {"dtype", std::string(dtype_name(dtype))}}.dump() << "\n";
  } else {
    std::cout << flags.out << ": " << count << " adapters merged by " << flags.method << ", " << made.size() << " modules, rank "
              << files.config["r"] << ", " << dtype_name(dtype) << "\n";
  }
  return ok_status();
}

Status run_merge(const Flags& flags) { return flags.has_base ? merge_into_base(flags) : merge_adapters(flags); }

}  // namespace

void add_adapter_merge(CLI::App& adapter, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = adapter.add_subcommand("merge", "an adapter into its base, or several LoRA adapters into one");
  CLI::Option* base = verb->add_option("--base", flags->model.model, "merge into this base: a Hugging Face folder, or \"seedling\"");
  verb->add_option("--adapter", flags->adapters, "an adapter's folder; again for every further one")->required();
  verb->add_option("--out", flags->out, "the new folder")->required();
  verb->add_option("--dtype", flags->dtype, "type of what is written: auto (the base's or first adapter's), f32, bf16, f16")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "f16"}));
  verb->add_option("--base-dtype", flags->base_dtype, "with --base: how the merged model will be loaded, for the drift report: auto (as written), int8, nf4, nf4-dq")
      ->check(CLI::IsMember({"auto", "int8", "nf4", "nf4-dq"}));
  verb->add_option("--data", flags->data, "with --base: JSONL rows {\"prompt\", \"completion\"} for the drift of logits (64 at most)");
  verb->add_flag("--no-drift", flags->no_drift, "with --base: don't compare logits (saves loading the merged model)");
  verb->add_option("--threads", flags->model.threads, "compute threads (0 = all usable CPUs)")->check(CLI::Range(0, 1024));
  verb->add_option("--method", flags->method, "linear, cat, ties, dare_linear, dare_ties")->capture_default_str();
  verb->add_option("--weights", flags->combine.weights, "one for each adapter, comma-separated (default: equal, sum 1)")->delimiter(',');
  verb->add_option("--density", flags->combine.density, "share of entries kept by ties and dare")->capture_default_str();
  verb->add_option("--majority-sign", flags->sign, "ties: total (of values) or frequency (of signs)")
      ->check(CLI::IsMember({"total", "frequency"}))->capture_default_str();
  verb->add_option("--seed", flags->combine.seed, "of DARE's random masks")->capture_default_str();
  verb->add_flag("--same-base", flags->same_base, "the adapters are of one base although they name it differently");
  verb->add_flag("--force", flags->force, "replace OUT when it is there");
  verb->add_flag("--json", flags->json, "JSON for machines");
  verb->footer(kFooter);
  verb->callback([flags, base, &run] {
    flags->has_base = base->count() > 0;
    run = [flags] { return finish(run_merge(*flags)); };
  });
}

}  // namespace umbel::apps
