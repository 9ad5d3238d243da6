#include "data/questions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "data/data_testing.h"
#include "data/prompt_file.h"
#include "io/test_folder.h"

namespace umbel::data {
namespace {

using ::testing::HasSubstr;

class Questions : public ::testing::Test {
 protected:
  Path write(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return folder_ / name;
  }
  Result<std::vector<Question>> read(const Path& file, const DatasetOptions& options = {}, Answers answers = Answers::kOptional) {
    const RowEncoder encoder = RowEncoder::create(*tokenizer_, nullptr, options).value();
    return read_questions(file, {.adapter = "own", .answers = answers, .encoder = [&](const std::string&) { return &encoder; }});
  }

  TestFolder folder_;
  std::shared_ptr<const Tokenizer> tokenizer_ = Tokenizer::load(umbel::testing::source_dir_of_rows() / "assets/seedling").value();
};

TEST_F(Questions, RowsKeepAdapterIdSeedAndLine) {
  const auto rows = read(write("q.jsonl", "{\"prompt\": \"a\", \"id\": {\"n\": 1}, \"seed\": 5}\n\n{\"prompt\": \"b\", \"completion\": \" c\", \"adapter\": \"x\"}\n")).value();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].adapter, "own");
  EXPECT_EQ(rows[0].id["n"], 1);
  EXPECT_EQ(rows[0].seed, 5);
  EXPECT_EQ(rows[0].row.completion, std::nullopt);
  EXPECT_EQ(rows[1].line, 3);
  EXPECT_EQ(rows[1].adapter, "x");
  EXPECT_EQ(rows[1].row.completion, " c");
}

TEST_F(Questions, EveryFormatAndFileThatTrainingReads) {
  EXPECT_THAT(read(write("alpaca.json", R"([{"instruction": "Add.", "input": "2, 3"}])")).value()[0].row.prompt, HasSubstr("### Input:\n2, 3"));
  const DatasetOptions table{.prompt_template = "Q: {q}\nA:", .completion_template = " {a}"};
  const Path csv = write("t.csv", "q,a\nx,y\n");
  EXPECT_EQ(read(csv, table).value()[0].row.prompt, "Q: x\nA:");
  EXPECT_EQ(read(csv, table).value()[0].row.completion, " y");
  EXPECT_EQ(read(write("plain.jsonl", R"({"prompt": "p"})"), table).value()[0].row.prompt, "p");
}

TEST_F(Questions, WhatCannotBeAskedIsNamedByFileAndLine) {
  const auto refusal = [&](const std::string& bytes, Answers answers) { return read(write("q.jsonl", bytes), {}, answers).status().message(); };
  EXPECT_THAT(refusal("{\"prompt\": \"a\"}\n{\"text\": \"b\"}\n", Answers::kOptional), HasSubstr("q.jsonl:2"));
  EXPECT_THAT(refusal("{\"prompt\": \"a\"}\n", Answers::kNeeded), HasSubstr("no answer"));
  EXPECT_THAT(refusal("{\"prompt\": \"a\", \"seed\": -1}\n", Answers::kOptional), HasSubstr("\"seed\""));
  EXPECT_THAT(refusal("{\"prompt\": \"a\", \"adapter\": 1}\n", Answers::kOptional), HasSubstr("\"adapter\""));
  EXPECT_THAT(refusal("", Answers::kOptional), HasSubstr("holds no rows"));
}

TEST_F(Questions, APromptFileComesBack) {
  const PromptFile file{.format = RowFormat::kTemplate, .prompt = "Q: {q}\nA:", .completion = " {a}"};
  write(kPromptFileName, prompt_file_text(file));
  const auto back = read_prompt_file(folder_ / "").value();
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->format, file.format);
  EXPECT_EQ(back->prompt, file.prompt);
  EXPECT_EQ(back->completion, file.completion);
  EXPECT_EQ(parse_json(prompt_file_text(file), "t").value()["fields"], Json{"q"});
  EXPECT_FALSE(read_prompt_file(folder_ / "absent").value().has_value());
  for (const char* bad : {"[]", "{}", R"({"version": 2, "format": "text"})", R"({"version": 1, "format": "poem"})", R"({"version": 1, "format": "template", "prompt": "{"})"}) {
    write(kPromptFileName, bad);
    EXPECT_THAT(read_prompt_file(folder_ / "").status().message(), HasSubstr(kPromptFileName)) << bad;
  }
}

}  // namespace
}  // namespace umbel::data
