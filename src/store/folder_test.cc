#include "store/folder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <functional>
#include <thread>

#include "io/sha256.h"
#include "store/adapter_files.h"
#include "store/store_test_support.h"

namespace umbel {
namespace {

using testing::write_folder;

FolderStamp stamp_of_folder(const Path& folder) { return stamp_folder(FolderReader::open({.folder = folder}).value()); }

Result<std::string> digest_of(const Path& folder, std::stop_token stop = {}) {
  ASSIGN_OR_RETURN(const AdapterFiles files, AdapterFiles::open({.folder = folder}));
  return files.digest(stop);
}

TEST(Folder, NamesThatAreSafeEverywhere) {
  for (const char* good : {"a", "banking77-lora-r8", "A_b.C-9", "org--name@v1", "x=y+z", "1", "_x", "a:b", "a..b"}) {
    EXPECT_TRUE(check_adapter_name(good).ok()) << good;
  }
  EXPECT_TRUE(check_adapter_name(std::string(kAdapterNameMax, 'a')).ok());
  for (const char* bad : {"", ".", "..", ".git", "a/b", "a b", "a\nb", "\xc3\xa9", "a\"b", "a\\b", "a%2fb", "a{b}"}) {
    EXPECT_FALSE(check_adapter_name(bad).ok()) << bad;
  }
  EXPECT_FALSE(check_adapter_name(std::string(kAdapterNameMax + 1, 'a')).ok());
  EXPECT_FALSE(check_adapter_name(std::string_view("a\0b", 3)).ok());
}

TEST(Folder, ScanFindsCompleteFoldersOnly) {
  const TestFolder dir;
  write_folder(dir.path(), "one", 1);
  write_folder(dir.path(), "two", 2);
  std::filesystem::create_directory(dir / "empty");
  std::filesystem::create_directory(dir / "half");
  std::ofstream(dir / "half" / "adapter_model.safetensors") << "x";
  std::ofstream(dir / "file") << "x";
  const auto found = scan_folders(dir.path());
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->size(), 2u);
  EXPECT_TRUE(found->at("one").status.ok());
  EXPECT_EQ(found->at("two").stamp.files.size(), 2u);
  EXPECT_GT(found->at("two").stamp.tensor_bytes(), 32u);
  EXPECT_EQ(scan_folders(dir / "missing").status().code(), Code::kNotFound);
}

TEST(Folder, LinksOutOfTheFolderAreRefused) {
  const TestFolder dir;
  const TestFolder elsewhere;
  write_folder(elsewhere.path(), "secret", 1);
  write_folder(dir.path(), "real", 1);
  std::filesystem::create_directory_symlink(elsewhere / "secret", dir / "out");
  std::filesystem::create_directory_symlink(dir / "real", dir / "in");
  const auto found = scan_folders(dir.path());
  ASSERT_TRUE(found.ok());
  EXPECT_FALSE(found->at("out").status.ok());
  EXPECT_TRUE(found->at("in").status.ok());
  EXPECT_FALSE(find_folder(dir.path(), "out").ok());
  EXPECT_TRUE(find_folder(dir.path(), "in").ok());
  EXPECT_TRUE(find_folder(dir.path(), "out", elsewhere.path()).ok());  // named by the operator
}

TEST(Folder, OnlyPathsInsideResolve) {
  const TestFolder dir;
  write_folder(dir.path(), "a", 1);
  std::filesystem::create_directories(dir / "deep" / "er");
  EXPECT_EQ(find_folder(dir.path(), "a").value().place.folder, dir / "a");
  EXPECT_EQ(find_folder(dir.path(), "./a/").value().place.folder, dir / "a");
  EXPECT_EQ(find_folder(dir.path(), "deep/er").value().place.folder, dir / "deep" / "er");
  std::filesystem::create_directory_symlink("loop", dir / "loop");
  std::filesystem::create_directory_symlink("ring", dir / "ding");
  std::filesystem::create_directory_symlink("ding", dir / "ring");
  for (const char* loop : {"loop", "ring", "loop/a"}) {
    EXPECT_EQ(find_folder(dir.path(), loop).status().code(), Code::kInvalidArgument) << "no other try will find it";
  }
  const std::string absolute = (dir / "a").string();
  for (const std::string& bad : {std::string(), std::string(".."), std::string("../a"), std::string("a/../a"), absolute,
                                 std::string("/etc"), std::string("."), std::string("missing"), std::string("a\0b", 3),
                                 std::string("a/adapter_config.json"), std::string(5'000'000, 'a')}) {
    const auto found = find_folder(dir.path(), bad);
    EXPECT_FALSE(found.ok()) << bad;
    // A client is told what it wrote, and not where that would be on this machine.
    EXPECT_EQ(found.status().message().find(dir.path().string() + "/"), std::string::npos) << found.status().message();
  }
}

// What an earlier scan found is taken as it is only where nothing can have changed.
TEST(Folder, AScanWithAnEarlierOneSeesEveryChange) {
  const TestFolder dir;
  for (const char* name : {"a", "b", "c", "d"}) write_folder(dir.path(), name, 1);
  FoundFolders before = scan_folders(dir.path()).value();
  const auto stamps_are_fresh = [&] {
    FoundFolders again = scan_folders(dir.path(), {}, before).value();
    const FoundFolders plain = scan_folders(dir.path()).value();
    EXPECT_EQ(again.size(), plain.size());
    for (const auto& [name, folder] : plain) EXPECT_EQ(again.at(name).stamp, folder.stamp) << name;
    before = std::move(again);
  };
  const auto is_taken = [&](const char* name) {  // as it is: a mark in what is known stays
    FoundFolders marked = before;
    marked.at(name).stamp.files.pop_back();
    return scan_folders(dir.path(), {}, marked).value().at(name).stamp == marked.at(name).stamp;
  };
  EXPECT_FALSE(is_taken("a")) << "names that changed just now";
  const auto long_ago = std::filesystem::file_time_type::clock::now() - std::chrono::hours(1);
  std::filesystem::last_write_time(dir / "a", long_ago);
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // the kernel's own stamp cannot be set back
  stamps_are_fresh();
  EXPECT_TRUE(is_taken("a"));
  write_folder(dir.path(), "a", 2);                                        // in place
  std::ofstream(dir / "b" / kAdapterTemplateName) << "{{ messages }}";     // a new name
  std::filesystem::remove(dir / "c" / kAdapterConfigName);                 // a name less
  std::filesystem::remove_all(dir / "d");
  std::filesystem::create_directory_symlink("a", dir / "d");
  stamps_are_fresh();
  EXPECT_FALSE(before.contains("c"));
}

TEST(Folder, TheStampChangesWithTheFiles) {
  const TestFolder dir;
  write_folder(dir.path(), "a", 1);
  const FolderStamp first = stamp_of_folder(dir / "a");
  EXPECT_EQ(first, stamp_of_folder(dir / "a"));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // past the file system's clock tick
  write_folder(dir.path(), "a", 2);
  const FolderStamp second = stamp_of_folder(dir / "a");
  EXPECT_NE(first, second);
  EXPECT_GT(second.newest_ns(), first.newest_ns());
  std::ofstream(dir / "a" / kAdapterTemplateName) << "{{ messages }}";
  EXPECT_NE(second, stamp_of_folder(dir / "a"));
  std::ofstream(dir / "a" / "README.md") << "not a part of the adapter";
  EXPECT_EQ(stamp_of_folder(dir / "a").files.size(), 3u);
}

TEST(Digest, IsTheSha256OfTheStatedBytes) {
  const TestFolder dir;
  std::ofstream(dir / kAdapterConfigName) << "abc";
  // For each of the names u64 length, u64 whether it is there, the name, and if so content and u64 length.
  Sha256 expected;
  for (const std::string name : {"adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "tokenizer_config.json",
                                 "tokenizer.json", "added_tokens.json", "special_tokens_map.json", "generation_config.json", "umbel_prompt.json"}) {
    const bool there = name == "adapter_config.json";
    expected.add_u64(name.size());
    expected.add_u64(there ? 1 : 0);
    expected.add(name.data(), name.size());
    if (!there) continue;
    expected.add("abc", 3);
    expected.add_u64(3);
  }
  EXPECT_EQ(digest_of(dir.path()).value(), expected.hex());
}

TEST(Digest, SeesEveryDifference) {
  const TestFolder dir;
  write_folder(dir.path(), "a", 1);
  write_folder(dir.path(), "b", 1);
  write_folder(dir.path(), "c", 2);
  const auto digest = [&](const char* name) { return digest_of(dir / name).value(); };
  EXPECT_EQ(digest("a"), digest("b"));  // the folder's name is no part of it
  EXPECT_NE(digest("a"), digest("c"));
  std::ofstream(dir / "b" / kAdapterTemplateName) << "";
  EXPECT_NE(digest("a"), digest("b"));  // an empty file is not an absent one
  EXPECT_EQ(digest("a").size(), 64u);
}

TEST(Digest, WhatIsNoFileOfTheFolderIsRefusedByName) {
  for (const char* name : {kAdapterConfigName, kAdapterTensorsName, kAdapterTemplateName}) {
    const TestFolder dir;
    write_folder(dir.path(), "a", 1);
    std::filesystem::remove(dir / "a" / name);
    ASSERT_EQ(mkfifo((dir / "a" / name).c_str(), 0600), 0);
    const auto digest = digest_of(dir / "a");
    EXPECT_EQ(digest.status().code(), Code::kInvalidArgument);
    EXPECT_NE(digest.status().message().find(name), std::string::npos);
  }
}

TEST(Digest, LargeFilesAreReadInPiecesAndStopBetweenThem) {
  const TestFolder dir;
  std::string text(5'000'001, 'q');
  std::ofstream(dir / kAdapterTensorsName) << text;
  const std::string first = digest_of(dir.path()).value();
  text.back() = 'r';
  std::ofstream(dir / kAdapterTensorsName) << text;
  EXPECT_NE(digest_of(dir.path()).value(), first);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(digest_of(dir.path(), stop.get_token()).status().code(), Code::kCancelled);
}

TEST(AdapterFiles, AChangeAfterOpeningIsNoticed) {
  const TestFolder dir;
  write_folder(dir.path(), "a", 1);
  const auto open = [&] { return AdapterFiles::open({.folder = dir / "a"}).value(); };
  EXPECT_TRUE(open().check_unchanged().ok());
  const auto changed_by = [&](const std::function<void()>& change) {
    const AdapterFiles files = open();
    change();
    return files.check_unchanged().code();
  };
  EXPECT_EQ(changed_by([&] { write_folder(dir.path(), "a", 2); }), Code::kUnavailable);
  EXPECT_EQ(changed_by([&] { std::ofstream(dir / "a" / kAdapterTemplateName) << "x"; }), Code::kUnavailable);
  EXPECT_EQ(changed_by([&] { std::filesystem::resize_file(dir / "a" / kAdapterTensorsName, 3); }), Code::kUnavailable);
  EXPECT_EQ(changed_by([&] { std::filesystem::remove(dir / "a" / kAdapterTensorsName); }), Code::kUnavailable);
}

}  // namespace
}  // namespace umbel
