#include "serve/keys/audit_log.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "io/json.h"
#include "io/test_folder.h"

namespace umbel::serve {
namespace {

AuditRecord record() {
  return {.at_ms = 1796077800123,
          .request_id = "r-1",
          .key = "alice",
          .address = "192.0.2.7",
          .method = "POST",
          .route = "/v1/completions",
          .adapter = "poet",
          .version = 3,
          .digest = std::string(64, 'd'),
          .status = 200,
          .prompt_tokens = 12,
          .answer_tokens = 34,
          .duration = from_seconds(0.0125)};
}

void wait_for_lines(const AuditLog& log, int64_t lines) {
  for (int i = 0; i < 4000 && log.lines_written() + log.lines_lost() < lines; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  ASSERT_EQ(log.lines_written() + log.lines_lost(), lines);
}

TEST(AuditLine, SaysWhoWhatWhichAndHowMuch) {
  EXPECT_EQ(audit_line(record()),
            "{\"time\":\"2026-11-30T22:30:00.123Z\",\"request_id\":\"r-1\",\"key\":\"alice\",\"client\":\"192.0.2.7\","
            "\"method\":\"POST\",\"route\":\"/v1/completions\",\"adapter\":\"poet\",\"version\":3,\"digest\":\"" +
                std::string(64, 'd') +
                "\",\"status\":200,\"prompt_tokens\":12,\"answer_tokens\":34,\"duration_ms\":12.5}\n");
}

// Whatever strangers send: one line of printable ASCII within its limit, and JSON.
TEST(AuditLine, HasOneLineAndALimitWhateverIsInIt) {
  AuditRecord bad = record();
  bad.request_id = std::string(10000, '"');
  bad.address = bad.method = bad.route = bad.adapter = bad.digest = bad.key = std::string(10000, '\x01');
  bad.prompts = {"first \x1b[2J\nline", std::string(1 << 20, '\0'), "\xff\xfe", "never shown"};
  const std::string line = audit_line(bad);
  EXPECT_LE(line.size(), kAuditLineBytesMax);
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  for (const char c : line.substr(0, line.size() - 1)) ASSERT_TRUE(c >= ' ' && c < 0x7f);
  const Json parsed = Json::parse(line);
  EXPECT_EQ(parsed["prompts"][0], "first \x1b[2J\nline");
  EXPECT_EQ(parsed["prompts_cut"], true);
  AuditRecord many = record();
  many.prompts.assign(100000, "");
  EXPECT_LE(audit_line(many).size(), kAuditLineBytesMax);
  many.prompts = {std::string(6143, 'x') + "\xc3\xa9"};
  EXPECT_EQ(Json::parse(audit_line(many))["prompts"][0], std::string(6143, 'x'));
}

TEST(AuditLog, AppendsAndFollowsARotatedFile) {
  const TestFolder folder;
  const Path path = folder / "logs/audit.jsonl";
  {
    const auto log = AuditLog::open(path).value();
    log->append(record());
    wait_for_lines(*log, 1);
    std::filesystem::rename(path, folder / "logs/audit.1");
    log->append(record());
    wait_for_lines(*log, 2);
    EXPECT_EQ(read_file(path).value(), audit_line(record()));
    std::filesystem::remove(path);
    for (int i = 0; i < 100; ++i) log->append(record());
  }  // what is queued is written at the end
  EXPECT_EQ(read_file(path).value().size(), 100 * audit_line(record()).size());
  EXPECT_EQ(read_file(folder / "logs/audit.1").value(), audit_line(record()));
  const auto again = AuditLog::open(path).value();
  again->append(record());
  wait_for_lines(*again, 1);
  EXPECT_EQ(read_file(path).value().size(), 101 * audit_line(record()).size());
}

TEST(AuditLog, AFullDiskLosesLinesIsCountedAndHeals) {
  const TestFolder folder;
  const Path path = folder / "audit.jsonl";
  FaultyFileCalls calls;
  calls.fail(FaultyFileCalls::Kind::kWrite, 2, ENOSPC);
  const auto log = AuditLog::open(path, calls).value();
  for (int i = 1; i <= 3; ++i) {
    log->append(record());
    wait_for_lines(*log, i);
  }
  EXPECT_EQ(log->lines_lost(), 1);
  EXPECT_EQ(log->lines_written(), 2);
  EXPECT_EQ(read_file(path).value(), audit_line(record()) + audit_line(record()));
}

TEST(AuditLog, AFolderThatVanishesLosesLinesAndServingGoesOn) {
  const TestFolder folder;
  EXPECT_FALSE(AuditLog::open(folder.path()).ok());
  const Path path = folder / "logs/audit.jsonl";
  const auto log = AuditLog::open(path).value();
  std::filesystem::remove_all(folder / "logs");
  { AppendFile::open(folder / "logs", 0).value(); }  // a file where the folder was
  log->append(record());
  wait_for_lines(*log, 1);
  EXPECT_EQ(log->lines_lost(), 1);
  std::filesystem::remove(folder / "logs");
  log->append(record());
  wait_for_lines(*log, 2);
  EXPECT_EQ(log->lines_written(), 1);
}

}  // namespace
}  // namespace umbel::serve
