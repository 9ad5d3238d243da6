// The verbs of the command line, run as a user runs them: answers, and for bad input one clear line and exit status 2.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/safetensors.h"
#include "program.h"

namespace umbel::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string adapters() { return (project_dir() / "tests/goldens/peft_adapters").string(); }

std::string temp_folder(const std::string& name) {
  const Path dir = Path(::testing::TempDir()) / ("umbel_" + name);
  std::filesystem::remove_all(dir);
  std::filesystem::create_directories(dir);
  return dir.string();
}

size_t lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

TEST(CommandLine, EveryVerbHasHelpWithExamples) {
  for (const std::string verb : {"serve", "generate", "chat", "score", "inspect", "tokenize", "template", "train", "measure", "bench", "demo", "keys add"}) {
    const Finished run = run_program(verb + " --help");
    EXPECT_EQ(run.status, 0) << verb;
    EXPECT_THAT(run.out, HasSubstr("Example")) << verb;
    if (verb != "serve") {
      EXPECT_THAT(run.out, HasSubstr("--json")) << verb;
    }
  }
  const std::string version = run_program("--version").out;
  EXPECT_TRUE(version.starts_with("umbel ")) << version;
  for (const char* line : {"\ncommit ", "\ninstruction set ", "\narithmetic of 16-bit weights "}) EXPECT_THAT(version, HasSubstr(line));
}

TEST(CommandLine, GenerateAnswersWithAnAdapterByItsFolder) {
  const Finished run = run_program("generate seedling --adapter " + adapters() + "/clinc150-lora-r3 --prompt \"Query: please clear my calendar\nIntent:\" --dtype f32");
  EXPECT_EQ(run.status, 0) << run.error;
  EXPECT_EQ(run.out, " calendar update\n");
}

TEST(CommandLine, GenerateBatchAnswersRowsInOrderEachWithItsAdapter) {
  const Path rows = Path(temp_folder("batch")) / "rows.jsonl";
  std::ofstream(rows) << R"({"prompt": "Query: please clear my calendar\nIntent:", "adapter": "clinc150-lora-r3", "completion": " calendar update"})" << "\n"
                      << R"({"prompt": "Asked: first_name\nGuest: Aide\nSlots:", "adapter": "restaurant8k-flora-r4", "completion": "no"})" << "\n\n"
                      << R"({"prompt": "It was a dark night"})" << "\n";
  const Finished run = run_program("generate seedling --dtype f32 --max-tokens 16 --adapters " + adapters() + " --batch " + rows.string());
  ASSERT_EQ(run.status, 0) << run.error;
  ASSERT_EQ(lines(run.out), 3u);
  const Json first = Json::parse(run.out.substr(0, run.out.find('\n')));
  EXPECT_EQ(first["text"], " calendar update");
  EXPECT_EQ(first["exact_match"], true);
  EXPECT_EQ(first["finish_reason"], "eos");
  EXPECT_THAT(run.error, HasSubstr("exact match: 1 of 2 rows"));
}

// Whatever training reads can be asked: here a table with the adapter's own template, ids, and figures of every adapter.
TEST(CommandLine, ABatchIsReadAsTrainingReadsItAndCountedByAdapter) {
  const Path dir = temp_folder("batch_table");
  std::filesystem::create_directories(dir / "adapters");
  std::filesystem::copy(adapters() + "/clinc150-lora-r3", dir / "adapters/intents", std::filesystem::copy_options::recursive);
  std::ofstream(dir / "adapters/intents/umbel_prompt.json")
      << R"({"version": 1, "format": "template", "prompt": "Query: {text}\nIntent:", "completion": " {intent}", "fields": ["text"]})";
  std::ofstream(dir / "rows.csv") << "id,text,intent\n7,please clear my calendar,calendar update\n8,hello there,none of these\n";
  const std::string flags = " seedling --dtype f32 --adapters " + (dir / "adapters").string() + " --adapter intents --json ";
  const Finished run = run_program("generate" + flags + "--max-tokens 16 --batch " + (dir / "rows.csv").string());
  ASSERT_EQ(run.status, 0) << run.error;
  ASSERT_EQ(lines(run.out), 3u);
  const Json first = Json::parse(run.out.substr(0, run.out.find('\n')));
  EXPECT_EQ(first["text"], " calendar update");
  EXPECT_EQ(first["id"], "7");
  EXPECT_EQ(first["line"], 2);
  const Json summary = Json::parse(run.out.substr(run.out.rfind("{\"summary\"")))["summary"];
  EXPECT_EQ(summary["adapters"]["intents"]["exact_match"], 0.5);
  std::ofstream(dir / "bare.tsv") << "7\t\tplease clear my calendar\tcalendar update\n8\t5\thello \"there\tnone of these\n";
  const Finished bare = run_program("generate" + flags + "--max-tokens 16 --columns id,seed,text,intent --batch " + (dir / "bare.tsv").string());
  ASSERT_EQ(bare.status, 0) << bare.error;
  const size_t second = bare.out.find('\n') + 1;
  EXPECT_EQ(Json::parse(bare.out.substr(second, bare.out.find('\n', second) - second))["seed"], 5);
  const Finished score = run_program("score" + flags + "--rows " + (dir / "rows.csv").string());
  ASSERT_EQ(score.status, 0) << score.error;
  EXPECT_GT(Json::parse(score.out.substr(score.out.rfind("{\"summary\"")))["summary"]["token_accuracy"].get<double>(), 0.3);
}

Path stories() {
  const char* given = std::getenv("UMBEL_DATA");
  return (given != nullptr ? Path(given) : project_dir() / "../shared/data") / "models/stories260K/hf";
}

TEST(CommandLine, PromptAndCompletionAreScoredAsOneText) {
  if (!std::filesystem::exists(stories())) GTEST_SKIP() << "no real inputs: set UMBEL_DATA to their folder";
  const Finished run = run_program("score " + stories().string() + " --prompt 'Once upon a time, Tim had a' --completion ' red ball.' --dtype f32 --json");
  ASSERT_EQ(run.status, 0) << run.error;
  const Json score = Json::parse(run.out);
  EXPECT_EQ(score["tokens"], 5);
  EXPECT_NEAR(score["log_likelihood"].get<double>(), -7.0334, 2e-3);
}

TEST(CommandLine, TheFirstBlankOfAnAnswerStands) {
  if (!std::filesystem::exists(stories())) GTEST_SKIP() << "no real inputs: set UMBEL_DATA to their folder";
  const Finished run = run_program("generate " + stories().string() + " --prompt 'Once upon a time, there was a little girl. She had a toy. The toy was' --dtype f32 --max-tokens 4");
  ASSERT_EQ(run.status, 0) << run.error;
  EXPECT_TRUE(run.out.starts_with(" ")) << run.out;
}

TEST(CommandLine, ToolsAreRenderedInTheFilesOrder) {
  const Path dir = temp_folder("tools_order");
  std::filesystem::copy(project_dir() / "assets/seedling", dir / "base", std::filesystem::copy_options::recursive);
  std::ofstream(dir / "base/chat_template.jinja") << "{{ tools | tojson }}{{ messages | tojson }}";
  std::ofstream(dir / "t.json") << R"([{"type": "function", "function": {"name": "rain", "description": "d"}}])";
  std::ofstream(dir / "m.json") << R"([{"role": "user", "content": "x"}])";
  const Finished run = run_program("template " + (dir / "base").string() + " --messages " + (dir / "m.json").string() + " --tools " + (dir / "t.json").string());
  EXPECT_THAT(run.out, HasSubstr(R"([{"type": "function", "function": {"name": "rain", "description": "d"}}][{"role": "user", "content": "x"}])"));
}

TEST(CommandLine, ABadRowOfABatchIsNamedByFileAndLine) {
  const Path rows = Path(temp_folder("bad_batch")) / "rows.jsonl";
  std::ofstream(rows) << "{\"prompt\": \"a\"}\n{\"text\": \"b\"}\n";
  const Finished run = run_program("generate seedling --batch " + rows.string());
  EXPECT_EQ(run.status, 2);
  EXPECT_THAT(run.error, HasSubstr("rows.jsonl:2"));
  EXPECT_THAT(run.error, HasSubstr("prompt"));
}

TEST(CommandLine, TokenizeAndTemplate) {
  EXPECT_EQ(Json::parse(run_program("tokenize seedling --json --text \"Hello world\"").out)[0]["id"], 1);
  EXPECT_EQ(run_program("tokenize seedling --count", "Hello world").out, "5\n");
  EXPECT_EQ(run_program("tokenize seedling --decode 45,501,84,1183").out, "Hello world\n");
  const Finished text = run_program("template seedling", R"([{"role": "user", "content": "Hello"}])");
  EXPECT_EQ(text.out, "<s><|user|>Hello<|assistant|>\n");
  const Finished refused = run_program("template seedling", R"([{"role": "pirate", "content": "Hello"}])");
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.error, HasSubstr("unknown role: pirate"));
}

TEST(CommandLine, ScoreAddsUpAndPrefersWhatTheAdapterLearned) {
  const std::string adapter = " --dtype f32 --json --adapter " + adapters() + "/clinc150-lora-r3 --prompt \"Query: please clear my calendar\nIntent:\" --completion ";
  const Json right = Json::parse(run_program("score seedling" + adapter + "\" calendar update\"").out);
  const Json wrong = Json::parse(run_program("score seedling" + adapter + "\" flight status\"").out);
  EXPECT_EQ(right["is_greedy"], true);
  EXPECT_GT(right["log_likelihood"].get<double>(), wrong["log_likelihood"].get<double>() + 1);
  EXPECT_NEAR(right["nll_per_token"].get<double>() * right["tokens"].get<double>(), -right["log_likelihood"].get<double>(), 1e-6);
}

TEST(CommandLine, InspectModelAndAdapter) {
  const Json model = Json::parse(run_program("inspect seedling --json").out);
  EXPECT_EQ(model["parameters"], 9902336);
  EXPECT_EQ(model["architecture"], "LlamaForCausalLM");
  const Json adapter = Json::parse(run_program("inspect " + adapters() + "/restaurant8k-flora-r4 --json").out);
  EXPECT_EQ(adapter["kind"], "flora");
  EXPECT_EQ(adapter["row_cost"], 4);
  EXPECT_EQ(adapter["modules_changed"], 84);
  EXPECT_EQ(adapter["modules"][0]["terms"], "4 scale (4 pre, 4 post)");
}

TEST(CommandLine, InspectSumsAFolderOfAdapters) {
  const std::string dir = temp_folder("many");
  for (const char* name : {"clinc150-lora-r3", "clinc150-ia3"}) {
    std::filesystem::copy(Path(adapters()) / name, Path(dir) / name, kReplace);
  }
  std::filesystem::create_directories(Path(dir) / "broken");
  std::ofstream(Path(dir) / "broken/adapter_config.json") << R"({"peft_type": "LOKR", "r": 1})";
  const Finished run = run_program("inspect " + dir + " --base seedling --json");
  ASSERT_EQ(run.status, 0) << run.error;
  const Json sum = Json::parse(run.out);
  EXPECT_EQ(sum["usable"], 2);
  EXPECT_EQ(sum["failed"], 1);
  EXPECT_EQ(sum["adapters"][2]["rank_max"], 3);
  EXPECT_THAT(sum["adapters"][0]["error"].get<std::string>(), HasSubstr("adapter_model.safetensors"));
  const Json alone = Json::parse(run_program("inspect " + dir + "/clinc150-ia3 --json").out);
  EXPECT_EQ(sum["adapters"][1]["resident_bytes"], alone["resident_bytes"]);
  EXPECT_EQ(sum["resident_bytes"].get<size_t>(),
            sum["adapters"][1]["resident_bytes"].get<size_t>() + sum["adapters"][2]["resident_bytes"].get<size_t>());
  EXPECT_THAT(run_program("inspect " + dir).out, HasSubstr("2 of 3 adapters on seedling take"));
}

TEST(CommandLine, AMisspeltVerbOrFlagNamesTheNearestOne) {
  const std::pair<std::string, std::string> cases[] = {
      {"trian --base seedling", "there is no verb \"trian\"; did you mean \"train\"?"},
      {"genrate seedling --prompt x", "did you mean \"generate\"?"},
      {"adapter mrege --adapter x", "did you mean \"merge\"?"},
      {"score seedling --promt x --completion y", "there is no flag of score \"--promt\"; did you mean \"--prompt\"?"},
      {"serve seedling --adaptors=x", "did you mean \"--adapters\"?"},
      {"adapter merge --bass seedling --adapter x --out y", "did you mean \"--base\"?"},
      {"--verison", "did you mean \"--version\"?"},
  };
  for (const auto& [arguments, expected] : cases) {
    const Finished run = run_program(arguments);
    EXPECT_EQ(run.status, 2) << arguments;
    EXPECT_THAT(run.error, HasSubstr(expected)) << arguments;
    EXPECT_EQ(lines(run.error), 1u) << run.error;
  }
}

TEST(CommandLine, AnAdapterGivenAsAFolderOfAdaptersIsSaidSo) {
  const std::string adapter = adapters() + "/clinc150-ia3";
  for (const std::string verb : {"serve seedling --port 0", "generate seedling --prompt x", "score seedling --prompt x --completion y"}) {
    const Finished run = run_program(verb + " --adapters " + adapter);
    EXPECT_EQ(run.status, 2) << verb;
    EXPECT_THAT(run.error, HasSubstr("is an adapter itself")) << verb;
    EXPECT_THAT(run.error, HasSubstr("--adapter " + adapter)) << verb;
  }
}

TEST(CommandLine, ChatKeepsTheConversation) {
  const Finished run = run_program("chat seedling --json --max-tokens 4", "Hello\n/reset\nBye\n");
  EXPECT_EQ(run.status, 0) << run.error;
  EXPECT_EQ(lines(run.out), 2u);
  EXPECT_EQ(Json::parse(run.out.substr(0, run.out.find('\n')))["role"], "assistant");
}

// Each: arguments, and what the one line must say.
TEST(CommandLine, BadInputIsOneClearLineAndStatus2) {
  const std::string half = temp_folder("half"), no_tokenizer = temp_folder("no_tokenizer");
  const Path seedling = project_dir() / "assets/seedling";
  for (const std::string& dir : {half, no_tokenizer}) std::filesystem::copy(seedling, dir, kReplace);
  std::filesystem::resize_file(Path(half) / "model.safetensors", 1000000);
  std::filesystem::remove(Path(no_tokenizer) / "tokenizer.json");
  const std::pair<std::string, std::string> cases[] = {
      {"generate nofolder --prompt x", "no model folder \"nofolder\""},
      {"inspect " + half, "model.safetensors"},
      {"tokenize " + no_tokenizer + " --text x", "tokenizer.json"},
      {"generate seedling", "--prompt"},
      {"generate seedling --prompt x --adapter nope --adapters " + adapters(), "known: banking77-flora-r1"},
      {"generate seedling --prompt x --isa sse9", "sse9"},
      {"generate seedling --prompt x --kv-bytes 900GB", "memory plan does not fit"},
      {"serve seedling --log-level warn --api-key k --host 203.0.113.7", "203.0.113.7"},
      {"score seedling --rows nofile.jsonl", "nofile.jsonl"},
      {"train --base seedling --data nofile.jsonl --out " + half + "/a", "nofile.jsonl"},
      {"train --base seedling --data nofile.jsonl --rank 0 --out " + half + "/a", "rank 0"},
      {"train --base seedling --data nofile.jsonl --kind dora2 --out " + half + "/a", "--kind: kind: unknown kind \"dora2\""},
      {"bench --url http://127.0.0.1:1 --requests 1", "127.0.0.1:1"},
  };
  for (const auto& [arguments, expected] : cases) {
    const Finished run = run_program(arguments);
    EXPECT_EQ(run.status, 2) << arguments << run.out;
    EXPECT_THAT(run.error, HasSubstr(expected)) << arguments;
    EXPECT_EQ(lines(run.error), 1u) << arguments << "\n" << run.error;
  }
  EXPECT_EQ(run_program("generate seedling --nosuchflag").status, 2);
  EXPECT_FALSE(std::filesystem::exists(Path(half) / "a"));  // nothing half-written
}

TEST(CommandLine, AnAdapterOfAnotherBaseNamesBothShapes) {
  const std::string other = temp_folder("other_base");
  Json config = read_json(project_dir() / "tests/goldens/peft_adapters/banking77-lora-r8/adapter_config.json").value();
  std::filesystem::copy(project_dir() / "tests/goldens/peft_adapters/banking77-lora-r8", other, kReplace);
  auto file = Safetensors::open(Path(other) / "adapter_model.safetensors");
  ASSERT_TRUE(file.ok());
  std::map<std::string, TensorView> tensors(file->tensors().begin(), file->tensors().end());
  for (auto& [name, view] : tensors) {
    if (name.ends_with("lora_A.weight")) view.shape[1] /= 2;
  }
  ASSERT_TRUE(write_safetensors(Path(other) / "adapter_model.safetensors", tensors).ok());
  const Finished run = run_program("inspect " + other);
  EXPECT_EQ(run.status, 2);
  EXPECT_THAT(run.error, HasSubstr("[8, 128]"));
  EXPECT_THAT(run.error, HasSubstr("[8, 256]"));
}

TEST(CommandLine, WhatAnAdapterNamesStaysInsideTheMessage) {
  const std::string evil = temp_folder("evil_names");
  std::filesystem::copy(project_dir() / "tests/goldens/peft_adapters/banking77-lora-r8", evil, kReplace);
  const auto file = Safetensors::open(project_dir() / "tests/goldens/peft_adapters/banking77-lora-r8/adapter_model.safetensors");
  ASSERT_TRUE(file.ok());
  std::map<std::string, TensorView> tensors(file->tensors().begin(), file->tensors().end());
  tensors["x\numbel: done\n\x1b[31m\xc2\x9b\xe2\x80\xae" + std::string(100'000, 'n')] = tensors.begin()->second;
  ASSERT_TRUE(write_safetensors(Path(evil) / "adapter_model.safetensors", tensors).ok());
  const Finished run = run_program("inspect " + evil);
  EXPECT_EQ(run.status, 2);
  EXPECT_THAT(run.error, HasSubstr("belongs to no module"));  // the message is whole
  EXPECT_THAT(run.error, Not(HasSubstr("\numbel: done")));    // a line of its own
  for (const char* escape : {"\x1b", "\xc2\x9b", "\xe2\x80\xae"}) EXPECT_THAT(run.error, Not(HasSubstr(escape)));
  EXPECT_LE(run.error.size(), 40'000u);
}

}  // namespace
}  // namespace umbel::testing
