// DatasetOptions: how rows of a file become examples. Plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "text/tokenizer.h"

namespace umbel::data {

// Shapes of rows. A row is a JSON object, or a CSV record whose header names the fields.
enum class RowFormat : uint8_t {
  kAuto,              // decided by the fields of the first row that has known ones
  kPromptCompletion,  // prompt, completion: texts, or lists of messages
  kMessages,          // messages: [{role, content}], tools (optional)
  kAlpaca,            // instruction, input (optional), output
  kShareGpt,          // conversations: [{from, value}]
  kText,              // text: every token is trained
  kTemplate,          // prompt_template and completion_template filled with the row's fields
};

// "auto", "prompt-completion", "messages", "alpaca", "sharegpt", "text", "template".
Result<RowFormat> parse_row_format(const std::string& name);
std::string row_format_name(RowFormat format);  // "" behind the last one

struct DatasetOptions {
  RowFormat format = RowFormat::kAuto;
  // Tokens of a row; a longer one is cut at its end, or skipped when nothing trained would be left. The last token is only
  // predicted, so a base with a context of n can take n + 1.
  int64_t length_max = 512;
  TokenId eos = -1;  // trained after a completion or a text; -1 = none

  // kTemplate: {field} stands for the row's field, {{ and }} for braces, \n for a line break (row_template.h). Not empty = the format is kTemplate.
  std::string prompt_template;
  std::string completion_template;

  // Of .csv and .tsv files without a header: the names of their columns (table_source.h).
  std::vector<std::string> columns;

  // kText only: texts are joined, an end token behind each, and cut into windows of length_max tokens. A window begins
  // with the last token of the one before it, so that every token is predicted once. Attention runs across texts.
  bool join = false;
  // Several examples count as one unit of the batch: as many as fit into length_max tokens (best fit). A step of n rows
  // then takes n units, so it trains on more tokens; no example sees another one, and no token is padding.
  bool pack = false;

  double unusable_share_max = 0.5;  // a file with more rows that can't be used is refused
  int threads = 0;                  // of tokenising; 0 = all usable CPUs. The result does not depend on it
  std::string cache_dir;            // tokenised files are kept in cache_dir/datasets; "" = no cache
  uint64_t cache_bytes_max = uint64_t{8} << 30;  // of all kept files; the least recently used ones go first

  bool operator==(const DatasetOptions&) const = default;
};

}  // namespace umbel::data
