#include "serve/prompt_length.h"

#include <gtest/gtest.h>

#include <string>

#include "serve/serve_testing.h"

namespace umbel::serve {
namespace {

// Knows how much it was given.
class CountingTokenizer final : public Tokenizer {
 public:
  Result<std::vector<TokenId>> encode(std::string_view text, bool add_special) const override {
    bytes_seen += text.size();
    return inner_->encode(text, add_special);
  }
  Result<std::vector<TokenSpan>> encode_spans(std::string_view text, bool add_special) const override { return inner_->encode_spans(text, add_special); }
  Result<std::string> decode(std::span<const TokenId> ids, bool skip_special) const override { return inner_->decode(ids, skip_special); }
  std::optional<std::string> token(TokenId id) const override { return inner_->token(id); }
  std::optional<TokenId> id_of(std::string_view token) const override { return inner_->id_of(token); }
  bool is_special(TokenId id) const override { return inner_->is_special(id); }
  size_t vocab_size() const override { return inner_->vocab_size(); }
  std::optional<TokenId> bos() const override { return inner_->bos(); }
  std::optional<TokenId> eos() const override { return inner_->eos(); }
  Result<std::shared_ptr<const Tokenizer>> with_added(const Json& tokens) const override { return inner_->with_added(tokens); }
  const std::string& digest() const override { return inner_->digest(); }

  mutable size_t bytes_seen = 0;

 private:
  const std::shared_ptr<const Tokenizer> inner_ = seedling_tokenizer();
};

TEST(PromptLength, NeverSaysMoreThanThereAre) {
  const CountingTokenizer tokenizer;
  for (const std::string& piece : {std::string("word "), std::string("\u00e9\u4e2d "), std::string("aaaaaaaa"), std::string("        "), std::string("7")}) {
    std::string text;
    while (text.size() < 100'000) text += piece;
    const size_t tokens = tokenizer.encode(text, false)->size();
    EXPECT_FALSE(is_surely_longer(tokenizer, text, tokens).value()) << piece;
    EXPECT_FALSE(is_surely_longer(tokenizer, text, tokens + 1).value()) << piece;
    EXPECT_TRUE(is_surely_longer(tokenizer, text, tokens / 40).value()) << piece;
  }
}

TEST(PromptLength, WhatIsFarTooLongCostsWhatFits) {
  const CountingTokenizer tokenizer;
  const std::string text(16 << 20, '7');
  EXPECT_TRUE(is_surely_longer(tokenizer, text, 1000).value());
  EXPECT_LT(tokenizer.bytes_seen, 100'000u);
  const size_t before = tokenizer.bytes_seen;
  EXPECT_FALSE(is_surely_longer(tokenizer, "short", 1000).value());
  EXPECT_EQ(tokenizer.bytes_seen, before) << "a common prompt is not tokenized twice";
}

}  // namespace
}  // namespace umbel::serve
