// The life of `umbel train` as a user sees it: killed, resumed, and told what may not change in between.
#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "base/random.h"
#include "base/sanitized_testing.h"
#include "io/test_folder.h"
#include "program.h"

namespace umbel {
namespace {

using testing::run_program;

constexpr int kKills = testing::kSanitized ? 1 : 6;

std::string data_file(const TestFolder& folder) {
  std::ofstream out(folder / "rows.jsonl");
  for (int i = 0; i < 20; ++i) out << Json{{"prompt", "n" + std::to_string(i) + " ->"}, {"completion", " " + std::to_string(i * 7 % 10)}}.dump() << "\n";
  return (folder / "rows.jsonl").string();
}

std::vector<std::string> arguments(const std::string& data, const Path& out, bool resume) {
  std::vector<std::string> all{"train", "--base", "seedling", "--data", data, "--out", out.string(), "--rank", "2", "--targets", "q_proj",
                               "--batch", "4", "--epochs", "4", "--eval-rows", "4", "--eval-every", "2", "--checkpoint-every", "3"};
  if (resume) all.push_back("--resume");
  return all;
}

std::string line_of(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) line += (line.empty() ? "" : " ") + word;
  return line;
}

// Starts the program, kills it after so many seconds. True: it was still running.
bool killed_after(double seconds, const std::vector<std::string>& words) {
  const std::string path = testing::program();
  std::vector<char*> argv{const_cast<char*>(path.c_str())};
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    (void)!freopen("/dev/null", "w", stdout);
    (void)!freopen("/dev/null", "w", stderr);
    execv(path.c_str(), argv.data());
    _exit(127);
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  kill(child, SIGKILL);
  int raw = 0;
  waitpid(child, &raw, 0);
  return WIFSIGNALED(raw);
}

std::string tensors(const Path& out) { return read_file(out / "adapter_model.safetensors").value(); }

// (event, step) of all lines; each must stand there once.
std::map<std::pair<std::string, int64_t>, int> events(const Path& out) {
  std::map<std::pair<std::string, int64_t>, int> count;
  std::ifstream in(out / "train_log.jsonl");
  for (std::string line; std::getline(in, line);) {
    const Json event = parse_json(line, "log").value();
    if (event.contains("step")) ++count[{event["event"].get<std::string>(), event["step"].get<int64_t>()}];
  }
  return count;
}

TEST(TrainLife, TheProgramIsKilledAndResumedToTheSameBytes) {
  const TestFolder folder;
  const std::string data = data_file(folder);
  const auto begin = std::chrono::steady_clock::now();
  const auto whole = run_program(line_of(arguments(data, folder / "whole", false)));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  ASSERT_EQ(whole.status, 0) << whole.error;
  const std::string expected = tensors(folder / "whole");
  Random random(6);
  int killed = 0;
  for (int i = 0; i < kKills; ++i) {
    SCOPED_TRACE(i);
    const Path out = folder / ("cut" + std::to_string(i));
    killed += killed_after(seconds * (0.15 + 0.8 * random.next_double()), arguments(data, out, false)) ? 1 : 0;
    const auto rest = run_program(line_of(arguments(data, out, true)));
    ASSERT_EQ(rest.status, 0) << rest.error;
    EXPECT_TRUE(tensors(out) == expected);
    const auto counts = events(out);
    EXPECT_EQ(counts, events(folder / "whole"));
    for (const auto& [event, count] : counts) EXPECT_EQ(count, 1) << event.first << " " << event.second;
  }
  EXPECT_GT(killed, 0);
}

TEST(TrainLife, AResumeWithAnotherSettingIsRefusedByItsName) {
  const TestFolder folder;
  const std::string data = data_file(folder);
  const Path out = folder / "a";
  ASSERT_EQ(run_program(line_of(arguments(data, out, false))).status, 0);
  auto words = arguments(data, out, true);
  words.insert(words.end(), {"--lr", "0.5"});
  const auto refused = run_program(line_of(words));
  EXPECT_EQ(refused.status, 2);
  EXPECT_NE(refused.error.find("learning_rate was 0.003"), std::string::npos) << refused.error;
  words = arguments(data, out, true);
  words.insert(words.end(), {"--isa", "generic"});
  const auto other = run_program(line_of(words));
  // Generic code may offer the recorded arithmetic; then it is the instruction set that differs.
  EXPECT_NE(other.status, 0);
  EXPECT_TRUE(other.error.find("isa was") != std::string::npos || other.error.find("arithmetic \"") != std::string::npos) << other.error;
}

}  // namespace
}  // namespace umbel
