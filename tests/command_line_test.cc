// The verbs of the command line, run as a user runs them: answers, and for bad input one clear line and exit status 2.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/safetensors.h"
#include "program.h"

namespace umbel::testing {
namespace {

using ::testing::HasSubstr;

std::string adapters() { return (project_dir() / "tests/goldens/peft_adapters").string(); }

std::string temp_folder(const std::string& name) {
  const Path dir = Path(::testing::TempDir()) / ("umbel_" + name);
  std::filesystem::remove_all(dir);
  std::filesystem::create_directories(dir);
  return dir.string();
}

size_t lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

TEST(CommandLine, EveryVerbHasHelpWithExamples) {
  for (const std::string verb : {"serve", "generate", "chat", "score", "inspect", "tokenize", "template", "train", "measure", "bench", "demo"}) {
    const Finished run = run_program(verb + " --help");
    EXPECT_EQ(run.status, 0) << verb;
    EXPECT_THAT(run.out, HasSubstr("Example")) << verb;
    if (verb != "serve") {
      EXPECT_THAT(run.out, HasSubstr("--json")) << verb;
    }
  }
  EXPECT_THAT(run_program("--version").out, HasSubstr("umbel"));
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
      {"serve seedling --log-level warn --host 203.0.113.7", "203.0.113.7"},
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

}  // namespace
}  // namespace umbel::testing
