#include "train/dataset.h"

#include <algorithm>

namespace umbel {
namespace {

constexpr size_t kFileBytesMax = size_t{4} << 30;

void append(Example& example, const std::vector<TokenId>& ids, bool trained) {
  example.tokens.insert(example.tokens.end(), ids.begin(), ids.end());
  example.trained.insert(example.trained.end(), ids.size(), trained ? 1 : 0);
}

Result<Example> encode_pair(const std::string& prompt, const std::string& completion, const Tokenizer& tokenizer,
                            const DatasetOptions& options) {
  Example example;
  ASSIGN_OR_RETURN(const std::vector<TokenId> prompt_ids, tokenizer.encode(prompt, /*add_special=*/true));
  ASSIGN_OR_RETURN(const std::vector<TokenId> completion_ids, tokenizer.encode(completion, /*add_special=*/false));
  append(example, prompt_ids, false);
  append(example, completion_ids, true);
  if (options.eos >= 0) append(example, {options.eos}, true);
  return example;
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

// The byte ranges of `text` that the assistant said: the template's own {% generation %} spans, else what every
// assistant turn adds to the conversation rendered up to it.
Result<std::vector<ChatText::Span>> assistant_spans(const Json& messages, const ChatTemplate& chat_template, const ChatText& whole) {
  if (!whole.generation.empty()) return whole.generation;
  std::vector<ChatText::Span> spans;
  for (size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].value("role", "") != "assistant") continue;
    const auto prefix_of = [&](size_t count, bool generation_prompt) {
      Json head = Json::array();
      for (size_t k = 0; k < count; ++k) head.push_back(messages[k]);
      return chat_template.render({.messages = head, .add_generation_prompt = generation_prompt});
    };
    ASSIGN_OR_RETURN(const ChatText before, prefix_of(i, true));
    ASSIGN_OR_RETURN(const ChatText after, prefix_of(i + 1, false));
    if (!whole.text.starts_with(before.text) || !whole.text.starts_with(after.text)) {
      return unsupported("this chat template writes earlier turns differently once later ones exist, so the assistant's text "
                         "cannot be told apart; use a template with {% generation %} blocks");
    }
    spans.push_back({before.text.size(), after.text.size()});
  }
  return spans;
}

Result<Example> encode_messages(const Json& messages, const Tokenizer& tokenizer, const ChatTemplate* chat_template) {
  if (chat_template == nullptr) return invalid_argument("rows of messages need a chat template, and the base has none");
  if (!messages.is_array() || messages.empty()) return invalid_argument("field \"messages\" must be a list of turns");
  for (const Json& turn : messages) {
    if (!turn.is_object() || !turn.contains("role") || !turn["role"].is_string()) return invalid_argument("a turn needs a \"role\"");
  }
  ASSIGN_OR_RETURN(const ChatText whole, chat_template->render({.messages = messages, .add_generation_prompt = false}));
  ASSIGN_OR_RETURN(const auto spans, assistant_spans(messages, *chat_template, whole));
  ASSIGN_OR_RETURN(const std::vector<TokenSpan> tokens, tokenizer.encode_spans(whole.text, /*add_special=*/false));
  Example example;
  for (const TokenSpan& token : tokens) {
    const bool inside = std::any_of(spans.begin(), spans.end(), [&](const ChatText::Span& span) {
      return token.begin >= span.begin && token.end <= span.end && token.begin < token.end;
    });
    append(example, {token.id}, inside);
  }
  return example;
}

Result<Json> sharegpt_messages(const Json& conversations) {
  if (!conversations.is_array()) return invalid_argument("field \"conversations\" must be a list");
  Json messages = Json::array();
  for (const Json& turn : conversations) {
    ASSIGN_OR_RETURN(const std::string from, json_field<std::string>(turn, "from"));
    ASSIGN_OR_RETURN(const std::string value, json_field<std::string>(turn, "value"));
    std::string role = from;
    if (from == "human") role = "user";
    if (from == "gpt") role = "assistant";
    if (from == "function" || from == "observation") role = "tool";
    messages.push_back({{"role", role}, {"content", value}});
  }
  return messages;
}

// Cuts to length_max; gives false when nothing trained is left.
bool fit(Example& example, int64_t length_max, bool& cut) {
  cut = static_cast<int64_t>(example.tokens.size()) > length_max;
  if (cut) {
    example.tokens.resize(length_max);
    example.trained.resize(length_max);
  }
  if (!example.trained.empty()) example.trained[0] = 0;
  return std::any_of(example.trained.begin(), example.trained.end(), [](uint8_t t) { return t != 0; });
}

void take_example(Dataset& dataset, Example example, const DatasetOptions& options) {
  bool cut = false;
  if (!fit(example, options.length_max, cut)) {
    dataset.skipped.push_back({example.line, cut ? "longer than " + std::to_string(options.length_max) + " tokens before the first trained one"
                                                 : "no trained token"});
    return;
  }
  dataset.cut_rows += cut ? 1 : 0;
  dataset.trained_tokens += std::count(example.trained.begin(), example.trained.end(), 1);
  dataset.examples.push_back(std::move(example));
}

}  // namespace

Result<RowFormat> detect_format(const Json& row) {
  if (!row.is_object()) return invalid_argument("a row is a JSON object");
  if (row.contains("prompt") && row.contains("completion")) return RowFormat::kPromptCompletion;
  if (row.contains("messages")) return RowFormat::kMessages;
  if (row.contains("instruction") && row.contains("output")) return RowFormat::kAlpaca;
  if (row.contains("conversations")) return RowFormat::kShareGpt;
  return invalid_argument("a row needs \"prompt\" and \"completion\", or \"messages\", or \"instruction\" and \"output\", or "
                          "\"conversations\"");
}

Result<Example> encode_row(const Json& row, RowFormat format, const Tokenizer& tokenizer,
                           const ChatTemplate* chat_template, const DatasetOptions& options) {
  if (!row.is_object()) return invalid_argument("a row is a JSON object");
  if (format == RowFormat::kAuto) {
    ASSIGN_OR_RETURN(format, detect_format(row));
  }
  switch (format) {
    case RowFormat::kAuto:
    case RowFormat::kPromptCompletion: {
      ASSIGN_OR_RETURN(const std::string prompt, json_field<std::string>(row, "prompt"));
      ASSIGN_OR_RETURN(const std::string completion, json_field<std::string>(row, "completion"));
      return encode_pair(prompt, completion, tokenizer, options);
    }
    case RowFormat::kAlpaca: {
      ASSIGN_OR_RETURN(const std::string instruction, json_field<std::string>(row, "instruction"));
      ASSIGN_OR_RETURN(const std::string input, json_field_or<std::string>(row, "input", ""));
      ASSIGN_OR_RETURN(const std::string output, json_field<std::string>(row, "output"));
      return encode_pair(alpaca_prompt(instruction, input), output, tokenizer, options);
    }
    case RowFormat::kMessages:
      if (!row.contains("messages")) return invalid_argument("field \"messages\" is missing");
      return encode_messages(row["messages"], tokenizer, chat_template);
    case RowFormat::kShareGpt: {
      if (!row.contains("conversations")) return invalid_argument("field \"conversations\" is missing");
      ASSIGN_OR_RETURN(const Json messages, sharegpt_messages(row["conversations"]));
      return encode_messages(messages, tokenizer, chat_template);
    }
  }
  return internal_error("a row format without an encoder");
}

Result<Dataset> load_dataset(const Path& file, const Tokenizer& tokenizer, const ChatTemplate* chat_template,
                             const DatasetOptions& options) {
  ASSIGN_OR_RETURN(const std::string text, read_file(file, kFileBytesMax));
  Dataset dataset;
  RowFormat format = options.format;
  int64_t rows = 0, line = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view row_text(text.data() + begin, end - begin);
    begin = end + 1;
    ++line;
    if (row_text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    ++rows;
    const std::string where = file.string() + ":" + std::to_string(line);
    auto row = parse_json(row_text, where);
    if (row.ok() && format == RowFormat::kAuto) {
      auto detected = detect_format(*row);
      if (!detected.ok()) return detected.status().with_context(where);
      format = *detected;
    }
    auto example = row.ok() ? encode_row(*row, format, tokenizer, chat_template, options) : Result<Example>(row.status());
    if (!example.ok()) {
      if (rows == 1) return example.status().with_context(where);
      dataset.skipped.push_back({line, example.status().message()});
      continue;
    }
    example->line = line;
    take_example(dataset, std::move(*example), options);
  }
  if (rows == 0) return invalid_argument("\"" + file.string() + "\" holds no rows");
  if (dataset.examples.empty()) {
    return invalid_argument("\"" + file.string() + "\": none of its " + std::to_string(rows) + " rows can be trained on (line " +
                            std::to_string(dataset.skipped.front().line) + ": " + dataset.skipped.front().reason + ")");
  }
  return dataset;
}

}  // namespace umbel
