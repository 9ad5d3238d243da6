#include "data/chat_turn.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

namespace umbel::data {
namespace {

using Span = ChatText::Span;

constexpr const char* kBlanks = " \t\r\n";
constexpr std::string_view kReasoningEnd = "</think>";

OrderedJson first_of(const OrderedJson& messages, size_t count) {
  OrderedJson head = OrderedJson::array();
  for (size_t i = 0; i < count; ++i) head.push_back(messages[i]);
  return head;
}

std::string_view without_end_blanks(std::string_view text) { return text.substr(0, text.find_last_not_of(kBlanks) + 1); }
std::string_view without_first_blanks(std::string_view text) { return text.substr(std::min(text.find_first_not_of(kBlanks), text.size())); }

// The last message's content in what was rendered of it: what changes when it is replaced. nullopt without plain content.
Result<std::optional<Span>> span_of_content(OrderedJson messages, const OrderedJson& tools, const std::string& text,
                                            const ChatTemplate& chat_template) {
  OrderedJson& turn = messages.back();
  if (!turn.contains("content") || !turn["content"].is_string()) return std::optional<Span>();
  const std::string content = turn["content"].get<std::string>();
  if (content.empty()) return std::optional<Span>();
  // A private-use character that no text begins with by chance; kept apart from blanks that templates strip.
  const std::string stand_in = content.starts_with("\xee\xa3\xbf") ? "\xee\xa3\xbe" : "\xee\xa3\xbf";
  turn["content"] = stand_in;
  ASSIGN_OR_RETURN(const ChatText other, chat_template.render({.messages = messages, .tools = tools, .add_generation_prompt = false}));
  const size_t at = other.text.find(stand_in);
  if (at == std::string::npos || other.text.find(stand_in, at + 1) != std::string::npos) return std::optional<Span>();
  const std::string_view before = std::string_view(other.text).substr(0, at), after = std::string_view(other.text).substr(at + stand_in.size());
  if (text.size() <= before.size() + after.size() || !text.starts_with(before) || !text.ends_with(after)) return std::optional<Span>();
  return std::optional(Span{before.size(), text.size() - after.size()});
}

// Whether the template wrote the turn without the reasoning that its content holds.
bool lost_reasoning(const OrderedJson& turn, std::string_view written) {
  return turn.contains("content") && turn["content"].is_string() &&
         turn["content"].get_ref<const std::string&>().find(kReasoningEnd) != std::string::npos && written.find(kReasoningEnd) == std::string::npos;
}

// A turn that does not go on from its generation prompt, by where its content stands.
ChatTurn turn_by_content(const std::optional<std::string>& prompt, const std::string& whole, Span content, std::string body) {
  const std::string_view head = std::string_view(whole).substr(0, content.begin), tail = std::string_view(whole).substr(content.end);
  ChatTurn turn{.prompt = std::string(head)};
  if (prompt && without_end_blanks(*prompt) == without_end_blanks(head)) {
    turn.prompt = *prompt;
  } else if (prompt && prompt->starts_with(without_end_blanks(head))) {
    // "<think>\n", which the content may bring too.
    const std::string_view extra = std::string_view(*prompt).substr(without_end_blanks(head).size());
    const std::string_view word = without_end_blanks(without_first_blanks(extra)), text = without_first_blanks(body);
    if (text.starts_with(word)) {
      turn.prompt = *prompt;
      const std::string_view rest = text.substr(word.size());
      body = std::string(std::string_view(kBlanks).find(extra.back()) != std::string_view::npos ? without_first_blanks(rest) : rest);
    }
  }
  turn.answer = body.append(tail);
  return turn;
}

}  // namespace

Result<std::string> prompt_of(const OrderedJson& messages, const OrderedJson& tools, size_t index, const ChatTemplate& chat_template) {
  ASSIGN_OR_RETURN(ChatText text, chat_template.render({.messages = first_of(messages, index), .tools = tools, .add_generation_prompt = true}));
  return std::move(text.text);
}

Result<ChatTurn> render_turn(const OrderedJson& messages, const OrderedJson& tools, size_t index, const ChatTemplate& chat_template) {
  const OrderedJson head = first_of(messages, index + 1);
  ASSIGN_OR_RETURN(const ChatText whole, chat_template.render({.messages = head, .tools = tools, .add_generation_prompt = false}));
  std::optional<std::string> prompt;
  if (auto rendered = prompt_of(messages, tools, index, chat_template); index > 0 && rendered.ok()) prompt = *std::move(rendered);
  const auto blocks_behind = [&](size_t begin) {
    std::vector<Span> blocks;
    for (const Span& block : whole.generation) {
      if (block.end > begin) blocks.push_back(block);
    }
    return blocks;
  };
  const OrderedJson& message = messages[index];
  if (prompt && whole.text.starts_with(*prompt) && !lost_reasoning(message, std::string_view(whole.text).substr(prompt->size()))) {
    ChatTurn turn{*prompt, whole.text.substr(prompt->size()), blocks_behind(prompt->size())};
    if (whole.generation.empty()) turn.trained = {{prompt->size(), whole.text.size()}};
    return turn;
  }
  ASSIGN_OR_RETURN(const std::optional<Span> content, span_of_content(head, tools, whole.text, chat_template));
  if (!content) {
    return unsupported("this chat template writes the assistant's turn " + std::to_string(index + 1) +
                       " in another way than its generation prompt begins it, so its text can't be told apart");
  }
  std::string body = whole.text.substr(content->begin, content->end - content->begin);
  const bool as_written = !lost_reasoning(message, body);
  if (!as_written) body = message["content"].get<std::string>();
  ChatTurn turn = turn_by_content(prompt, whole.text, *content, std::move(body));
  if (as_written && turn.prompt.size() == content->begin && turn.answer.size() == whole.text.size() - content->begin) {
    turn.trained = blocks_behind(content->begin);
  }
  if (turn.trained.empty()) turn.trained = {{turn.prompt.size(), turn.prompt.size() + turn.answer.size()}};
  return turn;
}

}  // namespace umbel::data
