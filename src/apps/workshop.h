// Workshop: a base model with its adapter library and a running engine, for the verbs that compute answers.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "apps/base_model.h"
#include "engine/engine.h"
#include "store/library.h"
#include "text/text_files.h"
#include "text/tokenizer.h"

namespace umbel::apps {

struct EngineFlags {
  std::string adapters;             // folder of adapters
  std::vector<std::string> only;    // of these, the ones that the verb needs; empty = all
  std::string adapter_links_root;   // what links in adapters' folders may lead to; "" = links are refused
  std::string rank_max;             // "" = the defaults of store/rank_limits.h
  size_t adapter_bytes = size_t{1} << 30;
  size_t kv_bytes = 0;
  int context = 0;
  int sequences = 64;
  int step_tokens = 512;
  int chunk = 512;
  int queue = 1024;
  int adapter_vocab_extra = Limits().adapter_vocab_extra;
  int tenant_running = 0;  // caps; 0 = none
  int tenant_queue = 0;
  int adapter_running = 0;
  int adapter_queue = 0;
  bool no_prefix_cache = false;
  int keep_versions = 0;   // of each adapter, beside the one that answers
  std::vector<std::string> base_names;  // further names of the base: no adapter may have them

  void declare(CLI::App& verb);
  // Where many ask: limits of one tenant and of one adapter.
  void declare_caps(CLI::App& verb);
};

// Members in order of life: the engine goes first.
struct Workshop {
  BaseModel base;
  std::unique_ptr<AdapterLibrary> library;
  MemoryPlan plan;
  std::unique_ptr<Engine> engine;
  std::map<std::string, std::shared_ptr<const Tokenizer>> tokenizers;  // of adapters, as far as tokenizer_of() was asked
};

// watch: whether the adapters folder is watched for changes.
Result<Workshop> open_workshop(const ModelFlags& model, const EngineFlags& engine, bool watch);

// kInvalidArgument when DIR (of --adapters) is an adapter itself.
Status check_adapters_flag(const std::string& dir);
// Ids below rows that no token has: an embedding may have more rows than its tokenizer has tokens (Phi-2).
std::vector<int32_t> tokenless_ids(const Tokenizer& tokenizer, int64_t rows);

// --adapter X: a name inside --adapters, or a folder of its own; then flags.adapters becomes its parent and nothing else in
// it is read. "" = base.
Result<std::string> resolve_adapter_flag(const std::string& adapter, EngineFlags& flags);

// The adapter of that name, "" or the base's own name = none.
Result<AdapterRef> find_adapter(Workshop& workshop, const std::string& name);

// The base's tokenizer, or the one that the adapter's folder makes of it (text/adapter_tokenizer.h). "" = the base.
Result<std::shared_ptr<const Tokenizer>> tokenizer_of(Workshop& workshop, const std::string& adapter);
Result<std::shared_ptr<const Tokenizer>> tokenizer_of(const BaseModel& base, const TextFiles& adapter);

}  // namespace umbel::apps
