#include "store/folder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <thread>

#include "store/digest.h"
#include "store/store_test_support.h"

namespace umbel {
namespace {

using testing::write_folder;

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
  EXPECT_FALSE(resolve_inside(dir.path(), "out").ok());
  EXPECT_TRUE(resolve_inside(dir.path(), "in").ok());
}

TEST(Folder, OnlyPathsInsideResolve) {
  const TestFolder dir;
  write_folder(dir.path(), "a", 1);
  std::filesystem::create_directories(dir / "deep" / "er");
  EXPECT_EQ(resolve_inside(dir.path(), "a").value(), dir / "a");
  EXPECT_EQ(resolve_inside(dir.path(), "./a").value(), dir / "a");
  EXPECT_EQ(resolve_inside(dir.path(), "deep/er").value(), dir / "deep" / "er");
  const std::string absolute = (dir / "a").string();
  for (const std::string& bad : {std::string(), std::string(".."), std::string("../a"), std::string("a/../a"), absolute,
                                 std::string("/etc"), std::string("."), std::string("missing"), std::string("a\0b", 3),
                                 std::string("a/adapter_config.json")}) {
    EXPECT_FALSE(resolve_inside(dir.path(), bad).ok()) << bad;
  }
}

TEST(Folder, TheStampChangesWithTheFiles) {
  const TestFolder dir;
  write_folder(dir.path(), "a", 1);
  const FolderStamp first = stamp_folder(dir / "a");
  EXPECT_EQ(first, stamp_folder(dir / "a"));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // past the file system's clock tick
  write_folder(dir.path(), "a", 2);
  const FolderStamp second = stamp_folder(dir / "a");
  EXPECT_NE(first, second);
  EXPECT_GT(second.newest_ns(), first.newest_ns());
  std::ofstream(dir / "a" / kAdapterTemplateName) << "{{ messages }}";
  EXPECT_NE(second, stamp_folder(dir / "a"));
  std::ofstream(dir / "a" / "README.md") << "not a part of the adapter";
  EXPECT_EQ(stamp_folder(dir / "a").files.size(), 3u);
}

TEST(Digest, IsTheSha256OfTheStatedBytes) {
  const TestFolder dir;
  // sha256 of "abc" framed as digest.h says: u64 1, u64 1, "f", "abc", u64 3. Computed with Python's hashlib.
  std::ofstream(dir / "f") << "abc";
  const std::vector<Path> one = {dir / "f"};
  EXPECT_EQ(digest_files(one).value(), "e3bc4044a73d148faeb7a819f3639f9db36319ee2ff4705a81677f7111c4853f");
  const std::vector<Path> absent = {dir / "f", dir / "g"};
  EXPECT_EQ(digest_files(absent).value(), "db0dbcecca24b934c01dcae26991a80c006099ac65884bce3c994c505f0249f4");
}

TEST(Digest, SeesEveryDifference) {
  const TestFolder dir;
  write_folder(dir.path(), "a", 1);
  write_folder(dir.path(), "b", 1);
  write_folder(dir.path(), "c", 2);
  const auto digest = [&](const char* name) { return digest_files(adapter_files(dir / name)).value(); };
  EXPECT_EQ(digest("a"), digest("b"));  // the folder's name is no part of it
  EXPECT_NE(digest("a"), digest("c"));
  std::ofstream(dir / "b" / kAdapterTemplateName) << "";
  EXPECT_NE(digest("a"), digest("b"));  // an empty file is not an absent one
  EXPECT_EQ(digest("a").size(), 64u);
}

TEST(Digest, PipesAndFoldersCountAsAbsent) {
  const TestFolder dir;
  const TestFolder other;
  ASSERT_EQ(mkfifo((dir / "f").c_str(), 0600), 0);
  std::filesystem::create_directory(dir / "g");
  EXPECT_EQ(digest_files(std::vector<Path>{dir / "f", dir / "g"}).value(),
            digest_files(std::vector<Path>{other / "f", other / "g"}).value());
}

TEST(Digest, LargeFilesAreReadInPieces) {
  const TestFolder dir;
  std::string text(5'000'001, 'q');
  std::ofstream(dir / "f") << text;
  const std::string first = digest_files(std::vector<Path>{dir / "f"}).value();
  text.back() = 'r';
  std::ofstream(dir / "f") << text;
  EXPECT_NE(digest_files(std::vector<Path>{dir / "f"}).value(), first);
}

}  // namespace
}  // namespace umbel
