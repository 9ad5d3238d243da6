#include "data/dataset.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "data/dataset_cache.h"
#include "io/test_folder.h"

namespace umbel::data {
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
    return load_named("rows.jsonl", text, std::move(options));
  }
  Result<Dataset> load_named(const std::string& name, const std::string& text, DatasetOptions options) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return load_dataset(folder_ / name, *tokenizer_, template_.get(), options);
  }

  std::string trained_text(const Example& example) {
    std::vector<TokenId> ids;
    for (size_t i = 0; i < example.tokens.size(); ++i) {
      if (example.trained[i]) ids.push_back(example.tokens[i]);
    }
    return *tokenizer_->decode(ids, /*skip_special=*/false);
  }

  TestFolder folder_;
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
  auto dataset = load("{\"prompt\": \"a\", \"completion\": \"b\"}\n\n{\"prompt\": \"a\"}\n{broken\n{\"prompt\": 3, \"completion\": \"b\"}\n",
                      {.eos = 2, .unusable_share_max = 0.8});
  ASSERT_TRUE(dataset.ok()) << dataset.status().message();
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
  EXPECT_FALSE(load("{\"texts\": \"no format\"}").ok());
}


TEST_F(DatasetTest, TextsAreTrainedWholeAndMayBeJoined) {
  const std::string text = "{\"text\": \"One day\"}\n{\"text\": \"\"}\n{\"text\": \"Two days later\"}\n";
  auto dataset = load(text);
  ASSERT_TRUE(dataset.ok()) << dataset.status().message();
  ASSERT_EQ(dataset->examples.size(), 2u);
  EXPECT_EQ(dataset->format, RowFormat::kText);
  EXPECT_EQ(trained_text(dataset->examples[0]), "One day</s>");
  EXPECT_EQ(dataset->examples[0].tokens.front(), 1);
  EXPECT_EQ(dataset->skipped.at(0).line, 2);
  auto joined = load(text, {.length_max = 5, .eos = 2, .join = true});
  ASSERT_TRUE(joined.ok()) << joined.status().message();
  std::string all;
  for (const Example& window : joined->examples) all += trained_text(window);
  EXPECT_EQ(all, "One day</s><s>Two days later</s>");
  EXPECT_FALSE(load(R"({"prompt": "a", "completion": "b"})", {.eos = 2, .join = true}).ok());
  EXPECT_FALSE(load(text, {.eos = 2, .join = true, .pack = true}).ok());
}

TEST_F(DatasetTest, CsvWithATemplate) {
  const DatasetOptions options{.eos = 2, .prompt_template = "Customer: {text}\nIntent:", .completion_template = " {category}"};
  auto dataset = load_named("rows.csv", "text,category\n\"Where is \"\"it\"\",\nplease?\",card_arrival\nlost,\n", options);
  ASSERT_TRUE(dataset.ok()) << dataset.status().message();
  EXPECT_EQ(dataset->format, RowFormat::kTemplate);
  EXPECT_EQ(*tokenizer_->decode(dataset->examples.at(0).tokens, false), "<s>Customer: Where is \"it\",\nplease?\nIntent: card_arrival</s>");
  EXPECT_EQ(trained_text(dataset->examples[0]), " card_arrival</s>");
  auto wrong = load_named("rows.csv", "text,label\na,b\n", options);
  ASSERT_FALSE(wrong.ok());
  EXPECT_NE(wrong.status().message().find("\"category\""), std::string::npos) << wrong.status().message();
  EXPECT_NE(wrong.status().message().find("text, label"), std::string::npos);
  DatasetOptions constant = options;
  constant.completion_template = " yes";
  EXPECT_FALSE(load_named("rows.csv", "text,category\na,b\n", constant).ok());
  // A header of known names needs no template, and JSON rows may have one.
  EXPECT_EQ(load_named("plain.csv", "prompt,completion\na, b\n", {.eos = 2})->format, RowFormat::kPromptCompletion);
  EXPECT_EQ(trained_text(load(R"({"text": "x", "category": 7})", options)->examples.at(0)), " 7</s>");
}

TEST_F(DatasetTest, MessagesMayLeaveTurnsUntrainedAndSplitIntoPromptAndCompletion) {
  auto weighted = load(R"({"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day", "weight": 0}, {"role": "user", "content": "Bye"}, {"role": "assistant", "content": "Farewell"}]})");
  ASSERT_TRUE(weighted.ok()) << weighted.status().message();
  EXPECT_EQ(trained_text(weighted->examples.at(0)), "Farewell</s>");
  auto split = load(R"({"prompt": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day"}, {"role": "user", "content": "Bye"}], "completion": [{"role": "assistant", "content": "Farewell"}]})");
  ASSERT_TRUE(split.ok()) << split.status().message();
  EXPECT_EQ(trained_text(split->examples.at(0)), "Farewell</s>");
  EXPECT_FALSE(load(R"({"messages": [{"role": "user", "content": "Hello"}]})").ok());  // nothing to train
  EXPECT_FALSE(load(R"({"messages": [{"role": "user", "content": 3}, {"role": "assistant", "content": "x"}]})").ok());
}

// Qwen 3's way: a turn that is no longer the last one loses what stood before its words.
TEST_F(DatasetTest, TemplatesThatRewriteEarlierTurnsGiveAnExampleATurn) {
  template_ = ChatTemplate::from_source("{{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|>' }}{% if m['role'] == 'assistant' and loop.last %}{{ '(thought)' }}{% endif %}"
                                        "{{ m['content'] | trim }}{% if m['role'] == 'assistant' %}{{ ' </s>' }}{% endif %}{% endfor %}"
                                        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}",
                                        {{"bos_token", "<s>"}, {"eos_token", "</s>"}}).value();
  auto dataset = load(R"({"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": " Good day"}, {"role": "user", "content": "Good day"}, {"role": "assistant", "content": "Farewell"}]})");
  ASSERT_TRUE(dataset.ok()) << dataset.status().message();
  ASSERT_EQ(dataset->examples.size(), 2u);
  EXPECT_EQ(dataset->rows, 1);
  EXPECT_EQ(trained_text(dataset->examples[0]), "(thought)Good day </s>");
  EXPECT_EQ(trained_text(dataset->examples[1]), "(thought)Farewell </s>");
  EXPECT_EQ(dataset->examples[1].part, 1);
}

TEST_F(DatasetTest, GenerationBlocksSayWhatIsTrained) {
  template_ = ChatTemplate::from_source("{% for m in messages %}{{ '<|' + m['role'] + '|>' }}{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] + eos_token }}{% endgeneration %}"
                                        "{% else %}{{ m['content'] }}{% endif %}{% endfor %}", {{"eos_token", "</s>"}}).value();
  const std::string row = R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "One"}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Two", "train": TRAIN}]})";
  const auto with = [&](const std::string& value) { return std::string(row).replace(row.find("TRAIN"), 5, value); };
  EXPECT_EQ(trained_text(load(with("true"))->examples.at(0)), "One</s>Two</s>");
  EXPECT_EQ(trained_text(load(with("false"))->examples.at(0)), "One</s>");
}

TEST_F(DatasetTest, AnEndTokenInTheTextIsNotDoubled) {
  auto dataset = load(R"({"prompt": "<s>a", "completion": " b</s>"})");
  ASSERT_TRUE(dataset.ok()) << dataset.status().message();
  EXPECT_EQ(std::count(dataset->examples[0].tokens.begin(), dataset->examples[0].tokens.end(), 1), 1);
  EXPECT_EQ(std::count(dataset->examples[0].tokens.begin(), dataset->examples[0].tokens.end(), 2), 1);
}

TEST_F(DatasetTest, EncodingsOtherThanUtf8AreNamed) {
  auto utf16 = load(std::string("\xff\xfe{\0\"\0", 6));
  ASSERT_FALSE(utf16.ok());
  EXPECT_NE(utf16.status().message().find("iconv"), std::string::npos);
  auto latin = load("{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": \"caf\xe9\", \"completion\": \"b\"}\n");
  ASSERT_TRUE(latin.ok()) << latin.status().message();
  EXPECT_EQ(latin->skipped.at(0).line, 2);
  EXPECT_NE(latin->skipped[0].reason.find("UTF-8"), std::string::npos) << latin->skipped[0].reason;
  EXPECT_TRUE(load("\xef\xbb\xbf{\"prompt\": \"a\", \"completion\": \"b\"}").ok());
}

TEST_F(DatasetTest, TooManyUnusableRowsAreAnError) {
  const std::string good = "{\"prompt\": \"a\", \"completion\": \"b\"}\n", bad = "{\"prompt\": \"a\"}\n";
  EXPECT_TRUE(load(bad + good + good + bad).ok());
  auto most = load(good + bad + bad);
  ASSERT_FALSE(most.ok());
  EXPECT_NE(most.status().message().find("2 of its 3 rows"), std::string::npos) << most.status().message();
  EXPECT_NE(most.status().message().find("rows.jsonl:2"), std::string::npos);
  auto all = load(bad + bad, {.eos = 2, .unusable_share_max = 1});
  ASSERT_FALSE(all.ok());
  EXPECT_NE(all.status().message().find("none of its 2 rows"), std::string::npos);
}

// Rows of many lengths, some bad.
std::string many_rows(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    text += i % 97 == 5 ? "{broken\n" : "{\"prompt\": \"Row " + std::to_string(i) + " of\", \"completion\": \" " + std::string(i % 50 * 7, 'y') + " done\"}\n";
  }
  return text;
}

void expect_same(const Dataset& a, const Dataset& b) {
  ASSERT_EQ(a.examples.size(), b.examples.size());
  for (size_t i = 0; i < a.examples.size(); ++i) {
    EXPECT_TRUE(a.examples[i].tokens == b.examples[i].tokens && a.examples[i].trained == b.examples[i].trained) << i;
    EXPECT_EQ(a.examples[i].line, b.examples[i].line);
  }
  ASSERT_EQ(a.skipped.size(), b.skipped.size());
  for (size_t i = 0; i < a.skipped.size(); ++i) {
    EXPECT_EQ(a.skipped[i].line, b.skipped[i].line);
    EXPECT_EQ(a.skipped[i].reason, b.skipped[i].reason);
  }
  ASSERT_EQ(a.cut.size(), b.cut.size());
  for (size_t i = 0; i < a.cut.size(); ++i) EXPECT_TRUE(a.cut[i].line == b.cut[i].line && a.cut[i].tokens == b.cut[i].tokens);
  EXPECT_EQ(a.trained_tokens, b.trained_tokens);
  EXPECT_EQ(a.rows, b.rows);
  EXPECT_EQ(a.format, b.format);
}

TEST_F(DatasetTest, ThreadsChangeNothingAndOrderIsTheFiles) {
  const std::string text = many_rows(5000);
  const Dataset one = load(text, {.length_max = 100, .eos = 2, .threads = 1}).value();
  const Dataset four = load(text, {.length_max = 100, .eos = 2, .threads = 4}).value();
  expect_same(one, four);
  EXPECT_GT(one.cut.size(), 10u);
  for (size_t i = 1; i < one.examples.size(); ++i) EXPECT_LT(one.examples[i - 1].line, one.examples[i].line);
}

TEST_F(DatasetTest, ASecondLoadComesFromTheCacheAndIsTheSame) {
  const std::string text = many_rows(300);
  DatasetOptions options{.length_max = 100, .eos = 2, .cache_dir = folder_.path()};
  const Dataset made = load(text, options).value();
  EXPECT_EQ(made.files_cached, 0);
  const Dataset kept = load(text, options).value();
  EXPECT_EQ(kept.files_cached, 1);
  expect_same(made, kept);
  // What rows depend on is in the key.
  EXPECT_EQ(load(text + "{\"prompt\": \"a\", \"completion\": \"b\"}\n", options)->files_cached, 0);
  DatasetOptions other = options;
  other.length_max = 90;
  EXPECT_EQ(load(text, other)->files_cached, 0);
  other = options;
  other.eos = -1;
  EXPECT_EQ(load(text, other)->files_cached, 0);
  template_ = ChatTemplate::from_source("x", Json::object()).value();
  EXPECT_EQ(load(text, options)->files_cached, 0);
}

TEST_F(DatasetTest, NoByteOfACacheFileIsTrustedBlindly) {
  const std::string text = many_rows(20);
  const DatasetOptions options{.length_max = 100, .eos = 2, .cache_dir = folder_.path()};
  const Dataset made = load(text, options).value();
  const std::string key = dataset_cache_key(folder_ / "rows.jsonl", *tokenizer_, template_.get(), options).value();
  const Path path = dataset_cache_path(folder_ / "datasets", key);
  const std::string good = read_file(path).value();
  const auto put = [&](const std::string& bytes) { std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes; };
  for (size_t at = 0; at < good.size(); at += at < 200 ? 1 : 37) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x41);
    put(bad);
    EXPECT_FALSE(read_dataset_cache(folder_ / "datasets", key).ok()) << at;
    put(good.substr(0, at));
    EXPECT_FALSE(read_dataset_cache(folder_ / "datasets", key).ok()) << at;
  }
  put(good + "x");
  EXPECT_FALSE(read_dataset_cache(folder_ / "datasets", key).ok());
  // A damaged file is made anew, and used again.
  put(good.substr(0, good.size() / 2));
  const Dataset again = load(text, options).value();
  EXPECT_EQ(again.files_cached, 0);
  expect_same(made, again);
  EXPECT_EQ(load(text, options)->files_cached, 1);
}

TEST_F(DatasetTest, ACacheThatCannotBeWrittenIsNoFailure) {
  std::ofstream(folder_ / "file") << "x";
  const DatasetOptions options{.eos = 2, .cache_dir = (folder_ / "file").string()};
  EXPECT_TRUE(load(many_rows(3), options).ok());
}

TEST_F(DatasetTest, TheCacheKeepsToItsSizeAndForgetsTheOldest) {
  DatasetOptions options{.eos = 2, .cache_dir = folder_.path(), .cache_bytes_max = 6000};
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(load(many_rows(20 + i), options).ok());
  uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "datasets")) bytes += entry.file_size();
  EXPECT_LE(bytes, 6000u);
  EXPECT_EQ(load(many_rows(25), options)->files_cached, 1);
  EXPECT_EQ(load(many_rows(20), options)->files_cached, 0);
}

TEST_F(DatasetTest, RowsAreHeldOutByTheirSeed) {
  const Dataset all = load(many_rows(100)).value();
  Dataset data = all;
  const auto rows = static_cast<int64_t>(data.examples.size());
  const Dataset held = hold_out(data, {.rows = 30}).value();
  ASSERT_EQ(held.examples.size(), 30u);
  EXPECT_EQ(static_cast<int64_t>(data.examples.size()), rows - 30);
  EXPECT_LT(held.examples.front().line, 40) << "from everywhere in the file";
  EXPECT_GT(held.examples.back().line, 60);
  const auto by_line = [](const Example& a, const Example& b) { return a.line < b.line; };
  EXPECT_TRUE(std::is_sorted(held.examples.begin(), held.examples.end(), by_line));
  EXPECT_TRUE(std::is_sorted(data.examples.begin(), data.examples.end(), by_line));
  EXPECT_EQ(data.trained_tokens + held.trained_tokens, all.trained_tokens);
  const auto lines = [&](uint64_t seed) {
    Dataset copy = all;
    std::vector<int64_t> found;
    const Dataset out = hold_out(copy, {.rows = 30, .seed = seed}).value();
    for (const Example& example : out.examples) found.push_back(example.line);
    return found;
  };
  EXPECT_EQ(lines(1), lines(1));
  EXPECT_NE(lines(1), lines(2));
  EXPECT_EQ(hold_out(data, parse_eval_split("10%").value()).value().examples.size(), static_cast<size_t>((rows - 30) / 10));
  EXPECT_FALSE(hold_out(data, {.rows = 1000}).ok());
  EXPECT_FALSE(hold_out(data, {}).ok());
}

// Labels: 60 of one answer, 30 and 10 of others, sorted as files often are; and rows of two examples.
Dataset labelled() {
  Dataset data;
  for (int row = 0; row < 100; ++row) {
    const TokenId label = row < 60 ? 7 : row < 90 ? 8 : 9;
    for (int part = 0; part < 1 + row % 2; ++part) {
      data.examples.push_back({.tokens = {1, static_cast<TokenId>(100 + row), label}, .trained = {0, 0, 1}, .line = row + 1, .part = part});
    }
  }
  return data;
}

TEST_F(DatasetTest, EveryAnswerGivesItsShareOfTheHeldOutRows) {
  for (const uint64_t seed : {1, 2, 3, 4, 5}) {
    Dataset data = labelled();
    const Dataset held = hold_out(data, {.rows = 20, .seed = seed}).value();
    std::map<TokenId, int> rows;
    for (const Example& example : held.examples) rows[example.tokens.back()] += example.part == 0 ? 1 : 0;
    EXPECT_NEAR(rows[7], 12, 2);
    EXPECT_NEAR(rows[8], 6, 2);
    EXPECT_NEAR(rows[9], 2, 1);
    EXPECT_EQ(rows[7] + rows[8] + rows[9], 20);
    EXPECT_EQ(data.examples.size() + held.examples.size(), 150u);
    EXPECT_EQ(count_shared(data, held), 0) << "a row's examples are on one side";
  }
}

TEST_F(DatasetTest, AnswersAreCountedAndSharedRowsFound) {
  const Dataset data = labelled();
  const std::vector<AnswerCount> counts = count_answers(data);
  ASSERT_EQ(counts.size(), 3u);
  EXPECT_EQ(counts[0].rows, 90);
  EXPECT_EQ(counts[0].example, 0u);
  EXPECT_EQ(counts[2].rows, 15);
  EXPECT_EQ(count_shared(data, data), 150);
}

TEST_F(DatasetTest, SplitsAreRowsOrShares) {
  EXPECT_EQ(parse_eval_split("300")->rows, 300);
  EXPECT_DOUBLE_EQ(parse_eval_split("0.25")->share, 0.25);
  EXPECT_DOUBLE_EQ(parse_eval_split("5%")->share, 0.05);
  for (const char* text : {"", "0", "-3", "1.5", "100%", "ten", "3 rows", "%", "0.0"}) EXPECT_FALSE(parse_eval_split(text).ok()) << text;
}

TEST_F(DatasetTest, NoWindowOrPackHoldsBothSidesOfASplit) {
  std::ofstream(folder_ / "t.jsonl") << "{\"text\": \"One\"}\n{\"text\": \"Two\"}\n{\"text\": \"Three\"}\n";
  const std::vector<Path> files = {folder_ / "t.jsonl"};
  const auto split = load_split(files, *tokenizer_, nullptr, {.eos = 2, .join = true}, {.rows = 1});
  ASSERT_TRUE(split.ok()) << split.status().message();
  const std::string train = trained_text(split->train.examples.at(0)), held = trained_text(split->held_out.examples.at(0));
  EXPECT_EQ(split->train.examples.size(), 1u);
  EXPECT_EQ(train.find(held.substr(0, 3)), std::string::npos) << train << " | " << held;
  Dataset packed = load(many_rows(40), {.eos = 2, .pack = true}).value();
  EXPECT_LT(packed.units(), packed.examples.size());
  EXPECT_FALSE(hold_out(packed, {.rows = 1}).ok());
}

TEST_F(DatasetTest, SeveralFilesAreOneAndPlacesAreNamed) {
  std::ofstream(folder_ / "a.jsonl") << "{\"prompt\": \"a\", \"completion\": \"b\"}\n";
  std::ofstream(folder_ / "b.json") << "[{\"prompt\": \"a\", \"completion\": \"b\"},\n{\"prompt\": \"a\"}]";
  const std::vector<Path> files = {folder_ / "a.jsonl", folder_ / "b.json"};
  const auto data = load_dataset(files, *tokenizer_, nullptr, {.eos = 2});
  ASSERT_TRUE(data.ok()) << data.status().message();
  EXPECT_EQ(data->examples.size(), 2u);
  EXPECT_EQ(data->rows, 3);
  EXPECT_EQ(data->place(data->skipped.at(0).file, data->skipped[0].line), files[1].string() + ":2");
  const std::vector<Path> absent = {folder_ / "a.jsonl", folder_ / "c.jsonl"};
  EXPECT_NE(load_dataset(absent, *tokenizer_, nullptr, {.eos = 2}).status().message().find("c.jsonl"), std::string::npos);
  EXPECT_FALSE(load_dataset(std::span<const Path>(), *tokenizer_, nullptr, {}).ok());
}

TEST_F(DatasetTest, RealFilesOfEveryShape) {
  const char* given = std::getenv("UMBEL_DATA");
  const Path data = given != nullptr ? Path(given) : Path(std::getenv("UMBEL_SOURCE_DIR")) / "../shared/data";
  if (!std::filesystem::is_directory(data)) GTEST_SKIP() << "no real inputs: set UMBEL_DATA to their folder";
  struct Case {
    const char* file;
    RowFormat format;
    int64_t rows;
  };
  for (const Case& c : {Case{"datasets/instruct/alpaca_en_demo.json", RowFormat::kAlpaca, 999},
                        Case{"datasets/sharegpt_like/dummy_conversation.json", RowFormat::kShareGpt, 500},
                        Case{"tasks/banking77.train.jsonl", RowFormat::kPromptCompletion, 10003},
                        Case{"corpus/valid.jsonl.gz", RowFormat::kText, 272}}) {
    const auto loaded = load_dataset(data / c.file, *tokenizer_, template_.get(), {.length_max = 100000, .eos = 2});
    ASSERT_TRUE(loaded.ok()) << c.file << ": " << loaded.status().message();
    EXPECT_EQ(loaded->format, c.format) << c.file;
    EXPECT_EQ(loaded->rows, c.rows) << c.file;
    EXPECT_TRUE(loaded->skipped.empty()) << c.file << ": " << loaded->skipped.at(0).reason;
    for (const Example& example : loaded->examples) ASSERT_EQ(example.tokens.back(), 2) << c.file << ":" << example.line;
  }
  const DatasetOptions bank{.eos = 2, .prompt_template = "{text}", .completion_template = " {category}"};
  const auto csv = load_dataset(data / "datasets/banking77/train.csv", *tokenizer_, nullptr, bank);
  ASSERT_TRUE(csv.ok()) << csv.status().message();
  EXPECT_EQ(csv->rows, 10003);
  EXPECT_TRUE(csv->skipped.empty());
  const auto windows = load_dataset(data / "corpus/valid.jsonl.gz", *tokenizer_, nullptr, {.length_max = 257, .eos = 2, .join = true});
  ASSERT_TRUE(windows.ok()) << windows.status().message();
  for (size_t i = 0; i + 1 < windows->examples.size(); ++i) ASSERT_EQ(windows->examples[i].tokens.size(), 257u);
}

}  // namespace
}  // namespace umbel::data
