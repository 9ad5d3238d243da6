#include "train/row_format.h"

#include <algorithm>
#include <array>
#include <utility>

#include "train/chat_rows.h"

namespace umbel {
namespace {

constexpr std::array<std::pair<RowFormat, const char*>, 7> kFormatNames = {{{RowFormat::kAuto, "auto"},
                                                                            {RowFormat::kPromptCompletion, "prompt-completion"},
                                                                            {RowFormat::kMessages, "messages"},
                                                                            {RowFormat::kAlpaca, "alpaca"},
                                                                            {RowFormat::kShareGpt, "sharegpt"},
                                                                            {RowFormat::kText, "text"},
                                                                            {RowFormat::kTemplate, "template"}}};

void append(Example& example, const std::vector<TokenId>& ids, bool trained) {
  example.tokens.insert(example.tokens.end(), ids.begin(), ids.end());
  example.trained.insert(example.trained.end(), ids.size(), trained ? 1 : 0);
}

Result<std::string> text_field(const OrderedJson& row, const char* name) {
  const auto found = row.find(name);
  if (found == row.end() || found->is_null()) return invalid_argument("field \"" + std::string(name) + "\" is missing");
  if (!found->is_string()) return invalid_argument("field \"" + std::string(name) + "\" must be a text, not " + found->type_name());
  return found->get<std::string>();
}

std::string alpaca_prompt(const std::string& instruction, const std::string& input) {
  std::string prompt = input.empty()
      ? "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
      : "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
        "response that appropriately completes the request.\n\n";
  prompt += "### Instruction:\n" + instruction + "\n\n";
  if (!input.empty()) prompt += "### Input:\n" + input + "\n\n";
  return prompt + "### Response:\n";
}

OrderedJson field_or_null(const OrderedJson& row, const char* name) {
  const auto found = row.find(name);
  return found == row.end() ? OrderedJson(nullptr) : *found;
}

// What templates print as tools: a list with something in it, else null.
OrderedJson tools_of(const OrderedJson& row) {
  OrderedJson tools = field_or_null(row, "tools");
  return tools.is_array() && !tools.empty() ? tools : OrderedJson(nullptr);
}

}  // namespace

Result<RowFormat> parse_row_format(const std::string& name) {
  std::string known;
  for (const auto& [format, text] : kFormatNames) {
    if (name == text) return format;
    known += (known.empty() ? "" : ", ") + std::string(text);
  }
  return invalid_argument("there is no row format \"" + name + "\"; the formats are " + known);
}

std::string row_format_name(RowFormat format) {
  for (const auto& [known, text] : kFormatNames) {
    if (known == format) return text;
  }
  return "";
}

Result<RowFormat> detect_format(const OrderedJson& row) {
  if (!row.is_object()) return invalid_argument("a row is a JSON object");
  if (row.contains("prompt") && row.contains("completion")) return RowFormat::kPromptCompletion;
  if (row.contains("messages")) return RowFormat::kMessages;
  if (row.contains("instruction") && row.contains("output")) return RowFormat::kAlpaca;
  if (row.contains("conversations")) return RowFormat::kShareGpt;
  if (row.contains("text") && row["text"].is_string() && !row.contains("prompt") && !row.contains("completion")) return RowFormat::kText;
  return invalid_argument("a row needs \"prompt\" and \"completion\", or \"messages\", or \"instruction\" and \"output\", or "
                          "\"conversations\", or \"text\"; fields of other names need a prompt and a completion template");
}

Result<RowEncoder> RowEncoder::create(const Tokenizer& tokenizer, const ChatTemplate* chat_template, const DatasetOptions& options) {
  RowEncoder encoder(tokenizer, chat_template, options);
  const bool any = !options.prompt_template.empty() || !options.completion_template.empty();
  if (any && options.format != RowFormat::kAuto && options.format != RowFormat::kTemplate) {
    return invalid_argument("templates are for rows of the format \"template\", not \"" + row_format_name(options.format) + "\"");
  }
  if (!any && options.format != RowFormat::kTemplate) return encoder;
  encoder.format_ = RowFormat::kTemplate;
  ASSIGN_OR_RETURN(encoder.prompt_, RowTemplate::parse(options.prompt_template, "prompt template"));
  ASSIGN_OR_RETURN(encoder.completion_, RowTemplate::parse(options.completion_template, "completion template"));
  if (encoder.completion_->fields().empty()) {
    return invalid_argument("the completion template names no field, so nothing would be learnt; write for example \" {answer}\"");
  }
  return encoder;
}

std::vector<std::string> RowEncoder::template_fields() const {
  if (!prompt_) return {};
  std::vector<std::string> fields = prompt_->fields();
  const std::vector<std::string> more = completion_->fields();
  fields.insert(fields.end(), more.begin(), more.end());
  return fields;
}

// Ids of a text that begins a row, with what the tokenizer writes before it, but without what it writes behind it.
Result<std::vector<TokenId>> RowEncoder::begin_ids(const std::string& text) const {
  ASSIGN_OR_RETURN(std::vector<TokenId> ids, tokenizer_.encode(text, /*add_special=*/true));
  if (eos_ < 0 || ids.empty() || ids.back() != eos_) return ids;
  ASSIGN_OR_RETURN(const std::vector<TokenId> plain, tokenizer_.encode(text, /*add_special=*/false));
  const size_t before = tokenizer_.bos() && ids.front() == *tokenizer_.bos() && ids.size() > plain.size() ? 1 : 0;
  ids.resize(std::min(ids.size(), before + plain.size()));
  return ids;
}

Result<Example> RowEncoder::encode_pair(const std::string& prompt, const std::string& completion) const {
  Example example;
  ASSIGN_OR_RETURN(const std::vector<TokenId> prompt_ids, begin_ids(prompt));
  ASSIGN_OR_RETURN(std::vector<TokenId> completion_ids, tokenizer_.encode(completion, /*add_special=*/false));
  if (eos_ >= 0 && (completion_ids.empty() || completion_ids.back() != eos_)) completion_ids.push_back(eos_);
  append(example, prompt_ids, false);
  append(example, completion_ids, true);
  return example;
}

Result<Example> RowEncoder::encode_text(const std::string& text) const {
  if (text.empty()) return invalid_argument("field \"text\" is empty");
  Example example;
  ASSIGN_OR_RETURN(std::vector<TokenId> ids, begin_ids(text));
  if (eos_ >= 0 && (ids.empty() || ids.back() != eos_)) ids.push_back(eos_);
  append(example, ids, true);
  return example;
}

Result<Example> RowEncoder::encode_prompt_completion(const OrderedJson& row) const {
  if (row.contains("prompt") && row["prompt"].is_array() && row.contains("completion") && row["completion"].is_array()) {
    Conversation conversation{.messages = row["prompt"], .tools = tools_of(row), .first_trained = row["prompt"].size()};
    for (const OrderedJson& turn : row["completion"]) conversation.messages.push_back(turn);
    return encode_conversation(conversation, tokenizer_, chat_template_);
  }
  ASSIGN_OR_RETURN(const std::string prompt, text_field(row, "prompt"));
  ASSIGN_OR_RETURN(const std::string completion, text_field(row, "completion"));
  return encode_pair(prompt, completion);
}

Result<Example> RowEncoder::encode(const OrderedJson& row, RowFormat format) const {
  if (!row.is_object()) return invalid_argument("a row is a JSON object");
  switch (format) {
    case RowFormat::kAuto: {
      ASSIGN_OR_RETURN(const RowFormat found, detect_format(row));
      return encode(row, found);
    }
    case RowFormat::kPromptCompletion: return encode_prompt_completion(row);
    case RowFormat::kAlpaca: {
      ASSIGN_OR_RETURN(const std::string instruction, text_field(row, "instruction"));
      ASSIGN_OR_RETURN(const std::string output, text_field(row, "output"));
      if (field_or_null(row, "input").is_null()) return encode_pair(alpaca_prompt(instruction, ""), output);
      ASSIGN_OR_RETURN(const std::string input, text_field(row, "input"));
      return encode_pair(alpaca_prompt(instruction, input), output);
    }
    case RowFormat::kMessages:
      if (!row.contains("messages")) return invalid_argument("field \"messages\" is missing");
      return encode_conversation({.messages = row["messages"], .tools = tools_of(row)}, tokenizer_, chat_template_);
    case RowFormat::kShareGpt: {
      if (!row.contains("conversations")) return invalid_argument("field \"conversations\" is missing");
      const OrderedJson system = field_or_null(row, "system");
      ASSIGN_OR_RETURN(OrderedJson messages, sharegpt_messages(row["conversations"], &system));
      return encode_conversation({.messages = std::move(messages)}, tokenizer_, chat_template_);
    }
    case RowFormat::kText: {
      ASSIGN_OR_RETURN(const std::string text, text_field(row, "text"));
      return encode_text(text);
    }
    case RowFormat::kTemplate: {
      CHECK(prompt_ && completion_, "the encoder was made for templates");
      ASSIGN_OR_RETURN(const std::string prompt, prompt_->fill(row));
      ASSIGN_OR_RETURN(const std::string completion, completion_->fill(row));
      return encode_pair(prompt, completion);
    }
  }
  return internal_error("a row format without an encoder");
}

}  // namespace umbel
