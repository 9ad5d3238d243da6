#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "text/text_testing.h"

namespace umbel {
namespace {

using testing::Folder;
using ::testing::HasSubstr;
using testing::text_of;
using testing::tiny;

using Ids = std::vector<TokenId>;

Ids ids_of(const OrderedJson& json) { return json.get<Ids>(); }

// Real tokenizers whose files carry a prefix are put together as a folder.
std::shared_ptr<const Tokenizer> real(const Path& data, const std::string& place) {
  if (place == "@seedling") return Tokenizer::load(testing::source_dir() / "assets/seedling").value();
  if (!place.ends_with("_")) return Tokenizer::load(data / place).value();
  const Folder folder("real");
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
    folder.write(name, read_file(data / (place + name)).value());
  }
  return Tokenizer::load(folder.path()).value();
}

std::optional<TokenId> optional_id(const OrderedJson& json) {
  if (json.is_null()) return std::nullopt;
  return json.get<TokenId>();
}

// Two BOS in front happen only where the text brings its own: we keep one.
Ids with_one_bos(Ids ids, const Tokenizer& tokenizer) {
  if (ids.size() > 1 && tokenizer.bos() && ids[0] == *tokenizer.bos() && ids[1] == ids[0]) ids.erase(ids.begin());
  return ids;
}

void expect_decoded(const Tokenizer& tokenizer, const OrderedJson& row) {
  const Ids ids = ids_of(row["ids"]);
  for (const bool skip : {false, true}) {
    const OrderedJson& text = row[skip ? "decoded_skip" : "decoded"];
    if (text.is_null()) continue;
    EXPECT_EQ(tokenizer.decode(ids, skip).value(), text_of(text)) << skip;
  }
}

void expect_golden(const Tokenizer& tokenizer, const OrderedJson& expected) {
  EXPECT_EQ(tokenizer.vocab_size(), expected["vocab_size"].get<size_t>());
  EXPECT_EQ(tokenizer.bos(), optional_id(expected["bos"]));
  EXPECT_EQ(tokenizer.eos(), optional_id(expected["eos"]));
  for (const OrderedJson& id : expected["special"]) EXPECT_TRUE(tokenizer.is_special(id.get<TokenId>())) << id;
  for (const OrderedJson& row : expected["rows"]) {
    SCOPED_TRACE(row["text"].dump());
    const std::string text = text_of(row["text"]);
    const Ids ids = tokenizer.encode(text, true).value();
    EXPECT_EQ(ids, with_one_bos(ids_of(row["ids"]), tokenizer));
    EXPECT_EQ(tokenizer.encode(text, false).value(), ids_of(row["plain"]));
    expect_decoded(tokenizer, row);
  }
  for (const OrderedJson& row : expected["random"]) {
    SCOPED_TRACE(row["ids"].dump());
    expect_decoded(tokenizer, row);
  }
}

TEST(Tokenizer, TinyOnesOfEveryConstructionEqualTransformers) {
  const OrderedJson goldens = testing::golden("tokenizers_tiny.json");
  ASSERT_GE(goldens["tokenizers"].size(), 12u);
  for (const auto& [name, expected] : goldens["tokenizers"].items()) {
    SCOPED_TRACE(name);
    expect_golden(*tiny(name), expected);
  }
}

TEST(Tokenizer, RealOnesEqualTransformers) {
  const Path data = testing::data_dir();
  const OrderedJson goldens = testing::golden("tokenizers_real.json");
  expect_golden(*real(data, "@seedling"), goldens["tokenizers"]["seedling"]);
  if (data.empty()) GTEST_SKIP() << testing::kNoData;
  for (const auto& [name, expected] : goldens["tokenizers"].items()) {
    SCOPED_TRACE(name);
    expect_golden(*real(data, text_of(expected["place"])), expected);
  }
}

// llama.cpp's vectors: texts divided by a marker line, and one line of ids each (without special tokens).
struct Vectors {
  std::vector<std::string> texts;
  std::vector<Ids> ids;
};

Vectors read_vectors(const Path& stem) {
  static const std::string kMarker = "\n__ggml_vocab_test__\n";
  Vectors vectors;
  const std::string texts = read_file(Path(stem.string() + ".inp")).value();
  for (size_t at = 0;;) {
    const size_t end = texts.find(kMarker, at);
    if (end == std::string::npos) break;  // every text is followed by the marker
    vectors.texts.push_back(texts.substr(at, end - at));
    at = end + kMarker.size();
  }
  std::istringstream lines(read_file(Path(stem.string() + ".out")).value());
  for (std::string line; std::getline(lines, line);) {
    std::istringstream numbers(line);
    Ids ids;
    for (TokenId id; numbers >> id;) ids.push_back(id);
    vectors.ids.push_back(std::move(ids));
  }
  return vectors;
}

TEST(Tokenizer, LlamaCppVectors) {
  const Path data = testing::data_dir();
  if (data.empty()) GTEST_SKIP() << testing::kNoData;
  for (const auto& [folder, stem] : {std::pair{"gpt2", "gpt-2"}, std::pair{"llama2", "llama-spm"}}) {
    SCOPED_TRACE(folder);
    const auto tokenizer = Tokenizer::load(data / "tokenizers" / folder).value();
    const Vectors vectors =
        read_vectors(data / "tokenizers/llama.cpp-vectors" / ("ggml-vocab-" + std::string(stem) + ".gguf"));
    ASSERT_GT(vectors.texts.size(), 40u);
    ASSERT_EQ(vectors.texts.size(), vectors.ids.size());
    for (size_t i = 0; i < vectors.texts.size(); ++i) {
      EXPECT_EQ(tokenizer->encode(vectors.texts[i], false).value(), vectors.ids[i]) << vectors.texts[i];
    }
  }
}

TEST(Tokenizer, SpansAreByteRangesOfTheText) {
  const auto tokenizer = tiny("llama3");
  const std::string text = "Hello naïve 東京 world";
  const auto spans = tokenizer->encode_spans(text, true).value();
  EXPECT_EQ(spans.front().id, tokenizer->bos());
  EXPECT_EQ(spans.front().begin, spans.front().end);
  size_t covered = 0;
  for (size_t i = 1; i < spans.size(); ++i) {
    EXPECT_LE(spans[i].begin, spans[i].end);
    EXPECT_LE(spans[i].end, text.size());
    covered = std::max(covered, spans[i].end);
  }
  EXPECT_EQ(covered, text.size());
  const Ids ids = tokenizer->encode(text, true).value();
  ASSERT_EQ(spans.size(), ids.size());
  for (size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(spans[i].id, ids[i]);
}

TEST(Tokenizer, BosOnlyOnce) {
  const auto tokenizer = tiny("llama2");
  const Ids plain = tokenizer->encode("<s>Hello", true).value();
  EXPECT_EQ(plain[0], *tokenizer->bos());
  EXPECT_NE(plain[1], *tokenizer->bos());
  // Without special tokens nothing is taken away.
  EXPECT_EQ(tokenizer->encode("<s><s>Hello", false).value()[1], *tokenizer->bos());
}

TEST(Tokenizer, VocabularyLookups) {
  const auto tokenizer = tiny("llama2");
  EXPECT_EQ(tokenizer->token(1), "<s>");
  EXPECT_EQ(tokenizer->id_of("</s>"), 2);
  EXPECT_EQ(tokenizer->id_of("<0x41>"), 3 + 0x41);
  EXPECT_EQ(tokenizer->id_of("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer->token(-1), std::nullopt);
  EXPECT_EQ(tokenizer->token(1 << 30), std::nullopt);
  EXPECT_TRUE(tokenizer->is_special(1));
  EXPECT_FALSE(tokenizer->is_special(100));
  EXPECT_FALSE(tokenizer->is_special(-1));
}

TEST(Tokenizer, DecodeRefusesStrangeIds) {
  const auto tokenizer = tiny("gpt2");
  for (const TokenId id : {-1, 340, 1 << 30}) {
    const auto text = tokenizer->decode(Ids{1, id}, false);
    ASSERT_FALSE(text.ok());
    EXPECT_EQ(text.status().code(), Code::kInvalidArgument);
    EXPECT_THAT(text.status().message(), HasSubstr(std::to_string(id)));
  }
}

TEST(Tokenizer, TextMustBeUtf8) {
  const auto ids = tiny("gpt2")->encode("ab\xFF", true);
  ASSERT_FALSE(ids.ok());
  EXPECT_EQ(ids.status().code(), Code::kInvalidArgument);
  EXPECT_THAT(ids.status().message(), HasSubstr("byte 2"));
}

TEST(Tokenizer, MissingFileNamesTheRemedy) {
  const Folder folder("empty");
  const auto tokenizer = Tokenizer::load(folder.path());
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_EQ(tokenizer.status().code(), Code::kNotFound);
  EXPECT_THAT(tokenizer.status().message(), HasSubstr("save_pretrained"));
  EXPECT_THAT(tokenizer.status().message(), HasSubstr(folder.path().string()));
}

TEST(Tokenizer, BrokenFilesAreErrors) {
  for (const char* json : {"", "{", "[]", "{}", R"({"model": {"type": "BPE"}})", R"({"model": {"type": "Strange"}})"}) {
    const auto tokenizer = Tokenizer::from_json(json);
    ASSERT_FALSE(tokenizer.ok()) << json;
    EXPECT_EQ(tokenizer.status().code(), Code::kInvalidArgument) << json;
    EXPECT_THAT(tokenizer.status().message(), HasSubstr("tokenizer.json"));
  }
  const Folder folder("broken");
  folder.write("tokenizer.json", read_file(testing::goldens_dir() / "tokenizers/gpt2.json").value());
  folder.write("tokenizer_config.json", "{not json");
  EXPECT_THAT(Tokenizer::load(folder.path()).status().message(), HasSubstr("tokenizer_config.json"));
}

// Bytes of a good file changed at random: an error or a working tokenizer, never a crash.
TEST(Tokenizer, SurvivesDamagedFiles) {
  const std::string good = read_file(testing::goldens_dir() / "tokenizers/llama2.json").value();
  uint64_t state = 1;
  const auto draw = [&state](size_t bound) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<size_t>(state >> 33) % bound;
  };
  int loaded = 0;
  for (int round = 0; round < 300; ++round) {
    std::string json = good;
    for (size_t edits = 1 + draw(3); edits > 0; --edits) {
      const size_t at = draw(json.size());
      if (draw(2) == 0) {
        json[at] = static_cast<char>(32 + draw(95));
      } else {
        json.erase(at, 1 + draw(20));
      }
    }
    const auto tokenizer = Tokenizer::from_json(json);
    if (!tokenizer.ok()) continue;
    ++loaded;
    const auto ids = (*tokenizer)->encode("Hello 東京 <s>", true);
    if (!ids.ok()) continue;
    EXPECT_TRUE((*tokenizer)->decode(*ids, false).ok());
  }
  EXPECT_GT(loaded, 0);
}

TEST(Tokenizer, FromJsonAlone) {
  const auto tokenizer =
      Tokenizer::from_json(read_file(testing::goldens_dir() / "tokenizers/llama2.json").value()).value();
  EXPECT_EQ(tokenizer->bos(), std::nullopt);
  EXPECT_EQ(tokenizer->encode("Hello", true).value()[0], 1);
}

}  // namespace
}  // namespace umbel
