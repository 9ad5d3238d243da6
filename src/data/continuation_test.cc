// The invariant behind every row: its prompt has the ids that inference sends, and the whole decodes to the text given.
#include "data/continuation.h"

#include <gtest/gtest.h>

#include "data/data_testing.h"

namespace umbel::data {
namespace {

using umbel::testing::ids_of;

const std::vector<std::string> kPrompts = {"",          "Once upon a time, Tim had a", "### Answer:\n", "A: ",  "ends in two  ", "line\n\n", "tab\t",
                                           "naïve caf", "東京",                        "12",             "x",    "quote \"",       "(",        "a\r\n",
                                           "Human: hi\nAssistant: ", "<s>[INST] q [/INST]", "</s>"};
const std::vector<std::string> kAnswers = {"She was sad.", " red ball.", "yes", "\nline\n", "\n\n", " ", "  two", "é", "は日本 🚀", "345", "'s", "). Then", "\t", "", "Blue is one.</s>\n", "</s>"};

void expect_continuation(const std::string& name, const Tokenizer& tokenizer, const std::string& prompt, const std::string& answer) {
  for (const Specials specials : {Specials::kAdd, Specials::kWritten}) {
    const Continuation row = encode_continuation(tokenizer, prompt, answer, specials).value();
    const std::string what = name + ": " + prompt + "|" + answer;
    const std::vector<TokenId> ids = ids_of(row.tokens), sent = ids_of(encode_beginning(tokenizer, prompt, specials).value());
    ASSERT_EQ(row.prompt_tokens, sent.size()) << what;
    EXPECT_TRUE(std::equal(sent.begin(), sent.end(), ids.begin())) << what;
    const std::vector<TokenId> whole = ids_of(encode_beginning(tokenizer, prompt + answer, specials).value());
    // Some tokenizers change a text (T5 drops blanks), and special tokens may swallow blanks beside them.
    const std::string text = tokenizer.decode(ids, /*skip_special=*/false).value();
    // WordPiece drops capitals, and a word that it does not know as a whole is one unknown token where both halves alone are not.
    const bool joins_words = name == "tiny bert";
    if (!text.ends_with(prompt + answer) && !joins_words) {
      EXPECT_EQ(text, tokenizer.decode(whole, /*skip_special=*/false).value()) << what;
    }
    // Where the whole goes on from the prompt's ids there is nothing to choose.
    if (whole.size() >= sent.size() && std::equal(sent.begin(), sent.end(), whole.begin())) {
      EXPECT_EQ(ids, whole) << what;
    }
  }
}

TEST(Continuation, PromptsHaveTheirOwnIdsAndRowsTheirText) {
  for (const auto& [name, tokenizer] : umbel::testing::tokenizers_at_hand()) {
    for (const std::string& prompt : kPrompts) {
      for (const std::string& answer : kAnswers) expect_continuation(name, *tokenizer, prompt, answer);
    }
  }
}

TEST(Continuation, TogetherIsTheWholeText) {
  for (const auto& [name, tokenizer] : umbel::testing::tokenizers_at_hand()) {
    for (const std::string& prompt : kPrompts) {
      for (const std::string& answer : kAnswers) {
        const Continuation row = encode_together(*tokenizer, prompt, answer).value();
        EXPECT_EQ(ids_of(row.tokens), ids_of(encode_beginning(*tokenizer, prompt + answer, Specials::kAdd).value())) << name;
        EXPECT_LE(row.prompt_tokens, encode_beginning(*tokenizer, prompt, Specials::kAdd).value().size()) << name << ": " << prompt << "|" << answer;
      }
    }
  }
  const auto tokenizer = Tokenizer::load(umbel::testing::source_dir_of_rows() / "assets/seedling").value();
  const Continuation blank = encode_together(*tokenizer, "Answer: ", "yes").value();  // " yes" is scored, behind "Answer:"
  EXPECT_EQ(blank.prompt_tokens, encode_beginning(*tokenizer, "Answer:", Specials::kAdd).value().size());
}

TEST(Continuation, NothingThatIsWrittenBehindATextStandsInIt) {
  const auto tokenizer = Tokenizer::from_json(R"({"version": "1.0", "added_tokens": [
      {"id": 0, "content": "<b>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false},
      {"id": 1, "content": "<e>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}],
      "normalizer": null, "pre_tokenizer": null, "decoder": null,
      "post_processor": {"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<b>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<e>", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<b>": {"id": "<b>", "ids": [0], "tokens": ["<b>"]}, "<e>": {"id": "<e>", "ids": [1], "tokens": ["<e>"]}}},
      "model": {"type": "BPE", "vocab": {"<b>": 0, "<e>": 1, "a": 2, "b": 3}, "merges": []}})").value();
  EXPECT_EQ(ids_of(encode_beginning(*tokenizer, "ab", Specials::kAdd).value()), (std::vector<TokenId>{0, 2, 3}));
  EXPECT_EQ(ids_of(encode_beginning(*tokenizer, "a<e>", Specials::kAdd).value()), (std::vector<TokenId>{0, 2, 1}));
  EXPECT_EQ(ids_of(encode_continuation(*tokenizer, "a", "b", Specials::kAdd).value().tokens), (std::vector<TokenId>{0, 2, 3}));
}

}  // namespace
}  // namespace umbel::data
