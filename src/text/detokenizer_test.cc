#include "text/detokenizer.h"

#include <gtest/gtest.h>

#include "text/text_testing.h"

namespace umbel {
namespace {

using testing::tiny;

using Ids = std::vector<TokenId>;

class Draw {
 public:
  explicit Draw(uint64_t seed) : state_(seed * 2 + 1) {}
  size_t operator()(size_t bound) {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<size_t>(state_ >> 33) % bound;
  }

 private:
  uint64_t state_;
};

bool is_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const size_t size = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 0;
    if (size == 0 || at + size > text.size()) return false;
    for (size_t i = 1; i < size; ++i) {
      if ((static_cast<unsigned char>(text[at + i]) & 0xC0) != 0x80) return false;
    }
    at += size;
  }
  return true;
}

// All pieces joined; every one of them is whole code points.
std::string stream(Detokenizer& detokenizer, const Ids& ids) {
  std::string all;
  for (const TokenId id : ids) {
    const std::string piece = detokenizer.push(id);
    EXPECT_TRUE(is_utf8(piece));
    all += piece;
  }
  return all + detokenizer.flush();
}

Ids random_ids(Draw& draw, size_t vocab, size_t longest) {
  Ids ids(1 + draw(longest));
  for (TokenId& id : ids) id = static_cast<TokenId>(draw(vocab));
  return ids;
}

void expect_equals_decode(const std::shared_ptr<const Tokenizer>& tokenizer, const Ids& ids) {
  for (const bool skip : {true, false}) {
    Detokenizer detokenizer(tokenizer, skip);
    ASSERT_EQ(stream(detokenizer, ids), tokenizer->decode(ids, skip).value()) << ::testing::PrintToString(ids);
  }
}

class EveryConstruction : public ::testing::TestWithParam<const char*> {};

TEST_P(EveryConstruction, PiecesJoinedEqualDecodeOfRandomIds) {
  const auto tokenizer = tiny(GetParam());
  Draw draw(1);
  for (int round = 0; round < 400; ++round) {
    expect_equals_decode(tokenizer, random_ids(draw, tokenizer->vocab_size(), round % 40 == 0 ? 300 : 16));
    if (HasFatalFailure()) return;
  }
}

TEST_P(EveryConstruction, EveryTokenOfTheVocabulary) {
  const auto tokenizer = tiny(GetParam());
  Ids all(tokenizer->vocab_size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<TokenId>(i);
  expect_equals_decode(tokenizer, {all.rbegin(), all.rend()});
  for (const TokenId id : all) expect_equals_decode(tokenizer, {id});
}

TEST_P(EveryConstruction, TextComesBackAsItIsEncoded) {
  const auto tokenizer = tiny(GetParam());
  const OrderedJson goldens = testing::golden("tokenizers_tiny.json");
  for (const OrderedJson& row : goldens["tokenizers"][GetParam()]["rows"]) {
    expect_equals_decode(tokenizer, row["ids"].get<Ids>());
  }
}

// The WordPiece decoder is left out: it joins words by rules that look back over what is out already.
INSTANTIATE_TEST_SUITE_P(Detokenizer, EveryConstruction,
                         ::testing::Values("gpt2", "gpt2_prefix", "llama3", "qwen", "llama2", "gemma", "t5"));

TEST(Detokenizer, AfterAPromptItContinuesThePrompt) {
  for (const char* name : {"llama2", "gpt2", "t5"}) {
    SCOPED_TRACE(name);
    const auto tokenizer = tiny(name);
    const Ids ids = tokenizer->encode("Hello world the quick brown fox", false).value();
    const std::string all = tokenizer->decode(ids, true).value();
    for (size_t cut = 1; cut < ids.size(); ++cut) {
      const Ids prompt(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(cut));
      Detokenizer detokenizer(tokenizer, true, prompt);
      const std::string rest = stream(detokenizer, {ids.begin() + static_cast<std::ptrdiff_t>(cut), ids.end()});
      EXPECT_EQ(tokenizer->decode(prompt, true).value() + rest, all) << cut;
    }
  }
}

TEST(Detokenizer, HoldsHalfACodePointBack) {
  const auto tokenizer = tiny("gpt2");
  const Ids ids = tokenizer->encode("🚀", false).value();
  ASSERT_GT(ids.size(), 1u);
  Detokenizer detokenizer(tokenizer, true);
  for (size_t i = 0; i + 1 < ids.size(); ++i) EXPECT_EQ(detokenizer.push(ids[i]), "");
  EXPECT_EQ(detokenizer.push(ids.back()), "🚀");
  EXPECT_EQ(detokenizer.flush(), "");
  EXPECT_EQ(detokenizer.push(ids[0]), "");
  EXPECT_EQ(detokenizer.flush(), "\xEF\xBF\xBD");
}

TEST(Detokenizer, ByteTokensComeOutWhenTheirRunEnds) {
  const auto tokenizer = tiny("llama2");
  const auto byte = [&](const char* name) { return tokenizer->id_of(name).value(); };
  const Ids word = tokenizer->encode("the", false).value();
  Detokenizer detokenizer(tokenizer, true, word);
  EXPECT_EQ(detokenizer.push(byte("<0xE6>")), "");
  EXPECT_EQ(detokenizer.push(byte("<0x9D>")), "");
  EXPECT_EQ(detokenizer.push(byte("<0xB1>")), "");
  EXPECT_EQ(detokenizer.push(word[0]), "東" + tokenizer->decode(Ids{word[0], word[0]}, true)
                                                  .value()
                                                  .substr(tokenizer->decode(Ids{word[0]}, true).value().size()));
}

TEST(Detokenizer, LongRunsOfByteTokensDoNotStall) {
  const auto tokenizer = tiny("llama2");
  const Ids word = tokenizer->encode("the", false).value();
  Detokenizer detokenizer(tokenizer, true, word);
  std::string all;
  for (int i = 0; i < 100; ++i) {
    for (const char* name : {"<0xE6>", "<0x9D>", "<0xB1>"}) {
      const std::string piece = detokenizer.push(tokenizer->id_of(name).value());
      EXPECT_TRUE(is_utf8(piece));
      all += piece;
    }
    EXPECT_GE(all.size() + 30, static_cast<size_t>(i) * 3) << "held back for too long";
  }
  all += detokenizer.flush();
  std::string expected;
  for (int i = 0; i < 100; ++i) expected += "東";
  EXPECT_EQ(all, expected);
}

// A code point that never ends must not make the window grow: 20000 such ids take well under a second.
TEST(Detokenizer, BrokenBytesForever) {
  const auto tokenizer = tiny("gpt2");
  const TokenId continuation = tokenizer->encode("東", false).value().back();
  const Ids ids(20000, continuation);
  Detokenizer detokenizer(tokenizer, true);
  EXPECT_EQ(stream(detokenizer, ids), tokenizer->decode(ids, true).value());
}

TEST(Detokenizer, StrangeIdsAddNothing) {
  const auto tokenizer = tiny("gpt2");
  const Ids ids = tokenizer->encode("Hello world", false).value();
  Detokenizer detokenizer(tokenizer, true);
  std::string all;
  for (const TokenId id : ids) all += detokenizer.push(id) + detokenizer.push(-1) + detokenizer.push(100000);
  EXPECT_EQ(all + detokenizer.flush(), "Hello world");
}

TEST(Detokenizer, RealTokenizers) {
  const Path data = testing::data_dir();
  std::vector<Path> dirs = {testing::source_dir() / "assets/seedling"};
  if (!data.empty()) {
    for (const char* name : {"models/stories260K/hf", "tokenizers/llama2", "tokenizers/gpt2", "tokenizers/t5-small"}) {
      dirs.push_back(data / name);
    }
  }
  for (const Path& dir : dirs) {
    SCOPED_TRACE(dir.string());
    const auto tokenizer = Tokenizer::load(dir).value();
    Draw draw(3);
    for (int round = 0; round < 150; ++round) {
      expect_equals_decode(tokenizer, random_ids(draw, tokenizer->vocab_size(), 24));
      if (HasFatalFailure()) return;
    }
  }
  if (data.empty()) GTEST_SKIP() << testing::kNoData;
}

}  // namespace
}  // namespace umbel
