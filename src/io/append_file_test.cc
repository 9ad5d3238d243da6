#include "io/append_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <fstream>

#include "io/test_folder.h"

namespace umbel {
namespace {

TEST(AppendFile, KeepsWhatItIsToldAndGrowsByWholeRecords) {
  const TestFolder folder;
  const Path path = folder / "deep/log";
  {
    AppendFile file = AppendFile::open(path, 0).value();
    file.append("one\n");
    file.append("two\n");
    EXPECT_EQ(file.size(), 0u);
    ASSERT_TRUE(file.sync().ok());
    EXPECT_EQ(file.size(), 8u);
    file.append("lost\n");  // never flushed
  }
  EXPECT_EQ(read_file(path).value(), "one\ntwo\n");
  {
    AppendFile file = AppendFile::open(path, 4).value();
    file.append("three\n");
    ASSERT_TRUE(file.flush().ok());
  }
  EXPECT_EQ(read_file(path).value(), "one\nthree\n");
  AppendFile file = AppendFile::open(path, 1000).value();
  EXPECT_EQ(file.size(), 10u);
  EXPECT_EQ(read_file(path).value(), "one\nthree\n");
}

TEST(AppendFile, AFullDiskLeavesNoHalfRecordAndTheRecordsCanBeWrittenLater) {
  const TestFolder folder;
  const Path path = folder / "log";
  FaultyFileCalls calls;
  calls.shorten_writes();
  calls.fail(FaultyFileCalls::Kind::kWrite, 6, ENOSPC);
  AppendFile file = AppendFile::open(path, 0, calls).value();
  file.append("first\n");  // six bytes in halves: 3, 1, 1, 1 (four writes)
  ASSERT_TRUE(file.flush().ok());
  file.append("second record\n");
  const Status full = file.flush();
  EXPECT_FALSE(full.ok());
  EXPECT_NE(full.message().find(path.string()), std::string::npos) << full.message();
  EXPECT_EQ(read_file(path).value(), "first\n");
  EXPECT_EQ(file.size(), 6u);
  ASSERT_TRUE(file.flush().ok());
  EXPECT_EQ(read_file(path).value(), "first\nsecond record\n");
}

TEST(AppendFile, NoticesThatItsFileWasRotatedAndForgetsWhatMayBeLost) {
  const TestFolder folder;
  const Path path = folder / "log";
  AppendFile file = AppendFile::open(path, 0, real_file_calls(), 0600).value();
  EXPECT_EQ(std::filesystem::status(path).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  EXPECT_FALSE(file.moved());
  std::filesystem::rename(path, folder / "log.1");
  EXPECT_TRUE(file.moved());
  file.append("to the old file\n");
  ASSERT_TRUE(file.flush().ok());
  file.append("lost\n");
  file.discard();
  AppendFile next = AppendFile::open(path, UINT64_MAX).value();
  EXPECT_FALSE(next.moved());
  EXPECT_TRUE(file.moved());
  ASSERT_TRUE(file.flush().ok());
  EXPECT_EQ(read_file(folder / "log.1").value(), "to the old file\n");
}

TEST(AppendFile, APipeWithoutAReaderIsRefusedAndNotWaitedFor) {
  const TestFolder folder;
  const Path path = folder / "pipe";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_FALSE(AppendFile::open(path, 0).ok());
}

TEST(AppendFile, ADeviceThatIsFullAndAPlaceThatIsNoFolderAreNamed) {
  AppendFile full = AppendFile::open("/dev/full", 0).value();
  full.append("x\n");
  EXPECT_NE(full.flush().message().find("/dev/full"), std::string::npos);
  const TestFolder folder;
  std::ofstream(folder / "file") << "x";
  EXPECT_NE(AppendFile::open(folder / "file/log", 0).status().message().find("file/log"), std::string::npos);
}

}  // namespace
}  // namespace umbel
