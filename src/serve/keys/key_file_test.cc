#include "serve/keys/key_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <thread>

#include "base/random.h"
#include "io/sha256.h"
#include "io/test_folder.h"

namespace umbel::serve {
namespace {

const std::string kDigestA(64, 'a'), kDigestB(64, 'b');

std::string failure(const std::string& text) {
  const auto keys = parse_key_file(text, "keys.yaml");
  return keys.ok() ? "" : keys.status().message();
}

TEST(KeySpec, AKeyIsRandomAndItsDigestIsSha256) {
  const std::string first = new_key().value(), second = new_key().value();
  EXPECT_EQ(first.size(), 6 + 64u);
  EXPECT_EQ(first.rfind("umbel_", 0), 0u);
  EXPECT_NE(first, second);
  EXPECT_EQ(key_digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(KeyFile, ReadsEveryField) {
  const auto keys = parse_key_file("keys:\n"
                                   "  - name: alice\n"
                                   "    sha256: " + kDigestA + "\n"
                                   "    scopes: [metrics, generate]\n"
                                   "    adapters: [\"banking-*\", poet]\n"
                                   "    base: no\n"
                                   "    expires: 2027-01-31\n"
                                   "    limits: {requests_per_minute: 60, tokens_per_minute: 2e4, running: 4, queued: 16,\n"
                                   "             body_bytes: 1048576}\n"
                                   "  - {name: bob, sha256: " + std::string(64, 'B') + "}\n", "keys.yaml").value();
  ASSERT_EQ(keys.size(), 2u);
  const KeySpec& alice = keys[0];
  EXPECT_EQ(alice.name, "alice");
  EXPECT_EQ(alice.scopes, (std::vector<Scope>{Scope::kGenerate, Scope::kMetrics}));
  EXPECT_TRUE(alice.may_use("banking-7"));
  EXPECT_TRUE(alice.may_use("poet"));
  EXPECT_FALSE(alice.may_use("poets"));
  EXPECT_FALSE(alice.base);
  EXPECT_EQ(alice.expires_s, 1801353600);
  EXPECT_EQ(alice.limits, (KeyLimits{60, 20000, 4, 16, 1048576}));
  const KeySpec& bob = keys[1];
  EXPECT_EQ(bob.sha256, kDigestB);
  EXPECT_EQ(bob.scopes, std::vector<Scope>{Scope::kGenerate});
  EXPECT_TRUE(bob.may_use("any") && bob.base);
  EXPECT_FALSE(bob.has(Scope::kAdmin));
  EXPECT_EQ(bob.limits, KeyLimits{});
  EXPECT_FALSE(bob.expires_s);
}

TEST(KeyFile, JsonIsReadTooAndWhatIsWrittenIsReadBack) {
  KeySpec key{.name = "a.b-c_1", .sha256 = kDigestA, .scopes = {Scope::kGenerate, Scope::kAdmin}, .base = false};
  key.adapters = {"team \"x\" \xc3\xa9*", "null", "1e3"};
  key.limits.running = 3;
  key.expires_s = 1801353600;
  key.created_s = 0;
  const std::vector<KeySpec> keys = {key, {.name = "b", .sha256 = kDigestB, .scopes = {}, .adapters = {}}};
  const std::string text = key_file_text(keys);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4);
  EXPECT_EQ(parse_key_file(text, "x").value(), keys);
  EXPECT_TRUE(nlohmann::json::accept(text));
  EXPECT_EQ(parse_key_file(key_file_text({}), "x").value(), std::vector<KeySpec>{});
}

TEST(KeyFile, WhatIsWrongIsNamedByLineAndField) {
  const std::string good = "keys:\n- name: a\n  sha256: " + kDigestA + "\n";
  const std::tuple<std::string, std::string, std::string> cases[] = {
      {"", "keys.yaml", "keys:"},
      {"[]", "keys.yaml", "keys:"},
      {"keys: {}", "keys.yaml", "keys:"},
      {"keys: []\nmore: 1", "keys.yaml:2", "no such field"},
      {"keys: [7]", "keys.yaml:1", "a key's fields"},
      {"keys:\n- name: a\n", "keys.yaml:2", "`sha256`"},
      {"keys:\n- sha256: " + kDigestA, "keys.yaml:2", "`name`"},
      {"keys:\n- name: a b\n", "keys.yaml:2", "`name`"},
      {"keys:\n- name: a\n  sha256: umbel_0123\n", "keys.yaml:3", "never the key itself"},
      {good + "  scope: [admin]\n", "keys.yaml:4", "did you mean `scopes`"},
      {good + "  scopes: [root]\n", "keys.yaml:4", "`scopes`"},
      {good + "  scopes: admin\n", "keys.yaml:4", "`scopes`"},
      {good + "  adapters: ['[a]']\n", "keys.yaml:4", "`adapters`"},
      {good + "  base: maybe\n", "keys.yaml:4", "`base`"},
      {good + "  expires: soon\n", "keys.yaml:4", "`expires`"},
      {good + "  limits: 7\n", "keys.yaml:4", "`limits`"},
      {good + "  limits:\n    running: 0\n", "keys.yaml:5: `running`", "1 to"},
      {good + "  limits:\n    runing: 1\n", "keys.yaml:5", "did you mean `running`"},
      {good + "  limits:\n    body_bytes: 1.5\n", "keys.yaml:5", "`body_bytes`"},
      {good + "- name: a\n  sha256: " + kDigestB, "keys.yaml:4", "first at keys.yaml:2"},
      {good + "- name: b\n  sha256: " + kDigestA, "keys.yaml:4", "first at keys.yaml:2"},
      {good + "  name: c\n", "keys.yaml:4", "twice"},
      {"keys: [", "keys.yaml", ""},
  };
  for (const auto& [text, place, what] : cases) {
    const std::string message = failure(text);
    EXPECT_NE(message.find(place), std::string::npos) << text << "\n-> " << message;
    EXPECT_NE(message.find(what), std::string::npos) << text << "\n-> " << message;
  }
}

// An alias repeats a long list for a few bytes.
TEST(KeyFile, AListThatIsRepeatedByAliasesHasALimit) {
  std::string text = "keys:\n- &first {name: k, sha256: " + kDigestA + ", adapters: &a [";
  for (size_t i = 0; i < kKeyPatternsMax; ++i) text += "'" + std::string(20, 'x') + "',";
  text += "]}\n";
  for (int i = 0; i < 3000; ++i) {
    Sha256 digest;
    digest.add_u64(static_cast<uint64_t>(i));
    text += "- {name: k" + std::to_string(i) + ", sha256: " + digest.hex() + ", adapters: *a}\n";
  }
  EXPECT_NE(failure(text).find("patterns in all"), std::string::npos) << failure(text);
}

TEST(KeyFile, IsEditedWholeAndKeepsItsMode) {
  const TestFolder folder;
  const Path path = folder / "keys.yaml";
  const auto add = [&](const std::string& name, const std::string& digest) {
    return edit_key_file(path, [&](std::vector<KeySpec>& keys) {
      keys.push_back({.name = name, .sha256 = digest, .scopes = {Scope::kGenerate}});
      return ok_status();
    });
  };
  ASSERT_TRUE(add("a", kDigestA).ok());
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ASSERT_EQ(::chmod(path.c_str(), 0640), 0);
  ASSERT_TRUE(add("b", kDigestB).ok());
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640u);
  EXPECT_EQ(read_key_file(path).value().size(), 2u);
  EXPECT_EQ(folder.entries(), 1);

  const Status refused = edit_key_file(path, [](std::vector<KeySpec>&) { return not_found("no"); });
  EXPECT_EQ(refused.code(), Code::kNotFound);
  std::ofstream(path) << "keys: [broken";
  EXPECT_FALSE(add("c", std::string(64, 'c')).ok());
  EXPECT_EQ(read_file(path).value(), "keys: [broken");
}

TEST(KeyFile, ALinkKeepsLeadingToTheFile) {
  const TestFolder folder;
  std::filesystem::create_directory(folder / "real");
  std::ofstream(folder / "real/keys") << "keys: []";
  std::filesystem::create_symlink("real/keys", folder / "link");
  ASSERT_TRUE(edit_key_file(folder / "link", [](std::vector<KeySpec>& keys) {
                keys.push_back({.name = "a", .sha256 = kDigestA});
                return ok_status();
              }).ok());
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  EXPECT_EQ(read_key_file(folder / "real/keys").value().size(), 1u);
}

TEST(KeyFile, TwoEditorsAtOnceLoseNothing) {
  const TestFolder folder;
  const Path path = folder / "keys.yaml";
  const auto edit = [&](const std::string& prefix) {
    for (int i = 0; i < 20; ++i) {
      const std::string name = prefix + std::to_string(i);
      EXPECT_TRUE(edit_key_file(path, [&](std::vector<KeySpec>& keys) {
                    keys.push_back({.name = name, .sha256 = key_digest(name)});
                    return ok_status();
                  }).ok());
    }
  };
  std::thread other([&] { edit("x"); });
  edit("y");
  other.join();
  EXPECT_EQ(read_key_file(path).value().size(), 40u);
}

}  // namespace
}  // namespace umbel::serve
