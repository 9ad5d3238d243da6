// umbel keys: the file of keys as an operator edits it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "io/test_folder.h"
#include "program.h"

namespace umbel::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(KeysVerb, AddsListsAndRevokes) {
  const TestFolder folder;
  const std::string file = (folder / "keys.json").string();
  const Finished added = run_program("keys add " + file + " alice");
  ASSERT_EQ(added.status, 0) << added.error;
  EXPECT_EQ(added.out.size(), 71u);
  EXPECT_EQ(added.out.rfind("umbel_", 0), 0u);
  EXPECT_THAT(added.error, HasSubstr("this once"));
  struct stat info {};
  ASSERT_EQ(::stat(file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_THAT(read_file(file).value(), Not(HasSubstr(added.out.substr(6, 64))));

  const Finished team = run_program("keys add " + file + " team-a --json --scope generate --scope admin --adapter 'a-*' --adapter poet "
                                    "--no-base --requests-per-minute 60 --body-bytes 1000 --expires 2999-01-31");
  ASSERT_EQ(team.status, 0) << team.error;
  EXPECT_EQ(Json::parse(team.out)["name"], "team-a");
  const Finished list = run_program("keys list " + file);
  EXPECT_THAT(list.out, HasSubstr("alice"));
  EXPECT_THAT(list.out, HasSubstr("60 req/min 1000 body bytes"));
  const Json keys = Json::parse(run_program("keys list " + file + " --json").out)["keys"];
  ASSERT_EQ(keys.size(), 2u);
  EXPECT_EQ(keys[1]["sha256"], Json::parse(team.out)["sha256"]);
  EXPECT_EQ(keys[1]["scopes"], Json({"generate", "admin"}));
  EXPECT_EQ(keys[1]["adapters"], Json({"a-*", "poet"}));
  EXPECT_EQ(keys[1]["base"], false);
  EXPECT_EQ(keys[1]["expires"], "2999-01-31T00:00:00Z");

  EXPECT_EQ(run_program("keys revoke " + file + " alice").status, 0);
  EXPECT_THAT(run_program("keys list " + file).out, Not(HasSubstr("alice")));
  EXPECT_EQ(run_program("keys revoke " + file + " alice").status, 2);
}

TEST(KeysVerb, BadInputIsOneClearLineAndTheFileStays) {
  const TestFolder folder;
  const std::string file = (folder / "keys.json").string();
  ASSERT_EQ(run_program("keys add " + file + " alice").status, 0);
  const std::string before = read_file(file).value();
  const std::string broken = (folder / "broken.json").string();
  std::ofstream(broken) << "keys:\n- name: a\n  sha: x\n";
  const std::pair<std::string, std::string> cases[] = {
      {"add " + file + " alice", "already"},
      {"add " + file + " 'a b'", "A-Z a-z"},
      {"add " + file + " api-key", "another"},
      {"add " + file + " bob --adapter 'x[1]'", "--adapter"},
      {"add " + file + " bob --expires yesterday", "--expires"},
      {"add " + file + " bob --expires 2001-01-01", "over already"},
      {"add " + file + " bob --running 0", "--running"},
      {"add " + file + " bob --scope root", "--scope"},
      {"add " + broken + " bob", "broken.json:3"},
      {"list " + (folder / "none").string(), "none"},
      {"revoke " + (folder / "none").string() + " x", "none"},
      {"add " + (folder / "no/folder/keys").string() + " bob", "folder"},
  };
  for (const auto& [arguments, what] : cases) {
    const Finished run = run_program("keys " + arguments);
    EXPECT_EQ(run.status, 2) << arguments;
    EXPECT_THAT(run.error, HasSubstr(what)) << arguments;
    EXPECT_EQ(run.out, "") << arguments;
  }
  EXPECT_EQ(read_file(file).value(), before);
  EXPECT_FALSE(std::filesystem::exists(folder / "none"));
}

}  // namespace
}  // namespace umbel::testing
