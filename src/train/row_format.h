// RowEncoder: one row of a known shape as an Example (facts about shapes: the peers' data formats).
//
// Prompt and completion are tokenised apart. BOS stands first once where the tokenizer adds one; a chat template writes its
// own. The end token is trained, once, behind every completion and text; a chat template says itself what ends a turn.
#pragma once

#include <optional>

#include "base/status.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "train/dataset_options.h"
#include "train/example.h"
#include "train/row_template.h"

namespace umbel {

// Never kAuto. kInvalidArgument, naming what is known, for a row of no known shape.
Result<RowFormat> detect_format(const OrderedJson& row);

// Immutable; any thread. The tokenizer and the template (null = none) outlive it.
class RowEncoder {
 public:
  // kInvalidArgument for templates with stray braces, or given for another format.
  static Result<RowEncoder> create(const Tokenizer& tokenizer, const ChatTemplate* chat_template, const DatasetOptions& options);

  // As long as the row is: neither cut nor checked for trained tokens. Reasons name the field.
  Result<Example> encode(const OrderedJson& row, RowFormat format) const;
  // What options say, kTemplate where there are templates.
  RowFormat format() const { return format_; }
  // Fields that the templates read.
  std::vector<std::string> template_fields() const;

 private:
  RowEncoder(const Tokenizer& tokenizer, const ChatTemplate* chat_template, const DatasetOptions& options)
      : tokenizer_(tokenizer), chat_template_(chat_template), eos_(options.eos), format_(options.format) {}
  Result<std::vector<TokenId>> begin_ids(const std::string& text) const;
  Result<Example> encode_pair(const std::string& prompt, const std::string& completion) const;
  Result<Example> encode_text(const std::string& text) const;
  Result<Example> encode_prompt_completion(const OrderedJson& row) const;

  const Tokenizer& tokenizer_;
  const ChatTemplate* chat_template_;
  TokenId eos_;
  RowFormat format_;
  std::optional<RowTemplate> prompt_, completion_;
};

}  // namespace umbel
