// Workshop: a base model with its adapter library and a running engine, for the verbs that compute answers.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "apps/base_model.h"
#include "engine/engine.h"
#include "store/library.h"

namespace umbel::apps {

struct EngineFlags {
  std::string adapters;  // folder of adapters
  size_t adapter_bytes = size_t{1} << 30;
  size_t kv_bytes = 0;
  int context = 0;
  int sequences = 64;
  int step_tokens = 512;
  int chunk = 512;
  int queue = 1024;
  bool no_prefix_cache = false;

  void declare(CLI::App& verb);
};

// Members in order of life: the engine goes first.
struct Workshop {
  BaseModel base;
  std::unique_ptr<AdapterLibrary> library;
  MemoryPlan plan;
  std::unique_ptr<Engine> engine;
};

// watch: whether the adapters folder is watched for changes.
Result<Workshop> open_workshop(const ModelFlags& model, const EngineFlags& engine, bool watch);

// --adapter X: a name inside --adapters, or a folder of its own; then flags.adapters becomes its parent. "" = base.
Result<std::string> resolve_adapter_flag(const std::string& adapter, EngineFlags& flags);

// The adapter of that name, "" or the base's own name = none.
Result<AdapterRef> find_adapter(Workshop& workshop, const std::string& name);

}  // namespace umbel::apps
