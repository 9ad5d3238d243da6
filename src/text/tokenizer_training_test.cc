#include "text/tokenizer_training.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/text_testing.h"
#include "text/tokenizer.h"

namespace umbel {
namespace {

using ::testing::HasSubstr;

std::vector<std::string> corpus() {
  std::vector<std::string> documents;
  for (int i = 0; i < 50; ++i) {
    documents.push_back("The river ran past the house, and the house stood by river number " + std::to_string(i) +
                        ".\nIn 東京 the river is wide.\n");
  }
  return documents;
}

TEST(TrainBpe, LearnsWordsAndRoundTrips) {
  const std::vector<std::string> texts = corpus();
  const std::vector<std::string_view> documents(texts.begin(), texts.end());
  const std::string json = train_bpe(documents, {.vocab_size = 330}).value();
  const auto tokenizer = Tokenizer::from_json(json).value();
  EXPECT_LE(tokenizer->vocab_size(), 330u);
  EXPECT_GT(tokenizer->vocab_size(), 290u);
  EXPECT_EQ(tokenizer->id_of("<pad>"), 0);
  EXPECT_EQ(tokenizer->id_of("<|assistant|>"), 5);
  EXPECT_TRUE(tokenizer->id_of("Ġriver").has_value());
  for (const std::string& text : {texts[0], std::string("unseen Ωmega 🚀\t text 123"), std::string()}) {
    const auto ids = tokenizer->encode(text, true).value();
    EXPECT_EQ(ids[0], 1);
    EXPECT_EQ(tokenizer->decode(ids, true).value(), text);
  }
  EXPECT_EQ(tokenizer->encode("12", false)->size(), 2u) << "digits stay apart";
}

TEST(TrainBpe, IsDeterministic) {
  const std::vector<std::string> texts = corpus();
  const std::vector<std::string_view> documents(texts.begin(), texts.end());
  const std::string first = train_bpe(documents, {.vocab_size = 320}).value();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(train_bpe(documents, {.vocab_size = 320}).value(), first);
}

TEST(TrainBpe, LongDocumentsAreCut) {
  std::string text;
  while (text.size() < (size_t{1} << 20)) text += "a long line about the river and 東京\n";
  const std::string no_lines(size_t{40} << 10, 'x');
  const std::vector<std::string_view> documents = {text, no_lines};
  const auto tokenizer = Tokenizer::from_json(train_bpe(documents, {.vocab_size = 300}).value()).value();
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("the river", false).value(), true).value(), "the river");
}

TEST(TrainBpe, HasTheSeedlingsLayout) {
  const std::vector<std::string> texts = corpus();
  const std::vector<std::string_view> documents(texts.begin(), texts.end());
  const Json made = Json::parse(train_bpe(documents, {.vocab_size = 300}).value());
  const Json seedling = read_json(testing::source_dir() / "assets/seedling/tokenizer.json").value();
  for (const char* part : {"normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens"}) {
    EXPECT_EQ(made[part], seedling[part]) << part;
  }
}

TEST(TrainBpe, BadOptionsAreNamed) {
  const std::vector<std::string_view> documents = {"text"};
  EXPECT_THAT(train_bpe(documents, {.vocab_size = 200}).status().message(), HasSubstr("262"));
  EXPECT_THAT(train_bpe(documents, {.bos = "<nope>"}).status().message(), HasSubstr("<nope>"));
  EXPECT_FALSE(train_bpe(documents, {.pattern = "(["}).ok());
  const std::vector<std::string_view> broken = {"ok", "\xFF"};
  EXPECT_THAT(train_bpe(broken, {}).status().message(), HasSubstr("document 1"));
}

}  // namespace
}  // namespace umbel
