// umbel data preview, run as a user would.
#include <gtest/gtest.h>

#include "io/test_folder.h"
#include "program.h"

namespace umbel {
namespace {

using testing::Finished;
using testing::run_program;

class DataPreview : public ::testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return (folder_ / name).string();
  }
  // With a cache of its own.
  Finished preview(const std::string& arguments, const std::string& input = "") {
    setenv("XDG_CACHE_HOME", (folder_ / "cache").c_str(), 1);
    Finished run = run_program("data preview " + arguments, input);
    unsetenv("XDG_CACHE_HOME");
    return run;
  }

  // The folder of the seedling with another chat template.
  std::string other_template(const std::string& source) {
    const Path base = folder_ / "base";
    std::filesystem::copy(testing::project_dir() / "assets/seedling", base, testing::kReplace);
    std::ofstream(base / "chat_template.jinja") << source;
    return base.string();
  }

  TestFolder folder_;
};

constexpr const char* kRows =
    "{\"prompt\": \"Query: hi\\nIntent:\", \"completion\": \" greeting\"}\n"
    "{\"prompt\": \"Query: hi\\nIntent:\", \"completion\": \" greeting\"}\n"
    "{\"prompt\": \"Query: bye\"}\n"
    "{\"prompt\": \"Query: \x1b[31mred\\nIntent:\", \"completion\": \" colour\"}\n"
    "{\"prompt\": \"Query: \\u001b[31mred\\nIntent:\", \"completion\": \" colour\"}\n";

TEST_F(DataPreview, TrainedTextStandsInBrackets) {
  const Finished run = preview(write("rows.jsonl", kRows));
  ASSERT_EQ(run.status, 0) << run.error;
  EXPECT_NE(run.out.find("<s>Query: hi\nIntent:⟦ greeting</s>⟧"), std::string::npos) << run.out;
  EXPECT_NE(run.out.find("rows.jsonl:3: skipped: field \"completion\" is missing"), std::string::npos) << run.out;
  EXPECT_NE(run.out.find("rows.jsonl:4: skipped:"), std::string::npos) << run.out;  // a raw control character is no JSON
  EXPECT_NE(run.out.find("duplicates 1"), std::string::npos) << run.out;
  EXPECT_EQ(run.out.find('\x1b'), std::string::npos) << "a stranger's escape sequence reached the terminal";
  EXPECT_NE(run.out.find("\\x1b[31mred"), std::string::npos) << run.out;
}

TEST_F(DataPreview, ColourTellsThemApartOnATerminal) {
  const Finished run = preview(write("rows.jsonl", kRows) + " --color always --rows 1");
  ASSERT_EQ(run.status, 0) << run.error;
  EXPECT_NE(run.out.find("\x1b[32m greeting</s>\x1b[0m"), std::string::npos) << run.out;
  EXPECT_EQ(run.out.find("⟦"), std::string::npos);
}

TEST_F(DataPreview, JsonHoldsIdsTextsAndNumbers) {
  const std::string file = write("rows.jsonl", kRows);
  const Finished run = preview(file + " --json --rows 1");
  ASSERT_EQ(run.status, 0) << run.error;
  const Json report = parse_json(run.out, "report").value();
  EXPECT_EQ(report["format"], "prompt-completion");
  EXPECT_EQ(report["statistics"]["rows"], 5);
  EXPECT_EQ(report["statistics"]["examples"], 3);
  EXPECT_EQ(report["statistics"]["duplicates"], 1);
  ASSERT_EQ(report["rows"].size(), 1u);
  EXPECT_EQ(report["rows"][0]["texts"][1]["text"], " greeting</s>");
  EXPECT_EQ(report["rows"][0]["texts"][1]["trained"], true);
  EXPECT_EQ(report["rows"][0]["ids"].size(), report["rows"][0]["trained"].size());
  EXPECT_EQ(report["skipped"][0]["line"], 3);
  EXPECT_EQ(report["files_cached"], 0);
  EXPECT_EQ(parse_json(preview(file + " --json").out, "report").value()["files_cached"], 1);
  EXPECT_EQ(parse_json(preview(file + " --json --no-cache").out, "report").value()["files_cached"], 0);
}

TEST_F(DataPreview, CsvTemplatesAndPipes) {
  const std::string csv = write("bank.csv", "text,category\n\"lost, sadly\",card lost\n");
  const Finished run = preview(csv + " --template 'Customer: {text}\\nIntent:' --completion ' {category}'");
  ASSERT_EQ(run.status, 0) << run.error;
  EXPECT_NE(run.out.find("Customer: lost, sadly\nIntent:⟦ card lost</s>⟧"), std::string::npos) << run.out;
  const Finished piped = preview("/dev/stdin", kRows);
  ASSERT_EQ(piped.status, 0) << piped.error;
  EXPECT_NE(piped.out.find("/dev/stdin:1:"), std::string::npos) << piped.out;
}

TEST_F(DataPreview, JoinedAndPackedRows) {
  const std::string texts = write("texts.jsonl", "{\"text\": \"One day\"}\n{\"text\": \"Two days later\"}\n");
  const Finished joined = preview(texts + " --join --max-length 64");
  ASSERT_EQ(joined.status, 0) << joined.error;
  EXPECT_NE(joined.out.find("<s>⟦One day</s><s>Two days later</s>⟧"), std::string::npos) << joined.out;
  const Finished packed = preview(write("rows.jsonl", kRows) + " --pack --max-length 64 --json");
  EXPECT_EQ(parse_json(packed.out, "report").value()["statistics"]["units"], 1);
}

TEST_F(DataPreview, ALineBreakInATemplateIsOneForFlagsAndForARunsFile) {
  const std::string rows = write("bank.csv", "text,label\nmy card,lost card\n");
  const std::string expected = "<s>Customer: my card\nIntent:⟦ lost card</s>⟧";
  EXPECT_NE(preview(rows + " --template 'Customer: {text}\\nIntent:' --completion ' {label}'").out.find(expected), std::string::npos);
  for (const char* quoted : {"'Customer: {text}\\nIntent:'", "\"Customer: {text}\\nIntent:\""}) {
    const std::string run_yaml = write("run.yaml", std::string("base: seedling\nout: out\njobs:\n- {name: a, data: absent.csv}\n- name: bank\n  data: bank.csv\n  template: ") +
                                                       quoted + "\n  completion: ' {label}'\n");
    const Finished run = preview("--run " + run_yaml + " --job bank");
    EXPECT_NE(run.out.find(expected), std::string::npos) << run.out << run.error;
    const Finished alone = preview(run_yaml + " --job bank");
    EXPECT_NE(alone.out.find(expected), std::string::npos) << alone.out << alone.error;
    EXPECT_NE(preview("--run " + run_yaml + " --job nobody").error.find("its jobs are a, bank"), std::string::npos);
  }
}

TEST_F(DataPreview, WhatTrainsBadlyIsWarnedAbout) {
  const std::string rows = write("rows.jsonl", "{\"prompt\": \"a\", \"completion\": \"\", \"id\": 3}\n{\"prompt\": \"a\", \"completion\": \"\"}\n");
  const Finished run = preview(rows);
  for (const char* warning : {"warning: 2 of 2 examples have an empty answer", "warning: 1 of 2 examples stand there before", "warning: fields that are not read: id"}) {
    EXPECT_NE(run.out.find(warning), std::string::npos) << warning << "\n" << run.out;
  }
  EXPECT_EQ(parse_json(preview(rows + " --json").out, "report").value()["warnings"].size(), 3u);
}

TEST_F(DataPreview, AnswersBehindABlankAreTrainedWhole) {
  const std::string base = other_template(
      "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ 'Human: ' + m['content'] + '\\n' }}{% else %}"
      "{{ 'Assistant: ' + m['content'] + eos_token + '\\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}");
  const std::string rows = write("talk.jsonl", R"({"messages": [{"role": "user", "content": "Yes or no?"}, {"role": "assistant", "content": "yes"}]})");
  EXPECT_NE(preview(rows + " --base " + base).out.find("Assistant: ⟦yes</s>"), std::string::npos);
}

TEST_F(DataPreview, TurnsThatEndInAnotherTokenThanTheBasesAreNamed) {
  const std::string base = other_template("{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<pad>' }}{% endfor %}"
                                          "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}");
  const std::string rows = write("talk.jsonl", R"({"messages": [{"role": "user", "content": "Say red."}, {"role": "assistant", "content": "Red."}]})");
  const Finished run = preview(rows + " --base " + base);
  EXPECT_NE(run.out.find("1 of 1 examples end with <pad>, which does not end the base's answers"), std::string::npos) << run.out;
}

TEST_F(DataPreview, WhatCannotBeReadIsNamedWithTheRemedy) {
  const std::string empty = write("empty.jsonl", "");
  const std::string wide = write("wide.jsonl", std::string("\xff\xfe{\0", 4));
  const std::string good = write("rows.jsonl", kRows);
  const std::vector<std::pair<std::string, std::string>> cases = {
      {empty, "holds no rows"},
      {wide, "iconv"},
      {"absent.jsonl", "absent.jsonl"},
      {good + " --format csv", "prompt-completion"},
      {good + " --format messages", "none of its 5 rows"},
      {good + " --template '{prompt'", "stands alone"},
      {good + " --join", "only rows of \"text\" can be joined"},
      {good + " --base nowhere", "nowhere"},
      {write("rows.parquet", std::string("PAR1\x15\0\0\0{\n", 10)), "cut short"},
      {write("named.csv", "text;label\na;b\n"), "semicolons"},
      {write("bare.csv", "my card,lost card\nmy pin,lost pin\n") + " --template '{text}' --completion ' {label}'", "columns: the names"},
  };
  for (const auto& [arguments, expected] : cases) {
    const Finished run = preview(arguments);
    EXPECT_NE(run.status, 0) << arguments;
    EXPECT_NE(run.error.find(expected), std::string::npos) << arguments << "\n" << run.error;
    EXPECT_EQ(run.error.find("terminate"), std::string::npos);
  }
}

}  // namespace
}  // namespace umbel
