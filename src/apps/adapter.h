// umbel adapter: one verb, four sub-verbs; each has a file of its own.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "apps/verb.h"
#include "io/new_folder.h"
#include "store/peft_dir.h"

namespace umbel::apps {

void add_adapter_merge(CLI::App& adapter, Run& run);
void add_adapter_convert(CLI::App& adapter, Run& run);
void add_adapter_export(CLI::App& adapter, Run& run);
void add_adapter_diff(CLI::App& adapter, Run& run);

// Configuration and tensors of an adapter folder; errors begin with the folder's name.
struct AdapterFolder {
  Path dir;
  OrderedJson config;
  PeftDir peft;
};
Result<AdapterFolder> open_adapter_folder(const std::string& dir);
// "banking77-lora-r8" for "assets/adapters/banking77-lora-r8/".
std::string adapter_name(const Path& dir);
// The folder's own chat_template.jinja, "" when it has none.
std::string own_chat_template(const Path& dir);

inline Existing existing_of(bool force) { return force ? Existing::kReplace : Existing::kRefuse; }

}  // namespace umbel::apps
