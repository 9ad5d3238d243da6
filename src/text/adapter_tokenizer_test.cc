#include "text/adapter_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/text_testing.h"

namespace umbel {
namespace {

using testing::Folder;
using ::testing::HasSubstr;

// A base of 4096 tokens whose model has rows for 4160, and an adapter's folder.
class AdapterTokenizerTest : public ::testing::Test {
 protected:
  static constexpr int64_t kRows = 4160;
  Result<std::shared_ptr<const Tokenizer>> read() const {
    return adapter_tokenizer(text_files_of(folder_.path()), base_, kRows);
  }
  std::string refusal() const {
    const auto own = read();
    EXPECT_FALSE(own.ok());
    return own.ok() ? "" : own.status().message();
  }
  Json base_json() const {
    return parse_json(read_file(testing::source_dir() / "assets/seedling/tokenizer.json").value(), "base").value();
  }

  const Folder folder_{"adapter_tokenizer"};
  const std::shared_ptr<const Tokenizer> base_ = Tokenizer::load(testing::source_dir() / "assets/seedling").value();
  const TokenId next_ = static_cast<TokenId>(base_->vocab_size());
};

TEST_F(AdapterTokenizerTest, WithoutFilesOrNewTokensItIsTheBases) {
  EXPECT_EQ(read().value(), base_);
  folder_.write("tokenizer.json", base_json().dump());
  folder_.write("added_tokens.json", Json{{*base_->token(3), 3}}.dump());
  EXPECT_EQ(read().value(), base_);
}

TEST_F(AdapterTokenizerTest, AddedTokensOfEveryFileAreRead) {
  Json json = base_json();
  json["added_tokens"].push_back({{"id", next_}, {"content", "<CALL>"}, {"special", true}});
  folder_.write("tokenizer.json", json.dump());
  folder_.write("tokenizer_config.json",
                Json{{"added_tokens_decoder", {{std::to_string(next_ + 1), {{"content", "<END>"}, {"special", false}}}}}}.dump());
  folder_.write("added_tokens.json", Json{{"<CALL>", next_}, {"<MORE>", next_ + 2}}.dump());
  const auto own = read().value();
  ASSERT_NE(own, base_);
  EXPECT_EQ(own->encode("a<CALL>b<END><MORE>", false).value(),
            (std::vector<TokenId>{base_->encode("a", false)->front(), next_, base_->encode("b", false)->front(), next_ + 1,
                                  next_ + 2}));
  EXPECT_TRUE(own->is_special(next_));
  EXPECT_FALSE(own->is_special(next_ + 1));
  EXPECT_EQ(own->decode(std::vector<TokenId>{next_, next_ + 1}, true).value(), "<END>");
  EXPECT_EQ(own->vocab_size(), base_->vocab_size() + 3);
  EXPECT_EQ(own->bos(), base_->bos());
  EXPECT_NE(own->digest(), base_->digest());
  EXPECT_EQ(own->encode("The same text.", true).value(), base_->encode("The same text.", true).value());
  EXPECT_EQ(base_->id_of("<CALL>"), std::nullopt) << "the base stays as it is";
}

TEST_F(AdapterTokenizerTest, WhatTheBaseUnderstandsOtherwiseIsRefusedByName) {
  folder_.write("added_tokens.json", Json{{"<CALL>", next_ - 1}}.dump());
  EXPECT_THAT(refusal(), HasSubstr("added_tokens.json: the token \"<CALL>\" has the id"));
  EXPECT_THAT(refusal(), HasSubstr("in the base's"));
  folder_.write("added_tokens.json", Json{{*base_->token(100), 101}}.dump());
  EXPECT_THAT(refusal(), HasSubstr("where the base's has 100"));
  folder_.write("added_tokens.json", "{}");
  Json json = base_json();
  json["model"]["vocab"][*base_->token(200)] = 201;
  folder_.write("tokenizer.json", json.dump());
  EXPECT_THAT(refusal(), HasSubstr("tokenizer.json: the token"));
}

TEST_F(AdapterTokenizerTest, AddedTokensAreLimited) {
  const auto code = [&](const Json& added) {
    folder_.write("added_tokens.json", added.dump());
    const auto own = read();
    return own.ok() ? Code::kOk : own.status().code();
  };
  EXPECT_EQ(code({{"<CALL>", kRows}}), Code::kUnsupported) << "past the model's rows";
  EXPECT_EQ(code({{"<CALL>", -1}}), Code::kUnsupported);
  EXPECT_EQ(code({{"<CALL>", "x"}}), Code::kUnsupported);
  EXPECT_EQ(code({{"", next_}}), Code::kUnsupported);
  EXPECT_EQ(code({{std::string(kAddedTokenBytesMax + 1, 'x'), next_}}), Code::kUnsupported);
  EXPECT_EQ(code({{"<A>", next_}, {"<B>", next_}}), Code::kUnsupported) << "two of one id";
  EXPECT_EQ(code({{"<A>", next_ + 5}}), Code::kUnsupported) << "a gap before it: no tokenizer gives such an id";
  folder_.write("added_tokens.json", "[");
  EXPECT_EQ(read().status().code(), Code::kInvalidArgument);
}

// An added token may stand in the vocabulary, too, before or behind the list that says what it is.
TEST_F(AdapterTokenizerTest, FlagsCountWhereverTheTokenStandsFirst) {
  Json json = base_json();
  json["model"]["vocab"]["<CALL>"] = next_;
  json["added_tokens"].push_back({{"id", next_}, {"content", "<CALL>"}, {"special", true}});
  std::string vocabulary_first = "{\"model\":" + json["model"].dump() + ",\"added_tokens\":" + json["added_tokens"].dump() + "}";
  for (const std::string& text : {json.dump(), vocabulary_first}) {
    folder_.write("tokenizer.json", text);
    EXPECT_TRUE(read().value()->is_special(next_));
  }
}

// What a file costs is its own size: lists that no tokenizer of this base has are refused before they are gone through.
TEST_F(AdapterTokenizerTest, AFileThatIsTooLargeForTheBaseIsRefused) {
  folder_.write("tokenizer.json", "{\"x\":\"" + std::string(6 << 20, 'x') + "\"}");
  EXPECT_EQ(read().status().code(), Code::kTooLong);
  std::string many = "{\"model\":{\"vocab\":{";
  for (int i = 0; i < 20'000; ++i) many += (i > 0 ? ",\"" : "\"") + std::string("<pad>") + "\":0";
  folder_.write("tokenizer.json", many + "}}}");
  EXPECT_THAT(refusal(), HasSubstr("tokenizer.json: more than "));
}

}  // namespace
}  // namespace umbel
