// Rows against transformers' ids (tests/goldens/dataset.json, recorded by tools/record_dataset_goldens.py).
#include "data/row_format.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "data/chat_rows.h"

namespace umbel::data {
namespace {

Path source_dir() {
  const char* dir = std::getenv("UMBEL_SOURCE_DIR");
  return dir != nullptr ? Path(dir) : Path(".");
}

// The folder of a real tokenizer, empty where it is absent.
Path tokenizer_dir(const std::string& name) {
  if (name == "seedling") return source_dir() / "assets/seedling";
  const char* given = std::getenv("UMBEL_DATA");
  const Path dir = (given != nullptr ? Path(given) : source_dir() / "../shared/data") / "tokenizers" / name;
  std::error_code ignored;
  return std::filesystem::exists(dir / "tokenizer.json", ignored) ? dir : Path();
}

OrderedJson goldens() {
  const Path path = source_dir() / "tests/goldens/dataset.json";
  return parse_ordered_json(read_file(path).value(), "dataset.json").value();
}

using Ids = std::vector<TokenId>;

// Of a row that is one example.
Example only(const RowEncoder& encoder, const OrderedJson& row, RowFormat format) {
  const auto rows = encoder.encode(row, format).value();
  EXPECT_EQ(rows.examples.size(), 1u) << row.dump();
  return rows.examples.front();
}

class RealTokenizers : public testing::TestWithParam<const char*> {};

TEST_P(RealTokenizers, PairsAndTextsAreTransformersIds) {
  const Path dir = tokenizer_dir(GetParam());
  if (dir.empty()) GTEST_SKIP() << "no real inputs: set UMBEL_DATA to their folder";
  const auto tokenizer = Tokenizer::load(dir).value();
  const OrderedJson all = goldens();
  const OrderedJson& golden = all["tokenizers"][GetParam()];
  const DatasetOptions options{.eos = golden["eos"].get<TokenId>()};
  const RowEncoder encoder = RowEncoder::create(*tokenizer, nullptr, options).value();
  for (size_t i = 0; i < all["pairs"].size(); ++i) {
    const OrderedJson row = {{"prompt", all["pairs"][i][0]}, {"completion", all["pairs"][i][1]}};
    const Example example = only(encoder, row, RowFormat::kPromptCompletion);
    const Ids prompt = golden["pairs"][i]["prompt"].get<Ids>(), whole = golden["pairs"][i]["whole"].get<Ids>();
    ASSERT_EQ(example.trained.size(), example.tokens.size());
    ASSERT_GE(example.tokens.size(), prompt.size());
    for (size_t k = 0; k < example.tokens.size(); ++k) EXPECT_EQ(example.trained[k], k >= prompt.size() ? 1 : 0) << row.dump() << " " << k;
    EXPECT_TRUE(std::equal(prompt.begin(), prompt.end(), example.tokens.begin())) << row.dump();
    const bool goes_on = whole.size() >= prompt.size() && std::equal(prompt.begin(), prompt.end(), whole.begin());
    if (goes_on) {
      EXPECT_EQ(example.tokens, whole) << row.dump();
    }
    EXPECT_EQ(tokenizer->decode(example.tokens, false).value(), tokenizer->decode(whole, false).value()) << row.dump();
  }
  for (size_t i = 0; i < all["texts"].size(); ++i) {
    const Example example = only(encoder, OrderedJson{{"text", all["texts"][i]}}, RowFormat::kText);
    EXPECT_EQ(example.tokens, golden["texts"][i].get<Ids>());
    EXPECT_EQ(std::count(example.trained.begin(), example.trained.end(), 0), 0);
  }
}
INSTANTIATE_TEST_SUITE_P(Names, RealTokenizers, testing::Values("seedling", "gpt2", "llama2", "phi2"));

TEST(RowFormat, ConversationsAreTransformersIdsAndMasks) {
  const Path dir = source_dir() / "assets/seedling";
  const auto tokenizer = Tokenizer::load(dir).value();
  const auto own = ChatTemplate::load(dir).value();
  const auto all = goldens();
  for (const OrderedJson& talk : all["talks"]) {
    const auto blocks = ChatTemplate::from_source(talk["template"].get<std::string>(), {{"bos_token", "<s>"}, {"eos_token", "</s>"}}).value();
    const Conversation conversation{.messages = talk["messages"]};
    const Example example = encode_conversation(conversation, *tokenizer, blocks.get()).value().examples.front();
    EXPECT_EQ(example.tokens, talk["ids"].get<Ids>());
    EXPECT_EQ(example.trained, talk["trained"].get<std::vector<uint8_t>>());
    if (talk["name"] != "seedling") continue;
    // Without blocks the same comes from what each turn adds.
    const Example grown = encode_conversation(conversation, *tokenizer, own.get()).value().examples.front();
    EXPECT_EQ(grown.tokens, example.tokens);
    EXPECT_EQ(grown.trained, example.trained);
  }
}

TEST(RowFormat, NamesComeBack) {
  for (const char* name : {"auto", "prompt-completion", "messages", "alpaca", "sharegpt", "text", "template"}) {
    EXPECT_EQ(row_format_name(parse_row_format(name).value()), name);
  }
  EXPECT_NE(parse_row_format("csv").status().message().find("prompt-completion"), std::string::npos);
}

TEST(RowFormat, FieldsDecide) {
  EXPECT_EQ(detect_format({{"prompt", ""}, {"completion", ""}}).value(), RowFormat::kPromptCompletion);
  EXPECT_EQ(detect_format({{"instruction", ""}, {"input", ""}, {"output", ""}}).value(), RowFormat::kAlpaca);
  EXPECT_EQ(detect_format({{"conversations", OrderedJson::array()}}).value(), RowFormat::kShareGpt);
  EXPECT_EQ(detect_format({{"text", "x"}, {"source", "y"}}).value(), RowFormat::kText);
  EXPECT_FALSE(detect_format({{"question", "x"}, {"answer", "y"}}).ok());
  EXPECT_FALSE(detect_format(OrderedJson::array()).ok());
}

TEST(RowFormat, AlpacaPromptsAreStanfords) {
  const auto tokenizer = Tokenizer::load(source_dir() / "assets/seedling").value();
  const RowEncoder encoder = RowEncoder::create(*tokenizer, nullptr, {.eos = 2}).value();
  const auto text = [&](const OrderedJson& row) {
    return tokenizer->decode(only(encoder, row, RowFormat::kAlpaca).tokens, /*skip_special=*/false).value();
  };
  EXPECT_EQ(text({{"instruction", "Add."}, {"input", "2, 3"}, {"output", "5"}}),
            "<s>Below is an instruction that describes a task, paired with an input that provides further context. Write a response "
            "that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Input:\n2, 3\n\n### Response:\n5</s>");
  const std::string alone =
      "<s>Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
      "### Instruction:\nGreet.\n\n### Response:\nHi</s>";
  EXPECT_EQ(text({{"instruction", "Greet."}, {"output", "Hi"}}), alone);
  EXPECT_EQ(text({{"instruction", "Greet."}, {"input", ""}, {"output", "Hi"}}), alone);
  EXPECT_EQ(text({{"instruction", "Greet."}, {"input", nullptr}, {"output", "Hi"}}), alone);
  const OrderedJson history = OrderedJson::parse(R"([["What is two plus two?", "Four."]])");
  for (const OrderedJson& given : {history, OrderedJson(history.dump())}) {
    EXPECT_EQ(text({{"instruction", "And twice that?"}, {"input", ""}, {"output", "Eight."}, {"system", "You add numbers."}, {"history", given}}),
              "<s>You add numbers.\n\n### Instruction:\nWhat is two plus two?\n\n### Response:\nFour.\n\n### Instruction:\nAnd twice that?\n\n"
              "### Response:\nEight.</s>");
  }
  EXPECT_FALSE(encoder.encode({{"instruction", "Greet."}, {"history", {"x"}}, {"output", "Hi"}}, RowFormat::kAlpaca).ok());
  EXPECT_FALSE(encoder.encode({{"instruction", "Greet."}, {"input", 3}, {"output", "Hi"}}, RowFormat::kAlpaca).ok());
}

TEST(RowFormat, ToolsReachTheTemplateInTheirOrder) {
  const auto tokenizer = Tokenizer::load(source_dir() / "assets/seedling").value();
  const auto shown = ChatTemplate::from_source("{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}{{ m['content'] }}{% endfor %}",
                                               Json::object()).value();
  const RowEncoder encoder = RowEncoder::create(*tokenizer, shown.get(), {.eos = 2}).value();
  const OrderedJson row = OrderedJson::parse(
      R"({"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}], "tools": [{"type": "f", "name": "n", "a": 1}]})");
  const Example example = only(encoder, row, RowFormat::kMessages);
  EXPECT_EQ(tokenizer->decode(example.tokens, false).value(), "[{\"type\": \"f\", \"name\": \"n\", \"a\": 1}]ua");
  EXPECT_EQ(std::count(example.trained.begin(), example.trained.end(), 1), 1);
  const RowEncoder without = RowEncoder::create(*tokenizer, nullptr, {.eos = 2}).value();
  EXPECT_NE(without.encode(row, RowFormat::kMessages).status().message().find("chat template"), std::string::npos);
}

TEST(RowFormat, AQuestionIsWhatInferenceSendsAndItsAnswer) {
  const auto tokenizer = Tokenizer::load(source_dir() / "assets/seedling").value();
  const auto chat = ChatTemplate::load(source_dir() / "assets/seedling").value();
  const RowEncoder encoder = RowEncoder::create(*tokenizer, chat.get(), {.eos = 2}).value();
  const auto ask = [&](const char* row, RowFormat format) { return encoder.ask(OrderedJson::parse(row), format).value(); };
  const RowQuestion pair = ask(R"({"prompt": "a", "completion": " b"})", RowFormat::kPromptCompletion);
  EXPECT_EQ(pair.prompt, "a");
  EXPECT_EQ(pair.completion, " b");
  EXPECT_EQ(ask(R"({"prompt": "a"})", RowFormat::kPromptCompletion).completion, std::nullopt);
  const RowQuestion talk = ask(R"({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]})", RowFormat::kShareGpt);
  EXPECT_EQ(talk.prompt, "<s><|user|>a<|assistant|>");
  EXPECT_EQ(talk.completion, "b");
  EXPECT_EQ(talk.turn, "b</s>");
  EXPECT_EQ(ask(R"({"messages": [{"role": "user", "content": "a"}]})", RowFormat::kMessages).completion, std::nullopt);
  const RowQuestion text = encoder.ask(OrderedJson{{"text", "x"}}, RowFormat::kText).value();
  EXPECT_EQ(text.prompt + "|" + *text.completion, "|x") << "a document is scored whole";
  EXPECT_FALSE(encoder.ask(OrderedJson{{"text", ""}}, RowFormat::kText).ok());
}

TEST(RowFormat, FieldsThatAreNotReadAreNamed) {
  const auto tokenizer = Tokenizer::load(source_dir() / "assets/seedling").value();
  const RowEncoder encoder = RowEncoder::create(*tokenizer, nullptr, {.eos = 2}).value();
  const OrderedJson row = {{"prompt", "a"}, {"completion", "b"}, {"id", 3}, {"note", ""}, {"source", nullptr}};
  EXPECT_EQ(encoder.unread_fields(row, RowFormat::kPromptCompletion), std::vector<std::string>{"id"});
}

}  // namespace
}  // namespace umbel::data
