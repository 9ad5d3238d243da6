// BaseModel: everything that a model folder holds, opened together: weights, tokenizer, chat template, defaults.
//
// Flags are shared by all verbs that need a model; ModelFlags says which. Immutable after open.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "base/status.h"
#include "kernels/choice.h"
#include "models/generation_config.h"
#include "models/model.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace umbel::apps {

struct ModelFlags {
  std::string model = "seedling";
  std::string dtype = "auto";
  std::string isa = "auto";
  std::string arithmetic = "auto";
  bool random_weights = false;  // config.json and tokenizer are enough: weights are drawn (for full training from scratch)
  int threads = 0;  // 0 = all CPUs this process may use
  std::string log_level = "warn";

  // option: how the model is named on the command line (a positional name, or "--base").
  void declare(CLI::App& verb, const std::string& option = "MODEL");
};

struct BaseModel {
  Path dir;
  std::string name;  // the folder's name
  kernels::Choice choice;
  int threads = 1;
  std::shared_ptr<const Model> model;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const ChatTemplate> chat_template;  // null: the checkpoint has none
  GenerationConfig generation;
};

// "seedling" is the base that comes along: $UMBEL_ASSETS, or assets/ beside the program, its build folder or its
// installation. Anything else is a folder. kNotFound with the remedy.
Result<Path> find_model(const std::string& name);
// The folder that holds the ten adapters on seedling, found the same way.
Result<Path> find_assets();

Result<BaseModel> open_base_model(const ModelFlags& flags);
// weights_fingerprint() of the files that the base was loaded from.
Result<std::string> base_fingerprint(const BaseModel& base);

}  // namespace umbel::apps
