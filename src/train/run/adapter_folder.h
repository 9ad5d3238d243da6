// The folder of a finished adapter: PEFT files (of full training: a Hugging Face checkpoint), README.md (the card),
// chat_template.jinja, generation_config.json where its answers end otherwise than the base's.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/json.h"
#include "text/tokenizer.h"
#include "train/job/run_spec.h"
#include "train/kinds/trainable.h"
#include "train/report/run_events.h"

namespace umbel::train {

// What a card tells.
struct CardFacts {
  const JobPlan& plan;
  const JobOutcome& outcome;
  std::string arm;  // the job's own name, where the plan has its sweep's
  std::string base_name;
  std::string base_dtype;
  int64_t rows = 0, trained_tokens = 0, skipped_rows = 0, eval_rows = 0;
  data::RowFormat format = data::RowFormat::kAuto;  // of the rows
  std::vector<std::string> other_ends;  // tokens that end turns, and not the base's answers
  int64_t modules = 0, trained_values = 0;
  DefaultTargets defaults = {};  // the base's
  std::string version;   // of the program
  std::string command;   // as typed; may be empty
};

// Markdown with the YAML block that model hubs read (base_model, library_name, tags). Strangers' texts (names, paths, the command)
// are quoted so that they end neither the block, nor a table's row, nor a code block.
std::string adapter_card(const CardFacts& facts);

struct FolderTexts {
  std::string card;
  std::string chat_template;     // empty = none
  std::string prompt_file;       // umbel_prompt.json (data/prompt_file.h)
  std::vector<TokenId> end_ids;  // into generation_config.json's eos_token_id; empty = as the base's
};

// Writes everything into OUT/.incoming first, then renames file by file into OUT, adapter_config.json last: a running server sees
// the adapter when it is complete, and a full disk leaves an earlier adapter in OUT as it was. A text that is not
// written this time is removed with the earlier adapter.
Status write_adapter_folder(const Path& out, const TrainableAdapter& adapter, const FolderTexts& texts);

// Whether a folder can be written there at all: makes it. Asked before anything is computed.
Status make_adapter_folder(const Path& out, const std::string& what);

}  // namespace umbel::train
