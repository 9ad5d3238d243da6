// The folder of a finished adapter: PEFT files (of full training: a Hugging Face checkpoint), README.md (the card),
// chat_template.jinja.
#pragma once

#include <optional>
#include <string>

#include "base/status.h"
#include "io/json.h"
#include "train/run_events.h"
#include "train/run_spec.h"
#include "train/trainable.h"

namespace umbel {

// What a card tells.
struct CardFacts {
  const JobPlan& plan;
  const JobOutcome& outcome;
  std::string base_name;
  std::string base_dtype;
  int64_t rows = 0, trained_tokens = 0, skipped_rows = 0, eval_rows = 0;
  int64_t modules = 0, trained_values = 0;
  std::string version;   // of the program
  std::string command;   // as typed; may be empty
};

// Markdown with the YAML block that model hubs read (base_model, library_name, tags). Strangers' texts (names, paths, the command)
// are quoted so that they end neither the block, nor a table's row, nor a code block.
std::string adapter_card(const CardFacts& facts);

// Writes everything into OUT/.incoming first, then renames file by file into OUT, adapter_config.json last: a running server sees
// the adapter when it is complete, and a full disk leaves an earlier adapter in OUT as it was. Empty chat_template = none, and
// one of an earlier adapter is removed.
Status write_adapter_folder(const Path& out, const TrainableAdapter& adapter, const std::string& card, const std::string& chat_template);

// Whether a folder can be written there at all: makes it. Asked before anything is computed.
Status make_adapter_folder(const Path& out, const std::string& what);

}  // namespace umbel
