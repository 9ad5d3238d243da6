// Dataset: a file of strangers' rows turned into Examples.
//
// Formats (facts: the peers' data shapes): prompt/completion, messages (chat template; loss on assistant turns only),
// alpaca (instruction, input, output), sharegpt (conversations of from/value). Prompt and completion are tokenised
// apart; BOS stands first once where the tokenizer adds one; the end token is trained.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/json.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "train/example.h"

namespace umbel {

enum class RowFormat : uint8_t { kAuto, kPromptCompletion, kMessages, kAlpaca, kShareGpt };

struct DatasetOptions {
  RowFormat format = RowFormat::kAuto;  // kAuto: decided by the first row's fields
  int64_t length_max = 512;             // tokens; a longer row is cut at its end (completion) or skipped when nothing
                                        // trained would be left
  TokenId eos = -1;                     // trained after a completion; -1 = none

  bool operator==(const DatasetOptions&) const = default;
};

struct Dataset {
  std::vector<Example> examples;
  std::vector<SkippedRow> skipped;
  int64_t trained_tokens = 0;
  int64_t cut_rows = 0;
};

// kInvalidArgument naming file and line for broken JSON or wrong field types in the first row, an empty file, or a set
// with no trained token left. Later unusable rows are reported in skipped.
Result<Dataset> load_dataset(const Path& file, const Tokenizer& tokenizer, const ChatTemplate* chat_template,
                             const DatasetOptions& options);

// One row. The parts of load_dataset, for previews and tests.
Result<RowFormat> detect_format(const Json& row);
Result<Example> encode_row(const Json& row, RowFormat format, const Tokenizer& tokenizer,
                           const ChatTemplate* chat_template, const DatasetOptions& options);

}  // namespace umbel
