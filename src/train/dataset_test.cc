#include "train/dataset.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

namespace umbel {
namespace {

class DatasetTest : public testing::Test {
 protected:
  void SetUp() override {
    const char* source = std::getenv("UMBEL_SOURCE_DIR");
    ASSERT_NE(source, nullptr);
    const Path dir = Path(source) / "assets/seedling";
    auto tokenizer = Tokenizer::load(dir);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
    tokenizer_ = *tokenizer;
    auto chat_template = ChatTemplate::load(dir);
    ASSERT_TRUE(chat_template.ok()) << chat_template.status().message();
    template_ = *chat_template;
  }

  Result<Dataset> load(const std::string& text, DatasetOptions options = {.eos = 2}) {
    const Path file = Path(testing::TempDir()) / "dataset_test.jsonl";
    std::ofstream(file) << text;
    return load_dataset(file, *tokenizer_, template_.get(), options);
  }

  std::string trained_text(const Example& example) {
    std::vector<TokenId> ids;
    for (size_t i = 0; i < example.tokens.size(); ++i) {
      if (example.trained[i]) ids.push_back(example.tokens[i]);
    }
    return *tokenizer_->decode(ids, /*skip_special=*/false);
  }

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::shared_ptr<const ChatTemplate> template_;
};

TEST_F(DatasetTest, PromptAndCompletionAreTokenisedApartAndTheEndIsTrained) {
  auto dataset = load(R"({"prompt": "Query: hi\nIntent:", "completion": " greeting"})");
  ASSERT_TRUE(dataset.ok()) << dataset.status().message();
  const Example& example = dataset->examples.at(0);
  EXPECT_EQ(example.tokens.front(), 1);  // BOS once
  EXPECT_EQ(example.tokens.back(), 2);
  EXPECT_EQ(trained_text(example), " greeting</s>");
  EXPECT_EQ(dataset->trained_tokens, std::count(example.trained.begin(), example.trained.end(), 1));
}

TEST_F(DatasetTest, MessagesTrainTheAssistantOnly) {
  auto dataset = load(R"({"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day"},
      {"role": "user", "content": "Bye"}, {"role": "assistant", "content": "Farewell"}]})");
  EXPECT_FALSE(dataset.ok());  // a row is one line
  dataset = load(R"({"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day"}, {"role": "user", "content": "Bye"}, {"role": "assistant", "content": "Farewell"}]})");
  ASSERT_TRUE(dataset.ok()) << dataset.status().message();
  EXPECT_EQ(trained_text(dataset->examples.at(0)), "Good day</s>Farewell</s>");
}

TEST_F(DatasetTest, ShareGptIsMessagesUnderOtherNames) {
  auto dataset = load(R"({"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Good day"}]})");
  ASSERT_TRUE(dataset.ok()) << dataset.status().message();
  EXPECT_EQ(trained_text(dataset->examples.at(0)), "Good day</s>");
}

TEST_F(DatasetTest, UnusableRowsAreReportedWithTheirLine) {
  auto dataset = load("{\"prompt\": \"a\", \"completion\": \"b\"}\n\n{\"prompt\": \"a\"}\n{broken\n{\"prompt\": 3, \"completion\": \"b\"}\n");
  ASSERT_TRUE(dataset.ok());
  ASSERT_EQ(dataset->skipped.size(), 3u);
  EXPECT_EQ(dataset->skipped[0].line, 3);
  EXPECT_NE(dataset->skipped[0].reason.find("completion"), std::string::npos);
  EXPECT_EQ(dataset->skipped[1].line, 4);
  EXPECT_EQ(dataset->skipped[2].line, 5);
}

TEST_F(DatasetTest, CutRowsKeepATrainedTokenOrAreSkipped) {
  const std::string longer(400, 'x');
  auto dataset = load("{\"prompt\": \"a\", \"completion\": \"" + longer + "\"}\n{\"prompt\": \"" + longer + "\", \"completion\": \"b\"}",
                      {.length_max = 16, .eos = 2});
  ASSERT_TRUE(dataset.ok()) << dataset.status().message();
  EXPECT_EQ(dataset->examples.size(), 1u);
  EXPECT_EQ(dataset->examples[0].tokens.size(), 16u);
  EXPECT_EQ(dataset->cut_rows, 1);
  EXPECT_EQ(dataset->skipped.size(), 1u);
}

TEST_F(DatasetTest, EmptyAndUselessFilesAreRefused) {
  EXPECT_FALSE(load("").ok());
  EXPECT_FALSE(load("\n\n").ok());
  EXPECT_FALSE(load("[1, 2]").ok());
  EXPECT_FALSE(load("{\"text\": \"no format\"}").ok());
}

}  // namespace
}  // namespace umbel
