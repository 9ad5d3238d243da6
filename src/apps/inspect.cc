// umbel inspect: what a model folder or an adapter folder holds, what it costs in memory, and what an adapter does to a base;
// what a folder of adapters takes in all.
#include <iostream>
#include <system_error>

#include "adapters/registry.h"
#include "apps/adapter_sum.h"
#include "apps/exit.h"
#include "apps/table.h"
#include "apps/verb.h"
#include "apps/workshop.h"
#include "base/printable.h"
#include "io/json.h"
#include "store/peft_dir.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Examples:
  umbel inspect seedling                      architecture, sizes, memory plan
  umbel inspect assets/adapters/banking77-flora-r1 --base seedling   coverage and terms of an adapter
  umbel inspect assets/adapters --base seedling      what each adapter of a folder takes, and all of them together
  umbel inspect seedling --json)";

struct Flags {
  ModelFlags model;
  EngineFlags engine;
  std::string base = "seedling";
  bool json = false;
};

std::string mebibytes(size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  return text;
}

void print_fields(const nlohmann::ordered_json& fields, bool json) {
  if (json) {
    std::cout << fields.dump(2) << "\n";
    return;
  }
  size_t width = 0;
  for (const auto& [name, value] : fields.items()) width = std::max(width, name.size());
  for (const auto& [name, value] : fields.items()) {
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    std::cout << name << std::string(width + 2 - name.size(), ' ') << printable(text) << "\n";
  }
}

Json bytes_field(size_t bytes, bool json) { return json ? Json(bytes) : Json(mebibytes(bytes)); }

// "bf16", or "nf4-dq, the rest bf16".
std::string stored_as(const Model& model) {
  const std::string type(model.weight_type());
  if (model.quantisation() == kernels::Quantisation::kNone) return type;
  return type + ", the rest " + std::string(dtype_name(model.weight_dtype()));
}

Status inspect_model(const Flags& flags) {
  ASSIGN_OR_RETURN(const BaseModel base, open_base_model(flags.model));
  const Model& model = *base.model;
  const ModelConfig& config = model.config();
  Limits limits{.context_max = flags.engine.context, .sequences_max = flags.engine.sequences,
                .step_tokens_max = flags.engine.step_tokens, .kv_bytes = flags.engine.kv_bytes,
                .prefill_chunk_max = flags.engine.chunk,
                .adapter_vocab_extra = flags.engine.adapter_vocab_extra};
  const size_t adapter_bytes = flags.engine.adapters.empty() ? 0 : flags.engine.adapter_bytes;
  ASSIGN_OR_RETURN(const MemoryPlan plan, plan_memory(model, adapter_bytes, limits));
  nlohmann::ordered_json fields;
  fields["model"] = base.name;
  fields["architecture"] = config.architecture;
  fields["parameters"] = model.parameters();
  fields["layers"] = config.layers;
  fields["hidden_size"] = config.hidden_size;
  fields["intermediate_size"] = config.intermediate_size;
  fields["heads"] = std::to_string(config.heads) + " of " + std::to_string(config.head_dim) + ", " + std::to_string(config.kv_heads) + " KV heads";
  fields["vocab_size"] = config.vocab_size;
  fields["context"] = config.context_length();
  fields["tied embeddings"] = config.tie_word_embeddings;
  fields["chat template"] = base.chat_template != nullptr;
  fields["weights stored as"] = stored_as(model);
  fields["isa"] = std::string(kernels::isa_name(base.choice.isa));
  fields["arithmetic"] = std::string(kernels::arithmetic_name(base.choice.arithmetic)) + " (" + base.choice.reason + ")";
  fields["threads"] = base.threads;
  fields["memory: weights"] = bytes_field(plan.weights_bytes, flags.json);
  fields["memory: KV cache"] = bytes_field(plan.kv_bytes, flags.json);
  fields["memory: KV per token"] = flags.json ? Json(model.kv_shape().block_bytes() / kernels::kKvBlockSize)
                                              : Json(std::to_string(model.kv_shape().block_bytes() / kernels::kKvBlockSize) + " bytes");
  fields["memory: step scratch"] = bytes_field(plan.scratch_bytes, flags.json);
  fields["memory: adapters"] = bytes_field(plan.adapters_bytes, flags.json);
  fields["memory: total"] = bytes_field(plan.total_bytes(), flags.json);
  fields["adapter targets"] = model.targets().size();
  print_fields(fields, flags.json);
  return ok_status();
}

std::string terms_text(const LinearTerms& terms) {
  std::string text;
  if (terms.own_weight != nullptr) text += "own weight; ";
  if (!terms.scale.empty()) {
    size_t pre = 0, post = 0;
    for (const ScaleTerm& term : terms.scale) {
      pre += term.pre != nullptr;
      post += term.post != nullptr;
    }
    text += std::to_string(terms.scale.size()) + " scale (" + std::to_string(pre) + " pre, " + std::to_string(post) + " post); ";
  }
  for (const LowRankTerm& term : terms.low_rank) {
    char scale[32];
    std::snprintf(scale, sizeof scale, "%.4g", term.scale);
    text += "low rank " + std::to_string(term.rank) + ", scale " + scale + (term.u ? ", u" : "") + (term.v ? ", v" : "") + "; ";
  }
  if (terms.bias != nullptr) text += "bias; ";
  return text.empty() ? "-" : text.substr(0, text.size() - 2);
}

Json module_list(const Adapter& adapter, const TargetTable& targets) {
  Json modules = Json::array();
  for (int32_t i = 0; i < targets.size(); ++i) {
    std::string terms;
    if (const LinearTerms* linear = adapter.linear(i)) terms = terms_text(*linear);
    if (adapter.norm_gain(i) != nullptr) terms = "own gain";
    if (targets[i].kind == TargetKind::kEmbedding && adapter.embedding() != nullptr) terms = "embedding terms";
    if (!terms.empty()) modules.push_back({{"module", targets[i].path}, {"terms", terms}});
  }
  return modules;
}

Status inspect_adapter(const Flags& flags, const Path& dir) {
  ASSIGN_OR_RETURN(const PeftDir folder, PeftDir::read(dir));
  ModelFlags base_flags = flags.model;
  base_flags.model = flags.base;
  ASSIGN_OR_RETURN(const BaseModel base, open_base_model(base_flags));
  const TargetTable& targets = base.model->targets();
  ASSIGN_OR_RETURN(const auto adapter,
                   build_adapter(folder.source(), targets, {.factor_dtype = base.model->factor_dtype()}));
  const Json modules = module_list(*adapter, targets);
  nlohmann::ordered_json fields;
  fields["adapter"] = dir.filename().empty() ? dir.parent_path().filename().string() : dir.filename().string();
  fields["kind"] = std::string(kind_name(folder.spec().peft_type));
  fields["peft_type"] = folder.spec().peft_type;
  fields["base"] = base.name;
  fields["rank_max"] = folder.spec().rank_max();
  fields["row_cost"] = adapter->cost();
  fields["resident_bytes"] = adapter->bytes();
  fields["tensors"] = folder.source().tensors.size();
  if (adapter->vocabulary() > 0) fields["vocabulary"] = adapter->vocabulary();
  fields["modules_changed"] = modules.size();
  fields["warnings"] = adapter->report().warnings;
  if (flags.json) fields["modules"] = nlohmann::ordered_json(modules);
  print_fields(fields, flags.json);
  if (!flags.json) {
    for (const Json& module : modules) {
      std::cout << "  " << printable(module["module"].get<std::string>(), kPrintableNameMax) << "  " << module["terms"].get<std::string>() << "\n";
    }
  }
  return ok_status();
}

Json sum_json(const AdapterSum& sum) {
  Json adapters = Json::array();
  for (const AdapterSize& size : sum.adapters) {
    Json one{{"name", size.name}, {"kind", size.kind}, {"rank_max", size.rank_max}, {"row_cost", size.row_cost},
             {"resident_bytes", size.resident_bytes}, {"file_bytes", size.file_bytes}};
    if (!size.error.empty()) one["error"] = size.error;
    adapters.push_back(std::move(one));
  }
  return {{"adapters", adapters},
          {"usable", sum.usable},
          {"failed", sum.adapters.size() - sum.usable},
          {"resident_bytes", sum.resident_bytes},
          {"largest_bytes", sum.largest_bytes}};
}

Status inspect_adapters(const Flags& flags, const Path& dir) {
  ModelFlags base_flags = flags.model;
  base_flags.model = flags.base;
  ASSIGN_OR_RETURN(const BaseModel base, open_base_model(base_flags));
  ASSIGN_OR_RETURN(const AdapterSum sum, sum_adapters(base, dir));
  if (flags.json) {
    Json json = sum_json(sum);
    json["base"] = base.name;
    std::cout << json.dump(2) << "\n";
    return ok_status();
  }
  Table table({"adapter", "kind", "rank", "row cost", "in memory", "file"});
  for (const AdapterSize& size : sum.adapters) {
    if (!size.error.empty()) continue;
    table.add({size.name, size.kind, std::to_string(size.rank_max), std::to_string(size.row_cost),
               mebibytes(size.resident_bytes), mebibytes(size.file_bytes)});
  }
  if (sum.usable > 0) std::cout << table.text();
  for (const AdapterSize& size : sum.adapters) {
    if (!size.error.empty()) std::cout << size.name << ": cannot be used: " << size.error << "\n";
  }
  std::cout << sum.usable << " of " << sum.adapters.size() << " adapters on " << base.name << " take "
            << mebibytes(sum.resident_bytes) << " in memory, the largest " << mebibytes(sum.largest_bytes)
            << " (--adapter-bytes " << sum.resident_bytes << " keeps all of them resident)\n";
  return ok_status();
}

Status run_inspect(const Flags& flags) {
  std::error_code error;
  const Path dir = flags.model.model;
  if (std::filesystem::exists(dir / kAdapterConfigName, error)) return inspect_adapter(flags, dir);
  const bool model = !std::filesystem::is_directory(dir, error) || std::filesystem::exists(dir / "config.json", error);
  if (!model && holds_adapters(dir)) return inspect_adapters(flags, dir);
  return inspect_model(flags);
}

}  // namespace

void add_inspect(CLI::App& program, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = program.add_subcommand("inspect", "what a model, an adapter or a folder of adapters holds and costs");
  flags->model.declare(*verb);
  flags->engine.declare(*verb);
  verb->add_option("--base", flags->base, "for an adapter: the base it is applied to")->capture_default_str();
  verb->add_flag("--json", flags->json, "JSON for machines");
  verb->footer(kFooter);
  verb->callback([flags, &run] { run = [flags] { return finish(run_inspect(*flags)); }; });
}

}  // namespace umbel::apps
