#include "data/row_format.h"

#include <algorithm>
#include <array>
#include <utility>

#include "data/chat_messages.h"
#include "data/chat_turn.h"

namespace umbel::data {
namespace {

constexpr std::array<std::pair<RowFormat, const char*>, 7> kFormatNames = {{{RowFormat::kAuto, "auto"},
                                                                            {RowFormat::kPromptCompletion, "prompt-completion"},
                                                                            {RowFormat::kMessages, "messages"},
                                                                            {RowFormat::kAlpaca, "alpaca"},
                                                                            {RowFormat::kShareGpt, "sharegpt"},
                                                                            {RowFormat::kText, "text"},
                                                                            {RowFormat::kTemplate, "template"}}};

Result<std::string> text_field(const OrderedJson& row, const char* name) {
  const auto found = row.find(name);
  if (found == row.end() || found->is_null()) return invalid_argument("field \"" + std::string(name) + "\" is missing");
  if (!found->is_string()) return invalid_argument("field \"" + std::string(name) + "\" must be a text, not " + found->type_name());
  return found->get<std::string>();
}

// Stanford's text. A system text stands in the place of its first sentences; earlier turns stand before the last one.
std::string alpaca_turn(const std::string& instruction, const std::string& input) {
  return "### Instruction:\n" + instruction + "\n\n" + (input.empty() ? "" : "### Input:\n" + input + "\n\n") + "### Response:\n";
}

std::string alpaca_preamble(const std::string& input) {
  return input.empty()
      ? "Below is an instruction that describes a task. Write a response that appropriately completes the request."
      : "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
        "response that appropriately completes the request.";
}

OrderedJson field_or_null(const OrderedJson& row, const char* name) {
  const auto found = row.find(name);
  return found == row.end() ? OrderedJson(nullptr) : *found;
}

// A text, or "" where the field is absent, null or empty.
Result<std::string> text_or_empty(const OrderedJson& row, const char* name) {
  return field_or_null(row, name).is_null() ? Result<std::string>(std::string()) : text_field(row, name);
}

Result<std::string> alpaca_prompt(const OrderedJson& row) {
  ASSIGN_OR_RETURN(const std::string instruction, text_field(row, "instruction"));
  ASSIGN_OR_RETURN(const std::string input, text_or_empty(row, "input"));
  ASSIGN_OR_RETURN(const std::string system, text_or_empty(row, "system"));
  std::string prompt = (system.empty() ? alpaca_preamble(input) : system) + "\n\n";
  ASSIGN_OR_RETURN(const OrderedJson history, read_list(field_or_null(row, "history"), "history"));
  for (const OrderedJson& pair : history) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string()) {
      return invalid_argument("field \"history\" must be a list of pairs [question, answer]");
    }
    prompt += alpaca_turn(pair[0].get<std::string>(), "") + pair[1].get<std::string>() + "\n\n";
  }
  return prompt + alpaca_turn(instruction, input);
}

bool has_turns(const OrderedJson& row, const char* name) { return row.contains(name) && row[name].is_array(); }

// Prompt and completion as lists of messages.
bool is_conversational(const OrderedJson& row, RowFormat format) {
  if (format == RowFormat::kMessages || format == RowFormat::kShareGpt) return true;
  return format == RowFormat::kPromptCompletion && has_turns(row, "prompt") && (has_turns(row, "completion") || !row.contains("completion"));
}

std::vector<std::string> fields_of(RowFormat format) {
  switch (format) {
    case RowFormat::kPromptCompletion: return {"prompt", "completion", "tools"};
    case RowFormat::kMessages: return {"messages", "tools", "system"};
    case RowFormat::kAlpaca: return {"instruction", "input", "output", "system", "history"};
    case RowFormat::kShareGpt: return {"conversations", "tools", "system"};
    case RowFormat::kText: return {"text"};
    case RowFormat::kAuto:
    case RowFormat::kTemplate: return {};
  }
  return {};
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

std::vector<std::string> template_warnings(const DatasetOptions& options) {
  std::vector<std::string> warnings = backslash_warnings(options.prompt_template, "template");
  for (std::string& more : backslash_warnings(options.completion_template, "completion")) warnings.push_back(std::move(more));
  return warnings;
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

std::vector<std::string> RowEncoder::unread_fields(const OrderedJson& row, RowFormat format) const {
  const std::vector<std::string> read = format == RowFormat::kTemplate ? template_fields() : fields_of(format);
  std::vector<std::string> unread;
  for (const auto& [name, value] : row.items()) {
    const bool empty = value.is_null() || (value.is_string() && value.get_ref<const std::string&>().empty());
    const auto reads = [&](const std::string& field) { return field == name || field.starts_with(name + "."); };
    if (!empty && std::none_of(read.begin(), read.end(), reads)) unread.push_back(name);
  }
  return unread;
}

Result<Example> RowEncoder::encode_pair(const std::string& prompt, const std::string& completion) const {
  ASSIGN_OR_RETURN(const Continuation row, encode_continuation(tokenizer_, prompt, completion, Specials::kAdd));
  Example example;
  for (size_t i = 0; i < row.tokens.size(); ++i) {
    example.tokens.push_back(row.tokens[i].id);
    example.trained.push_back(i >= row.prompt_tokens ? 1 : 0);
  }
  if (eos_ >= 0 && (row.tokens.size() == row.prompt_tokens || row.tokens.back().id != eos_)) {
    example.tokens.push_back(eos_);
    example.trained.push_back(1);
  }
  return example;
}

Result<Example> RowEncoder::encode_text(const std::string& text) const {
  if (text.empty()) return invalid_argument("field \"text\" is empty");
  ASSIGN_OR_RETURN(const std::vector<TokenSpan> tokens, encode_beginning(tokenizer_, text, Specials::kAdd));
  Example example;
  for (const TokenSpan& token : tokens) example.tokens.push_back(token.id);
  if (eos_ >= 0 && (example.tokens.empty() || example.tokens.back() != eos_)) example.tokens.push_back(eos_);
  example.trained.assign(example.tokens.size(), 1);
  return example;
}

Result<RowEncoder::Pair> RowEncoder::read_pair(const OrderedJson& row, RowFormat format, Completion needed) const {
  Pair pair;
  const char* answer = format == RowFormat::kAlpaca ? "output" : "completion";
  if (format == RowFormat::kTemplate) {
    CHECK(prompt_ && completion_, "the encoder was made for templates");
    ASSIGN_OR_RETURN(pair.prompt, prompt_->fill(row));
    auto completion = completion_->fill(row);
    if (!completion.ok() && needed == Completion::kNeeded) return completion.status();
    if (completion.ok()) pair.completion = *std::move(completion);
    return pair;
  }
  ASSIGN_OR_RETURN(pair.prompt, format == RowFormat::kAlpaca ? alpaca_prompt(row) : text_field(row, "prompt"));
  if (needed == Completion::kNeeded || !field_or_null(row, answer).is_null()) {
    ASSIGN_OR_RETURN(pair.completion, text_field(row, answer));
  }
  return pair;
}

Result<Conversation> RowEncoder::read_conversation(const OrderedJson& row, RowFormat format) const {
  Conversation conversation{.length_max = length_max_};
  ASSIGN_OR_RETURN(conversation.tools, read_tools(row));
  const OrderedJson system = field_or_null(row, "system");
  if (format != RowFormat::kPromptCompletion) {
    const char* field = format == RowFormat::kMessages ? "messages" : "conversations";
    if (!row.contains(field)) return invalid_argument("field \"" + std::string(field) + "\" is missing");
    ASSIGN_OR_RETURN(conversation.messages, read_messages(row[field], field, system));
    return conversation;
  }
  ASSIGN_OR_RETURN(conversation.messages, read_messages(row["prompt"], "prompt", system));
  conversation.first_trained = conversation.messages.size();
  if (!row.contains("completion")) return conversation;
  ASSIGN_OR_RETURN(const OrderedJson completion, read_messages(row["completion"], "completion"));
  for (const OrderedJson& turn : completion) conversation.messages.push_back(turn);
  return conversation;
}

Result<ConversationRows> RowEncoder::encode(const OrderedJson& row, RowFormat format) const {
  if (!row.is_object()) return invalid_argument("a row is a JSON object");
  if (format == RowFormat::kAuto) {
    ASSIGN_OR_RETURN(format, detect_format(row));
  }
  if (is_conversational(row, format) && (format != RowFormat::kPromptCompletion || row.contains("completion"))) {
    ASSIGN_OR_RETURN(const Conversation conversation, read_conversation(row, format));
    return encode_conversation(conversation, tokenizer_, chat_template_);
  }
  ConversationRows rows;
  if (format == RowFormat::kText) {
    ASSIGN_OR_RETURN(const std::string text, text_field(row, "text"));
    ASSIGN_OR_RETURN(Example example, encode_text(text));
    rows.examples.push_back(std::move(example));
    return rows;
  }
  ASSIGN_OR_RETURN(const Pair pair, read_pair(row, format, Completion::kNeeded));
  ASSIGN_OR_RETURN(Example example, encode_pair(pair.prompt, *pair.completion));
  rows.examples.push_back(std::move(example));
  return rows;
}

Result<RowQuestion> RowEncoder::ask(const OrderedJson& row, RowFormat format) const {
  if (!row.is_object()) return invalid_argument("a row is a JSON object");
  if (format == RowFormat::kText) {
    ASSIGN_OR_RETURN(const std::string text, text_field(row, "text"));
    if (text.empty()) return invalid_argument("field \"text\" is empty");
    return RowQuestion{"", Specials::kAdd, text, text};
  }
  if (!is_conversational(row, format)) {
    ASSIGN_OR_RETURN(Pair pair, read_pair(row, format, Completion::kOptional));
    return RowQuestion{std::move(pair.prompt), Specials::kAdd, pair.completion, pair.completion.value_or("")};
  }
  if (chat_template_ == nullptr) {
    return invalid_argument("rows of messages need a chat template, and the base has none (chat_template.jinja or tokenizer_config.json)");
  }
  ASSIGN_OR_RETURN(const Conversation conversation, read_conversation(row, format));
  const OrderedJson& messages = conversation.messages;
  RowQuestion question{.specials = Specials::kWritten};
  if (messages.back()["role"] != "assistant") {
    ASSIGN_OR_RETURN(question.prompt, prompt_of(messages, conversation.tools, messages.size(), *chat_template_));
    return question;
  }
  ASSIGN_OR_RETURN(ChatTurn turn, render_turn(messages, conversation.tools, messages.size() - 1, *chat_template_));
  question.prompt = std::move(turn.prompt);
  question.turn = std::move(turn.answer);
  question.completion = messages.back().contains("content") ? messages.back()["content"].get<std::string>() : question.turn;
  return question;
}

}  // namespace umbel::data
