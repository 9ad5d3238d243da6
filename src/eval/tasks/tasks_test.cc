// Task files and their rows; the tasks that come along.
#include <gtest/gtest.h>

#include <fstream>

#include "eval/tasks/task.h"
#include "io/test_folder.h"

namespace umbel::eval {
namespace {

constexpr const char* kGood = R"(task: colours
what: the colour of a thing
source: {files: [things.jsonl]}
columns: {thing: data.names.0}
values: {colour: {"0": red, "1": blue}}
few_shot:
  - prompt: "sky? "
    completion: "blue\n"
prompt: "{thing}? "
completion: "{colour}"
scorer: class_accuracy
scorer_options: {classes: [red, blue]}
max_tokens: 3
)";

class TaskFiles : public ::testing::Test {
 protected:
  Path write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }
  std::string problem(const std::string& from, const std::string& to) {
    std::string text = kGood;
    if (!from.empty()) text.replace(text.find(from), from.size(), to);
    return read_task(write("task.yaml", text)).status().message();
  }
  std::string row_problem(const std::string& rows) {
    write("things.jsonl", rows);
    return read_task_rows(read_task(write("task.yaml", kGood)).value(), folder_.path(), 0).status().message();
  }

  TestFolder folder_;
};

TEST_F(TaskFiles, ARowBecomesItsPromptByteForByte) {
  const Task task = read_task(write("task.yaml", kGood)).value();
  EXPECT_EQ(task.prompt, "{thing}? ");
  EXPECT_EQ(task.scorer.options, (OrderedJson{{"classes", {"red", "blue"}}}));
  EXPECT_FALSE(is_at_hand(task, folder_.path()));
  write("things.jsonl", "{\"data\": {\"names\": [\"rose\"]}, \"colour\": 0}\n{\"data\": {\"names\": [\"sea\"]}, \"colour\": \"1\"}\n");
  const auto rows = read_task_rows(task, folder_.path(), 0).value();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].prompt, "sky? blue\nrose? ");
  EXPECT_EQ(rows[0].reference, "red");
  EXPECT_EQ(rows[1].completion, "blue");
  EXPECT_EQ(rows[1].place, "things.jsonl:2");
  EXPECT_EQ(read_task_rows(task, folder_.path(), 1).value().size(), 1u);
}

TEST_F(TaskFiles, ATrailingBlankIsAnotherTask) {
  const std::string digest = read_task(write("a.yaml", kGood)).value().digest;
  std::string text = kGood;
  text.replace(text.find("{thing}? \""), 10, "{thing}?\"");
  EXPECT_NE(read_task(write("b.yaml", text)).value().digest, digest);
}

TEST_F(TaskFiles, WhatIsWrongIsNamedByLine) {
  EXPECT_NE(problem("scorer: class", "scoror: class").find("\"scoror\"; did you mean \"scorer\"?"), std::string::npos);
  EXPECT_NE(problem("class_accuracy", "class_acuracy").find("did you mean \"class_accuracy\""), std::string::npos);
  EXPECT_NE(problem("{classes: [red, blue]}", "{clases: [red]}").find("\"clases\""), std::string::npos);
  EXPECT_NE(problem("prompt: \"{thing}? \"\ncompletion", "completion").find("\"prompt\" is missing"), std::string::npos);
  EXPECT_NE(problem("\"{colour}\"", "\"{colour\"").find("completion"), std::string::npos);
  EXPECT_NE(problem("max_tokens: 3", "max_tokens: none").find("task.yaml:13"), std::string::npos);
  EXPECT_NE(problem("things.jsonl", "../things.jsonl").find("below the data folder"), std::string::npos);
  EXPECT_NE(problem("things.jsonl", "/etc/passwd").find("below the data folder"), std::string::npos);
  EXPECT_NE(problem("few_shot:\n  - prompt: \"sky? \"\n    completion: \"blue\\n\"\n", "few_shot: 3\n").find("few_shot: expected a list"), std::string::npos);
  EXPECT_NE(read_task(write("task.yaml", "- a\n- b\n")).status().message().find("a task is a map"), std::string::npos);
  // All of it at once.
  const std::string all = read_task(write("task.yaml", "taks: x\nscorer: nothing\n")).status().message();
  for (const char* word : {"\"taks\"", "\"task\" is missing", "\"nothing\"", "\"prompt\""}) EXPECT_NE(all.find(word), std::string::npos) << all;
  EXPECT_NE(read_tasks(folder_ / "absent").status().message().find("absent"), std::string::npos);
}

TEST_F(TaskFiles, BadRowsAreNamedByFileAndLine) {
  EXPECT_NE(row_problem("{\"colour\": 0}\n").find("things.jsonl:1: there is no column \"data.names.0\""), std::string::npos);
  EXPECT_NE(row_problem("{\"data\": {\"names\": [\"x\"]}, \"colour\": 7}\n").find("\"colour\" is \"7\""), std::string::npos);
  EXPECT_NE(row_problem("{\"data\": {\"names\": [[1]]}, \"colour\": 0}\n").find("things.jsonl:1"), std::string::npos);
  EXPECT_NE(row_problem("nonsense\n").find("things.jsonl:1"), std::string::npos);
  EXPECT_NE(row_problem("").find("no rows"), std::string::npos);
}

TEST_F(TaskFiles, TablesWithoutAHeaderHaveTheTasks) {
  std::string text = kGood;
  text.replace(text.find("{files: [things.jsonl]}"), 23, "{files: [t.tsv], header: [thing, colour], plain_tsv: true}");
  text.erase(text.find("columns:"), text.find("values:") - text.find("columns:"));
  const Task plain = read_task(write("task.yaml", text)).value();
  write("t.tsv", "a \"quote\trest\r\n");
  EXPECT_NE(read_task_rows(plain, folder_.path(), 0).status().message().find("\"rest\""), std::string::npos);
  write("t.tsv", "a \"quote\t1\n\nb\t0\n");
  EXPECT_EQ(read_task_rows(plain, folder_.path(), 0).value()[0].prompt, "sky? blue\na \"quote? ");
  write("t.tsv", "b\n");
  EXPECT_NE(read_task_rows(plain, folder_.path(), 0).status().message().find("t.tsv:1"), std::string::npos);
  text.replace(text.find("t.tsv"), 5, "t.csv");
  text.replace(text.find(", plain_tsv: true"), 17, "");
  const Task table = read_task(write("task.yaml", text)).value();
  write("t.csv", "\"a, b\",1\n");
  EXPECT_EQ(read_task_rows(table, folder_.path(), 0).value()[0].prompt, "sky? blue\na, b? ");
  write("t.csv", "a,1,2\n");
  EXPECT_NE(read_task_rows(table, folder_.path(), 0).status().message().find("3 columns"), std::string::npos);
}

TEST(Tasks, AllThatComeAlongCanBeRead) {
  const char* dir = std::getenv("UMBEL_SOURCE_DIR");
  const auto tasks = read_tasks(Path(dir != nullptr ? dir : ".") / "assets/exams");
  ASSERT_TRUE(tasks.ok()) << tasks.status().to_string();
  EXPECT_GE(tasks->size(), 38u);
  int of_the_paper = 0, at_hand = 0;
  const Path data = !data_folder().empty() ? data_folder() : Path(dir != nullptr ? dir : ".") / "../shared/data";
  for (const Task& task : *tasks) {
    of_the_paper += task.paper.metric.empty() ? 0 : 1;
    if (!is_at_hand(task, data)) continue;
    ++at_hand;
    const auto rows = read_task_rows(task, data, 3);
    EXPECT_TRUE(rows.ok()) << task.name << ": " << rows.status().to_string();
  }
  EXPECT_EQ(of_the_paper, 31);
  if (at_hand == 0) GTEST_SKIP() << "no task's data is below " << data;
}

// Tasks of choices.

constexpr const char* kChoices = R"(task: arc
source: {files: [things.jsonl]}
prompt: "{question}"
ask: likelihood
choices_from: choices.text
labels_from: choices.label
reference_from: answerKey
scorer: acc
honest: acc_norm
)";

TEST_F(TaskFiles, ChoicesComeFromTheRowAndTheLabelSaysWhichIsRight) {
  write("things.jsonl", R"({"question": "q?", "choices": {"text": ["x", "y", "z"], "label": ["1", "2", "3"]}, "answerKey": "3"})");
  const Task task = read_task(write("task.yaml", kChoices)).value();
  EXPECT_EQ(task.choices.before, " ");
  const auto rows = read_task_rows(task, folder_.path(), 0).value();
  EXPECT_EQ(rows[0].choices, (std::vector<std::string>{"x", "y", "z"}));
  EXPECT_EQ(rows[0].reference, 2) << "the label, not the place";
  Task chosen = task;
  chosen.choices.ask = AskKind::kChoose;
  EXPECT_EQ(read_task_rows(chosen, folder_.path(), 0).value()[0].reference, "z");
}

TEST_F(TaskFiles, ChoicesMayBeTheTasksOwn) {
  write("things.jsonl", "{\"q\": \"a\", \"label\": 1, \"other\": \"rain\"}\n");
  const auto task = read_task(write("task.yaml", "task: t\nsource: {files: [things.jsonl]}\nprompt: \"{q}\"\nask: choose\nchoices: [\"sun\", \"{other}\"]\nbefore_choice: \"\"\n"
                                                  "reference_from: label\nscorer: class_accuracy\n"));
  ASSERT_TRUE(task.ok()) << task.status().message();
  const auto rows = read_task_rows(*task, folder_.path(), 0).value();
  EXPECT_EQ(rows[0].choices, (std::vector<std::string>{"sun", "rain"}));
  EXPECT_EQ(rows[0].reference, "rain");
  EXPECT_EQ(task->choices.before, "");
}

TEST_F(TaskFiles, WhatIsWrongWithChoicesIsSaid) {
  const auto said = [&](const std::string& from, const std::string& to) {
    std::string text = kChoices;
    text.replace(text.find(from), from.size(), to);
    return read_task(write("task.yaml", text)).status().message();
  };
  EXPECT_NE(said("ask: likelihood", "ask: guess").find("generate, likelihood, choose"), std::string::npos);
  EXPECT_NE(said("choices_from: choices.text\n", "").find("needs either \"choices\""), std::string::npos);
  EXPECT_NE(said("scorer: acc\n", "scorer: rouge\n").find("acc and acc_norm, not \"rouge\""), std::string::npos);
  EXPECT_NE(said("reference_from: answerKey\n", "").find("which choice is right is missing"), std::string::npos);
  EXPECT_NE(said("ask: likelihood", "ask: choose").find("is for \"ask: likelihood\""), std::string::npos);
  const auto row = [&](const std::string& text) {
    write("things.jsonl", text);
    return read_task_rows(read_task(write("task.yaml", kChoices)).value(), folder_.path(), 0).status().message();
  };
  EXPECT_NE(row(R"({"question": "q", "choices": {"text": ["x"], "label": ["A"]}, "answerKey": "B"})").find("none of the row's 1 choices"), std::string::npos);
  EXPECT_NE(row(R"({"question": "q", "choices": {"text": ["x", "y"], "label": ["A"]}, "answerKey": "A"})").find("1 labels for 2 choices"), std::string::npos);
  EXPECT_NE(row(R"({"question": "q", "choices": {"text": "x", "label": ["A"]}, "answerKey": "A"})").find("no list of texts"), std::string::npos);
  EXPECT_NE(row(R"({"question": "q", "choices": {"text": ["x", 3], "label": ["A", "B"]}, "answerKey": "A"})").find("which is no text"), std::string::npos);
}

}  // namespace
}  // namespace umbel::eval
