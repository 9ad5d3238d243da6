// Conversations: what is trained is what inference would be asked for.
#include "data/chat_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/chat_messages.h"
#include "data/chat_turn.h"
#include "data/continuation.h"
#include "data/data_testing.h"

namespace umbel::data {
namespace {

using umbel::testing::ids_of;
using umbel::testing::source_dir_of_rows;

std::shared_ptr<const ChatTemplate> template_of(const std::string& source) {
  return ChatTemplate::from_source(source, {{"bos_token", "<s>"}, {"eos_token", "</s>"}}).value();
}

std::shared_ptr<const Tokenizer> seedling() {
  static const auto tokenizer = Tokenizer::load(source_dir_of_rows() / "assets/seedling").value();
  return tokenizer;
}

OrderedJson talk(const std::vector<std::pair<std::string, std::string>>& turns) {
  OrderedJson messages = OrderedJson::array();
  for (const auto& [role, content] : turns) messages.push_back({{"role", role}, {"content", content}});
  return messages;
}

// "text⟦trained⟧text", example by example.
std::vector<std::string> shown(const ConversationRows& rows, const Tokenizer& tokenizer) {
  std::vector<std::string> texts;
  for (const Example& example : rows.examples) {
    std::string text;
    for (size_t begin = 0, end = 0; begin < example.tokens.size(); begin = end) {
      while (end < example.tokens.size() && example.trained[end] == example.trained[begin]) ++end;
      const auto piece = tokenizer.decode(std::span(example.tokens).subspan(begin, end - begin), /*skip_special=*/false).value();
      text += example.trained[begin] ? "⟦" + piece + "⟧" : piece;
    }
    texts.push_back(text);
  }
  return texts;
}

std::vector<std::string> rows_of(const OrderedJson& messages, const ChatTemplate& chat_template) {
  return shown(encode_conversation({.messages = messages}, *seedling(), &chat_template).value(), *seedling());
}

constexpr const char* kBlankBeforeAnswers =
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ 'Human: ' + m['content'] + '\\n' }}{% else %}"
    "{{ 'Assistant: ' + m['content'] + eos_token + '\\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}";

// ChatML that drops the reasoning of past turns, and writes an empty one into the last (Qwen 3).
constexpr const char* kRewritesThePast =
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' }}"
    "{% if m['role'] == 'assistant' %}{% set parts = m['content'].split('</think>') %}"
    "{% if loop.last %}{{ '<think>' + (parts[0].split('<think>')[-1] if parts|length > 1 else '') + '</think>' }}{% endif %}{{ parts[-1] }}"
    "{% else %}{{ m['content'] }}{% endif %}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

TEST(ChatRows, ATokenOverTheBorderIsSplitWhereInferenceSplitsIt) {
  const auto chat = template_of(kBlankBeforeAnswers);
  EXPECT_THAT(rows_of(talk({{"user", "Name a colour."}, {"assistant", "Blue is one."}, {"user", "Yes or no?"}, {"assistant", "yes"}}), *chat),
              ::testing::ElementsAre("<s>Human: Name a colour.\nAssistant: ⟦Blue is one.</s>\n⟧",
                                     "<s>Human: Name a colour.\nAssistant: Blue is one.</s>\nHuman: Yes or no?\nAssistant: ⟦yes</s>\n⟧"));
}

TEST(ChatRows, TurnsShareAnExampleWhereTheirIdsGoOn) {
  const auto chat = ChatTemplate::load(source_dir_of_rows() / "assets/seedling").value();
  EXPECT_THAT(rows_of(talk({{"user", "a"}, {"assistant", "b"}, {"user", "c"}, {"assistant", "d"}, {"user", "left out"}}), *chat),
              ::testing::ElementsAre("<s><|user|>a<|assistant|>⟦b</s>⟧<|user|>c<|assistant|>⟦d</s>⟧"));
}

TEST(ChatRows, PastTurnsThatTheTemplateRewritesAreTrainedAsTheyWereAnswered) {
  const auto chat = template_of(kRewritesThePast);
  EXPECT_THAT(rows_of(talk({{"user", "a"}, {"assistant", "<think>hm</think>b"}, {"user", "c"}, {"assistant", "d"}}), *chat),
              ::testing::ElementsAre("<|user|>a</s><|assistant|>⟦<think>hm</think>b</s>⟧",
                                     "<|user|>a</s><|assistant|>b</s><|user|>c</s><|assistant|>⟦<think></think>d</s>⟧"));
}

TEST(ChatRows, ReasoningThatTheTemplateDropsIsTrainedBehindTheOpeningThatInferenceSends) {
  const auto chat = template_of(
      "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'].split('</think>')[-1] + eos_token }}{% endfor %}"
      "{% if add_generation_prompt %}{{ '<|assistant|><think>\\n' }}{% endif %}");
  EXPECT_THAT(rows_of(talk({{"user", "a"}, {"assistant", "<think>\nhm\n</think>b"}}), *chat),
              ::testing::ElementsAre("<|user|>a</s><|assistant|><think>\n⟦hm\n</think>b</s>⟧"));
}

TEST(ChatRows, AConversationThatTheAssistantOpensTrainsItsAnswersAndTheirEnds) {
  const auto chat = template_of(
      "{{ bos_token }}{% if messages[0]['role'] != 'system' %}{{ '<|system|>Cutting knowledge.' }}{% endif %}{% for m in messages %}"
      "{{ '<|' + m['role'] + '|>\\n' + m['content'] | trim + eos_token }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}");
  EXPECT_THAT(rows_of(talk({{"assistant", "Hello, I am a bot."}, {"user", "Name a fruit."}, {"assistant", " Plum. "}}), *chat),
              ::testing::ElementsAre("<s><|system|>Cutting knowledge.<|assistant|>\n⟦Hello, I am a bot.</s>⟧<|user|>\nName a fruit.</s><|assistant|>\n⟦Plum.</s>⟧"));
}

TEST(ChatRows, BlocksSayWhatIsTrained) {
  const auto chat = template_of(
      "{% for m in messages %}{{ '<|' + m['role'] + '|>' }}{% if m['role'] == 'assistant' %}{{ ' ' }}{% generation %}{{ m['content'] + eos_token }}"
      "{% endgeneration %}{{ '\\n' }}{% else %}{{ m['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|> ' }}{% endif %}");
  OrderedJson messages = talk({{"user", "a"}, {"assistant", "no"}, {"user", "c"}, {"assistant", "yes"}});
  messages[1]["train"] = false;
  EXPECT_THAT(rows_of(messages, *chat), ::testing::ElementsAre("<|user|>a<|assistant|> no</s>\n<|user|>c<|assistant|> ⟦yes</s>⟧\n"));
}

TEST(ChatRows, TurnsBehindTheLongestRowCostNothing) {
  const auto chat = ChatTemplate::load(source_dir_of_rows() / "assets/seedling").value();
  OrderedJson messages = OrderedJson::array();
  for (int i = 0; i < 2000; ++i) messages.push_back({{"role", i % 2 == 0 ? "user" : "assistant"}, {"content", "some words of a turn"}});
  const auto rows = encode_conversation({.messages = messages, .length_max = 64}, *seedling(), chat.get()).value();
  ASSERT_EQ(rows.examples.size(), 1u);
  EXPECT_LT(rows.examples[0].tokens.size(), 128u);
  EXPECT_GT(rows.turns_left_out, 900);
}

TEST(ChatRows, WithoutATurnToTrainTheReasonSaysSo) {
  const auto chat = ChatTemplate::load(source_dir_of_rows() / "assets/seedling").value();
  EXPECT_THAT(encode_conversation({.messages = talk({{"user", "a"}})}, *seedling(), chat.get()).status().message(), ::testing::HasSubstr("no assistant's turn"));
}

// Every trained turn of every template: before it stand the ids that a server would send.
void expect_inference_ids(const std::string& what, const OrderedJson& messages, const Tokenizer& tokenizer, const ChatTemplate& chat) {
  const auto rows = encode_conversation({.messages = messages}, tokenizer, &chat);
  if (!rows.ok()) return;  // a template that refuses this order of turns, in its own words
  for (size_t i = 1; i < messages.size(); ++i) {
    if (messages[i]["role"] != "assistant") continue;
    const auto turn = render_turn(messages, nullptr, i, chat);
    const auto prompt = prompt_of(messages, nullptr, i, chat);
    if (!turn.ok() || !prompt.ok() || turn->prompt != *prompt) continue;
    const std::vector<TokenId> sent = ids_of(encode_beginning(tokenizer, *prompt, Specials::kWritten).value());
    const bool found = std::any_of(rows->examples.begin(), rows->examples.end(), [&](const Example& example) {
      return example.tokens.size() > sent.size() && std::equal(sent.begin(), sent.end(), example.tokens.begin()) && example.trained[sent.size()] != 0;
    });
    EXPECT_TRUE(found) << what << ": turn " << i;
  }
  // And what is trained holds every answer, whole.
  std::string trained;
  for (const Example& example : rows->examples) {
    std::vector<TokenId> ids;
    for (size_t k = 0; k < example.tokens.size(); ++k) {
      if (example.trained[k] != 0) ids.push_back(example.tokens[k]);
    }
    trained += tokenizer.decode(ids, /*skip_special=*/false).value();
  }
  for (const OrderedJson& turn : messages) {
    if (turn["role"] == "assistant") {
      EXPECT_NE(trained.find(turn["content"].get<std::string>()), std::string::npos) << what << ": " << trained;
    }
  }
}

TEST(ChatRows, InEveryTemplateTheIdsBeforeATurnAreInferences) {
  const auto templates = umbel::testing::templates_at_hand();
  const std::vector<OrderedJson> talks = {talk({{"user", "Name a colour."}, {"assistant", "Blue is one."}, {"user", "Yes or no?"}, {"assistant", "yes"}}),
                                          talk({{"system", "Be kind."}, {"user", "2 + 2?"}, {"assistant", "It is 4,\nof course."}}),
                                          talk({{"assistant", "Hello there."}, {"user", "Hi."}, {"assistant", "How are you?"}})};
  for (const auto& [tokenizer_name, tokenizer] : umbel::testing::tokenizers_at_hand()) {
    // These drop what templates are made of: line breaks, capitals, blanks.
    if (tokenizer_name.find("t5") != std::string::npos || tokenizer_name == "tiny bert") continue;
    for (const auto& [name, chat] : templates) {
      for (size_t i = 0; i < talks.size(); ++i) expect_inference_ids(tokenizer_name + ", " + name + ", talk " + std::to_string(i), talks[i], *tokenizer, *chat);
    }
  }
}

TEST(ChatMessages, TurnsAreReadInEveryForm) {
  const OrderedJson turns = OrderedJson::parse(R"([{"from": "human", "value": "a"}, {"from": "gpt", "value": "b", "weight": 0},
      {"from": "observation", "value": "c"}, {"role": "assistant", "content": [{"type": "text", "text": "d"}, {"type": "text", "text": "e"}]}])");
  const OrderedJson expected = OrderedJson::parse(R"([{"role": "system", "content": "rules"}, {"role": "user", "content": "a"},
      {"weight": 0, "role": "assistant", "content": "b"}, {"role": "tool", "content": "c"}, {"role": "assistant", "content": "d\ne"}])");
  EXPECT_EQ(Json(read_messages(turns, "conversations", "rules").value()), Json(expected));
  EXPECT_EQ(Json(read_messages(turns.dump(), "conversations", "rules").value()), Json(expected));
  const auto refusal = [](const char* json) { return read_messages(OrderedJson::parse(json), "messages").status().message(); };
  EXPECT_THAT(refusal(R"([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}])"), ::testing::HasSubstr("\"image_url\""));
  EXPECT_THAT(refusal(R"([{"role": "user"}])"), ::testing::HasSubstr("turn 1 of \"messages\" (role \"user\") needs a \"content\""));
  EXPECT_THAT(refusal(R"([{"from": "human"}])"), ::testing::HasSubstr("needs a \"content\""));
  EXPECT_THAT(refusal(R"([])"), ::testing::HasSubstr("no turns"));
  EXPECT_THAT(refusal(R"("x")"), ::testing::HasSubstr("must be a list"));
}

TEST(ChatMessages, ToolsAreReadAsListAsTextAndElementByElement) {
  const std::string list = R"([{"type":"function","function":{"name":"rain"}}])";
  const OrderedJson expected = OrderedJson::parse(list);
  EXPECT_EQ(read_tools({{"tools", expected}}).value(), expected);
  EXPECT_EQ(read_tools({{"tools", list}}).value(), expected);
  EXPECT_EQ(read_tools({{"tools", OrderedJson::array({expected[0].dump()})}}).value(), expected);
  for (const OrderedJson& none : {OrderedJson(nullptr), OrderedJson(""), OrderedJson("[]"), OrderedJson::array()}) {
    EXPECT_TRUE(read_tools({{"tools", none}}).value().is_null());
  }
  EXPECT_THAT(read_tools({{"tools", "rain(place)"}}).status().message(), ::testing::HasSubstr("field \"tools\" must be a list, or the JSON text of one"));
  EXPECT_FALSE(read_tools({{"tools", 3}}).ok());
}

}  // namespace
}  // namespace umbel::data
