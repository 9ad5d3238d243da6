#include "io/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <fstream>

#include "io/test_folder.h"

namespace umbel {
namespace {

using Kind = FaultyFileCalls::Kind;

std::string text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

void write_plain(const Path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

TEST(File, ReadsWholeFilesAndKeepsTheLimit) {
  const TestFolder folder;
  write_plain(folder / "a", std::string("x\0y", 3));
  EXPECT_EQ(read_file(folder / "a").value(), std::string("x\0y", 3));
  EXPECT_EQ(read_file(folder / "a", 3).value().size(), 3u);
  const auto refused = read_file(folder / "a", 2);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), Code::kTooLong);
  EXPECT_NE(refused.status().message().find("3 bytes"), std::string::npos);
}

TEST(File, MissingFilesFoldersAndPipesAreTypedFailures) {
  const TestFolder folder;
  const auto missing = read_file(folder / "missing");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.status().code(), Code::kNotFound);
  EXPECT_NE(missing.status().message().find("missing"), std::string::npos);
  EXPECT_EQ(MappedFile::open(folder / "missing").status().code(), Code::kNotFound);
  EXPECT_EQ(OpenFile::open(folder / "missing").status().code(), Code::kNotFound);
  EXPECT_EQ(read_file(folder.path()).status().code(), Code::kInvalidArgument);
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(read_file(folder / "pipe").status().code(), Code::kInvalidArgument);  // and does not hang
}

TEST(File, MapsAndCopies) {
  const TestFolder folder;
  write_plain(folder / "empty", "");
  write_plain(folder / "a", "hello");
  EXPECT_EQ(MappedFile::open(folder / "empty")->bytes().size(), 0u);
  EXPECT_EQ(MappedFile::open_copy(OpenFile::open(folder / "empty").value())->bytes().size(), 0u);
  auto mapped = MappedFile::open(folder / "a");
  auto copy = MappedFile::open_copy(OpenFile::open(folder / "a").value());
  ASSERT_TRUE(mapped.ok() && copy.ok());
  MappedFile moved = std::move(*mapped);
  EXPECT_EQ(text_of(moved), "hello");
  EXPECT_EQ(mapped->bytes().size(), 0u);
  write_plain(folder / "a", "bye");  // rewritten in place: the copy must not notice
  EXPECT_EQ(text_of(*copy), "hello");
}

TEST(File, AtomicWriteReplacesAndLeavesNoTemporary) {
  const TestFolder folder;
  ASSERT_TRUE(write_file_atomic(folder / "a", "one").ok());
  ASSERT_TRUE(write_file_atomic(folder / "a", "two").ok());
  EXPECT_EQ(read_file(folder / "a").value(), "two");
  EXPECT_EQ(folder.entries(), 1);
}

TEST(File, ShortWritesAreContinued) {
  const TestFolder folder;
  FaultyFileCalls calls;
  calls.shorten_writes();
  std::string text(1000, '\0');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 7);
  ASSERT_TRUE(write_file_atomic(folder / "a", text, calls).ok());
  EXPECT_EQ(read_file(folder / "a").value(), text);
}

struct Fault {
  const char* name;
  Kind kind;
  int nth;
  int error;
};

class AtomicWriteFault : public testing::TestWithParam<Fault> {};

// A full disk, a failed sync, close or rename: the old file is untouched and nothing lies beside it.
TEST_P(AtomicWriteFault, LeavesTheOldFileAndNothingElse) {
  for (const bool exists : {true, false}) {
    const TestFolder folder;
    if (exists) write_plain(folder / "a", "old");
    FaultyFileCalls calls;
    calls.shorten_writes();
    calls.fail(GetParam().kind, GetParam().nth, GetParam().error);
    const Status status = write_file_atomic(folder / "a", "new and longer", calls);
    ASSERT_FALSE(status.ok());
    EXPECT_NE(status.message().find((folder / "a").string()), std::string::npos) << status.message();
    EXPECT_EQ(folder.entries(), exists ? 1 : 0);
    if (exists) {
      EXPECT_EQ(read_file(folder / "a").value(), "old");
    }
    ASSERT_TRUE(write_file_atomic(folder / "a", "new", calls).ok());  // the fault is over
    EXPECT_EQ(read_file(folder / "a").value(), "new");
  }
}

INSTANTIATE_TEST_SUITE_P(EveryCall, AtomicWriteFault,
                         testing::Values(Fault{"create", Kind::kOpen, 1, EACCES}, Fault{"first_write", Kind::kWrite, 1, ENOSPC},
                                         Fault{"second_write", Kind::kWrite, 2, EIO}, Fault{"sync", Kind::kFsync, 1, EIO},
                                         Fault{"close", Kind::kClose, 1, EDQUOT}, Fault{"rename", Kind::kRename, 1, EXDEV}),
                         [](const auto& info) { return info.param.name; });

TEST(File, AFailedSyncOfTheFolderIsSaidButTheFileIsThere) {
  const TestFolder folder;
  FaultyFileCalls calls;
  calls.fail(Kind::kFsync, 2, EIO);
  const Status status = write_file_atomic(folder / "a", "new", calls);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.message().find("written"), std::string::npos);
  EXPECT_EQ(read_file(folder / "a").value(), "new");
  EXPECT_EQ(folder.entries(), 1);
}

TEST(File, ADroppedAtomicFileLeavesNothing) {
  const TestFolder folder;
  {
    auto file = AtomicFile::create(folder / "a");
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file->append("half").ok());
    EXPECT_EQ(folder.entries(), 1);
  }
  EXPECT_EQ(folder.entries(), 0);
}

TEST(File, WhatAKilledWriterLeftIsTakenAwayAndNothingElse) {
  const TestFolder folder;
  for (const char* name : {"a", "a.tmp-17-0", "a.tmp-99-3", "b.tmp-17-0", "aa.tmp-1-0"}) ASSERT_TRUE(write_file_atomic(folder / name, "x").ok());
  remove_unfinished(folder / "a");
  EXPECT_EQ(folder.entries(), 3);
  EXPECT_TRUE(std::filesystem::exists(folder / "a"));
  remove_unfinished(folder / "no" / "a");
}

TEST(File, AMissingFolderIsNotFound) {
  const TestFolder folder;
  EXPECT_EQ(write_file_atomic(folder / "no" / "a", "x").code(), Code::kNotFound);
}

TEST(File, AMappedFileThatIsShortenedReadsAsZerosAndSaysSo) {
  const TestFolder folder;
  write_plain(folder / "a", std::string(100'000, 'x'));
  const OpenFile file = OpenFile::open(folder / "a").value();
  const MappedFile mapped = MappedFile::open_unsteady(file).value();
  EXPECT_EQ(mapped.bytes()[99'999], std::byte{'x'});
  EXPECT_TRUE(mapped.intact());
  std::filesystem::resize_file(folder / "a", 10);
  int sum = 0;
  for (const std::byte b : mapped.bytes().subspan(50'000)) sum += static_cast<int>(b);  // SIGBUS without the guard
  EXPECT_EQ(sum, 0);
  EXPECT_FALSE(mapped.intact());
  EXPECT_EQ(file.check_unchanged().code(), Code::kUnavailable);
}

TEST(File, GuardsAreGivenBack) {
  const TestFolder folder;
  write_plain(folder / "a", "hello");
  const OpenFile file = OpenFile::open(folder / "a").value();
  for (size_t i = 0; i < 3 * PageGuard::kGuardsMax; ++i) ASSERT_TRUE(MappedFile::open_unsteady(file).ok());
  std::vector<MappedFile> held;
  for (size_t i = 0; i < PageGuard::kGuardsMax; ++i) held.push_back(MappedFile::open_unsteady(file).value());
  EXPECT_EQ(MappedFile::open_unsteady(file).status().code(), Code::kOverloaded);
}

}  // namespace
}  // namespace umbel
