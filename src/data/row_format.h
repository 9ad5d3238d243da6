// RowEncoder: one row of a known shape as Examples (facts about shapes: the peers' data formats).
//
// Prompt and completion are one text whose prompt has the ids that inference sends (continuation.h). BOS stands first once
// where the tokenizer adds one; a chat template writes its own. The end token is trained, once, behind every completion and
// text; a chat template says itself what ends a turn.
#pragma once

#include <optional>

#include "base/status.h"
#include "data/chat_rows.h"
#include "data/continuation.h"
#include "data/dataset_options.h"
#include "data/example.h"
#include "data/row_template.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace umbel::data {

// Never kAuto. kInvalidArgument, naming what is known, for a row of no known shape.
Result<RowFormat> detect_format(const OrderedJson& row);

// Of both templates; empty where there are none.
std::vector<std::string> template_warnings(const DatasetOptions& options);

// A row as a question with its answer, for who asks instead of training. The answer of a conversation is its last turn, when
// that is the assistant's.
struct RowQuestion {
  std::string prompt;                     // text that inference sends
  Specials specials = Specials::kAdd;     // how it is tokenised
  std::optional<std::string> completion;  // expected text, without an end; absent where the row has none
  std::string turn;                       // what stands behind the prompt in training: completion, or the turn with its end
};

// Immutable; any thread. The tokenizer and the template (null = none) outlive it.
class RowEncoder {
 public:
  // kInvalidArgument for templates with stray braces, or given for another format.
  static Result<RowEncoder> create(const Tokenizer& tokenizer, const ChatTemplate* chat_template, const DatasetOptions& options);

  // Not cut (but turns beyond options.length_max are left out, and counted), nor checked for trained tokens. One example; a
  // conversation may have more (chat_rows.h). Reasons name the field.
  Result<ConversationRows> encode(const OrderedJson& row, RowFormat format) const;
  // A row of text is the completion of an empty prompt. kPromptCompletion needs no completion here.
  Result<RowQuestion> ask(const OrderedJson& row, RowFormat format) const;
  // What options say, kTemplate where there are templates.
  RowFormat format() const { return format_; }
  // Fields that the templates read.
  std::vector<std::string> template_fields() const;
  // Fields of a row that this format does not read.
  std::vector<std::string> unread_fields(const OrderedJson& row, RowFormat format) const;

 private:
  enum class Completion : uint8_t { kNeeded, kOptional };
  struct Pair {
    std::string prompt;
    std::optional<std::string> completion;
  };

  RowEncoder(const Tokenizer& tokenizer, const ChatTemplate* chat_template, const DatasetOptions& options)
      : tokenizer_(tokenizer), chat_template_(chat_template), eos_(options.eos), length_max_(options.length_max), format_(options.format) {}
  Result<Pair> read_pair(const OrderedJson& row, RowFormat format, Completion completion) const;
  Result<Conversation> read_conversation(const OrderedJson& row, RowFormat format) const;
  Result<Example> encode_pair(const std::string& prompt, const std::string& completion) const;
  Result<Example> encode_text(const std::string& text) const;

  const Tokenizer& tokenizer_;
  const ChatTemplate* chat_template_;
  TokenId eos_;
  int64_t length_max_;
  RowFormat format_;
  std::optional<RowTemplate> prompt_, completion_;
};

}  // namespace umbel::data
