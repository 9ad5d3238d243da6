#include "train/chat_rows.h"

#include <algorithm>

namespace umbel {
namespace {

using Span = ChatText::Span;

struct Chat {
  const Conversation& conversation;
  const ChatTemplate& chat_template;

  Result<ChatText> render(OrderedJson messages, bool generation_prompt) const {
    return chat_template.render({.messages = std::move(messages), .tools = conversation.tools, .add_generation_prompt = generation_prompt});
  }
};

bool is_assistant(const OrderedJson& turn) { return turn["role"] == "assistant"; }

bool is_trained(const Conversation& conversation, size_t index) {
  const OrderedJson& turn = conversation.messages[index];
  if (index < conversation.first_trained || !is_assistant(turn)) return false;
  if (const auto train = turn.find("train"); train != turn.end() && train->is_boolean() && !train->get<bool>()) return false;
  const auto weight = turn.find("weight");
  return weight == turn.end() || !weight->is_number() || weight->get<double>() != 0;
}

Status check_turns(const OrderedJson& messages) {
  if (!messages.is_array() || messages.empty()) return invalid_argument("field \"messages\" must be a list of turns");
  for (const OrderedJson& turn : messages) {
    if (!turn.is_object() || !turn.contains("role") || !turn["role"].is_string()) {
      return invalid_argument("a turn of \"messages\" needs a \"role\" that is a text");
    }
    const auto content = turn.find("content");
    const bool has_content = content != turn.end() && (content->is_string() || content->is_array());
    if (!has_content && !turn.contains("tool_calls")) {
      return invalid_argument("a turn of \"messages\" (role \"" + turn["role"].get<std::string>() + "\") needs a \"content\" that is a text");
    }
  }
  return ok_status();
}

// From {% generation %} blocks: one a turn, or all of them when every assistant turn is trained. False = not usable.
bool spans_of_blocks(const Conversation& conversation, const ChatText& whole, std::vector<Span>& spans) {
  if (whole.generation.empty()) return false;
  std::vector<bool> trained;
  for (size_t i = 0; i < conversation.messages.size(); ++i) {
    if (is_assistant(conversation.messages[i])) trained.push_back(is_trained(conversation, i));
  }
  if (std::find(trained.begin(), trained.end(), false) == trained.end()) {
    spans = whole.generation;
    return true;
  }
  if (trained.size() != whole.generation.size()) return false;
  for (size_t i = 0; i < trained.size(); ++i) {
    if (trained[i]) spans.push_back(whole.generation[i]);
  }
  return true;
}

// What each trained turn adds to the conversation up to it. False when the whole does not begin with what was rendered.
Result<bool> spans_of_prefixes(const Chat& chat, const ChatText& whole, std::vector<Span>& spans) {
  const OrderedJson& messages = chat.conversation.messages;
  OrderedJson head = OrderedJson::array();
  for (size_t i = 0; i < messages.size(); ++i) {
    if (is_trained(chat.conversation, i)) {
      size_t begin = 0;
      if (i > 0) {
        ASSIGN_OR_RETURN(const ChatText before, chat.render(head, true));
        if (!whole.text.starts_with(before.text)) return false;
        begin = before.text.size();
      }
      head.push_back(messages[i]);
      const bool last = i + 1 == messages.size();
      size_t end = whole.text.size();
      if (!last) {
        ASSIGN_OR_RETURN(const ChatText after, chat.render(head, false));
        if (!whole.text.starts_with(after.text)) return false;
        end = after.text.size();
      }
      if (end < begin) return false;
      spans.push_back({begin, end});
    } else {
      head.push_back(messages[i]);
    }
  }
  return true;
}

// Where a turn's content stands in the whole: what changes when it is replaced. False for a turn without plain content.
Result<bool> span_of_content(const Chat& chat, const ChatText& whole, size_t index, Span& span) {
  OrderedJson messages = chat.conversation.messages;
  OrderedJson& content = messages[index]["content"];
  if (!content.is_string() || content.get_ref<const std::string&>().empty()) return false;
  // A private-use character that no text begins or ends with by chance; kept apart from blanks that templates strip.
  const std::string stand_in = content.get_ref<const std::string&>().starts_with("\xee\xa3\xbf") ? "\xee\xa3\xbe" : "\xee\xa3\xbf";
  content = stand_in;
  ASSIGN_OR_RETURN(const ChatText other, chat.render(messages, false));
  const size_t at = other.text.find(stand_in);
  if (at == std::string::npos || other.text.find(stand_in, at + 1) != std::string::npos) return false;
  const std::string_view text = whole.text;
  const std::string_view before = std::string_view(other.text).substr(0, at), after = std::string_view(other.text).substr(at + stand_in.size());
  if (text.size() < before.size() + after.size() || !text.starts_with(before) || !text.ends_with(after)) return false;
  span = {before.size(), text.size() - after.size()};
  return span.end > span.begin;
}

Result<std::vector<Span>> trained_spans(const Chat& chat, const ChatText& whole, bool& contents_only) {
  contents_only = false;
  std::vector<Span> spans;
  if (spans_of_blocks(chat.conversation, whole, spans)) return spans;
  spans.clear();
  ASSIGN_OR_RETURN(const bool prefixes, spans_of_prefixes(chat, whole, spans));
  if (prefixes) return spans;
  spans.clear();
  contents_only = true;
  for (size_t i = 0; i < chat.conversation.messages.size(); ++i) {
    if (!is_trained(chat.conversation, i)) continue;
    Span span{};
    ASSIGN_OR_RETURN(const bool found, span_of_content(chat, whole, i, span));
    if (!found) {
      return unsupported("this chat template writes earlier turns differently once later ones exist, so the assistant's text "
                         "can't be told apart; use a template with {% generation %} blocks");
    }
    spans.push_back(span);
  }
  return spans;
}

// The special token that ends a turn, right behind its content (blanks between are taken along).
void train_turn_ends(const std::vector<TokenSpan>& tokens, const Tokenizer& tokenizer, const std::string& text, Example& example) {
  for (size_t i = 1; i < tokens.size(); ++i) {
    if (example.trained[i] || !example.trained[i - 1]) continue;
    size_t end = i;
    while (end < tokens.size() && !tokenizer.is_special(tokens[end].id) &&
           text.find_first_not_of(" \n", tokens[end].begin) >= tokens[end].end) {
      ++end;
    }
    if (end == tokens.size() || !tokenizer.is_special(tokens[end].id)) continue;
    std::fill(example.trained.begin() + static_cast<std::ptrdiff_t>(i), example.trained.begin() + static_cast<std::ptrdiff_t>(end) + 1, 1);
    i = end + 1;  // what stands behind it begins another turn
  }
}

}  // namespace

Result<Example> encode_conversation(const Conversation& conversation, const Tokenizer& tokenizer, const ChatTemplate* chat_template) {
  if (chat_template == nullptr) {
    return invalid_argument("rows of messages need a chat template, and the base has none (chat_template.jinja or tokenizer_config.json)");
  }
  RETURN_IF_ERROR(check_turns(conversation.messages));
  const Chat chat{conversation, *chat_template};
  ASSIGN_OR_RETURN(const ChatText whole, chat.render(conversation.messages, false));
  bool contents_only = false;
  ASSIGN_OR_RETURN(const std::vector<Span> spans, trained_spans(chat, whole, contents_only));
  ASSIGN_OR_RETURN(const std::vector<TokenSpan> tokens, tokenizer.encode_spans(whole.text, /*add_special=*/false));
  Example example;
  example.tokens.reserve(tokens.size());
  example.trained.reserve(tokens.size());
  for (const TokenSpan& token : tokens) {
    const bool inside = std::any_of(spans.begin(), spans.end(), [&](const Span& span) {
      return token.begin >= span.begin && token.end <= span.end && token.begin < token.end;
    });
    example.tokens.push_back(token.id);
    example.trained.push_back(inside ? 1 : 0);
  }
  if (contents_only) train_turn_ends(tokens, tokenizer, whole.text, example);
  return example;
}

Result<OrderedJson> sharegpt_messages(const OrderedJson& conversations, const OrderedJson* system) {
  if (!conversations.is_array()) return invalid_argument("field \"conversations\" must be a list of turns");
  OrderedJson messages = OrderedJson::array();
  if (system != nullptr && system->is_string() && !system->get_ref<const std::string&>().empty()) {
    messages.push_back({{"role", "system"}, {"content", *system}});
  }
  for (const OrderedJson& turn : conversations) {
    const auto text_of = [&](const char* name) { return turn.is_object() && turn.contains(name) && turn[name].is_string(); };
    if (!text_of("from") || !text_of("value")) return invalid_argument("a turn of \"conversations\" needs \"from\" and \"value\" that are texts");
    std::string role = turn["from"].get<std::string>();
    if (role == "human") role = "user";
    if (role == "gpt" || role == "function_call") role = "assistant";
    if (role == "function" || role == "observation") role = "tool";
    messages.push_back({{"role", role}, {"content", turn["value"]}});
  }
  return messages;
}

}  // namespace umbel
