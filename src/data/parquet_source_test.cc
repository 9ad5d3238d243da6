#include "data/parquet_source.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/random.h"
#include "data/data_testing.h"
#include "data/parquet_worker_testing.h"
#include "io/test_folder.h"

namespace umbel::data {
namespace {

Path golden(const std::string& name) { return umbel::testing::source_dir_of_rows() / "tests/goldens/datasets" / name; }

Result<std::vector<OrderedJson>> all_rows(const Path& file) {
  std::vector<OrderedJson> rows;
  RETURN_IF_ERROR(each_object(file, {}, [&](const OrderedJson& row, int64_t line) -> Status {
    rows.push_back(row);
    return line == static_cast<int64_t>(rows.size()) ? ok_status() : internal_error("lines are counted");
  }));
  return rows;
}

// What read it, or "" when it was read whole.
std::string complaint(const Path& file) {
  const auto rows = all_rows(file);
  return rows.ok() ? "" : rows.status().message();
}

class ParquetSourceTest : public ::testing::Test {
 protected:
  Path write(const std::string& bytes) {
    std::ofstream(folder_ / "a.parquet", std::ios::binary) << bytes;
    return folder_ / "a.parquet";
  }

  TestFolder folder_;
};

TEST_F(ParquetSourceTest, EveryCodecGivesTheRowsThatPyarrowReads) {
  const auto expected = all_rows(golden("rows.jsonl")).value();
  ASSERT_EQ(expected.size(), 40u);
  for (const char* codec : {"none", "snappy", "gzip", "brotli", "zstd", "lz4"}) {
    const auto rows = all_rows(golden(std::string("rows.") + codec + ".parquet"));
    ASSERT_TRUE(rows.ok()) << codec << ": " << rows.status().message();
    ASSERT_EQ(rows->size(), expected.size()) << codec;
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ((*rows)[i].dump(), expected[i].dump()) << codec << " row " << i;
  }
}

TEST_F(ParquetSourceTest, AFileThatIsCutShortSaysSoInOneLine) {
  const std::string whole = read_file(golden("rows.snappy.parquet")).value();
  for (const size_t kept : {size_t{4}, size_t{11}, size_t{100}, whole.size() / 2, whole.size() - 1}) {
    const std::string told = complaint(write(whole.substr(0, kept)));
    EXPECT_NE(told.find("cut short"), std::string::npos) << kept << ": " << told;
    EXPECT_NE(told.find("a.parquet"), std::string::npos) << told;
    EXPECT_NE(told.find("fetch it again"), std::string::npos) << told;
    EXPECT_EQ(told.find('\n'), std::string::npos) << told;
  }
  // The end is there, the middle is not.
  EXPECT_NE(complaint(write(whole.substr(0, 200) + whole.substr(whole.size() - 3000))).find("a.parquet"), std::string::npos);
  EXPECT_NE(complaint(write("PARE" + whole.substr(4))).find("encrypted"), std::string::npos);
}

// A byte here, a byte there: rows, or one line that names the file; never this process's end.
TEST_F(ParquetSourceTest, DamagedFilesAreRowsOrOneLine) {
  Random random(7);
  int refused = 0;
  for (const char* codec : {"none", "zstd"}) {
    const std::string whole = read_file(golden(std::string("rows.") + codec + ".parquet")).value();
    for (int round = 0; round < 40; ++round) {
      std::string bytes = whole;
      // Every second one in the footer, where the counts are.
      const size_t begin = round % 2 == 0 ? 4 : bytes.size() - 3000;
      for (int i = 0; i < 3; ++i) bytes[begin + random.next_u64() % (bytes.size() - begin - 4)] = static_cast<char>(random.next_u64());
      const std::string told = complaint(write(bytes));
      refused += told.empty() ? 0 : 1;
      EXPECT_TRUE(told.empty() || told.find("a.parquet") != std::string::npos) << told;
      EXPECT_EQ(told.find('\n'), std::string::npos) << told;
    }
  }
  EXPECT_GT(refused, 10);
}

// A footer whose list of row groups says that it has two thousand million members.
TEST_F(ParquetSourceTest, AFooterThatAsksForAllMemoryCostsTheHelperOnly) {
  // FileMetaData: version 1 (field 1, i32), schema (field 2, list of structs): its size as a varint.
  const std::string footer = std::string("\x15\x02\x19\xfc") + "\xff\xff\xff\xff\x07" + std::string(64, '\0');
  std::string bytes = "PAR1" + footer;
  const auto size = static_cast<uint32_t>(footer.size());
  for (int i = 0; i < 4; ++i) bytes.push_back(static_cast<char>(size >> (8 * i)));
  const std::string told = complaint(write(bytes + "PAR1"));
  EXPECT_NE(told.find("a.parquet"), std::string::npos) << told;
  EXPECT_NE(told.find("1024 MiB"), std::string::npos) << told;
}

TEST_F(ParquetSourceTest, AFileOfParquetHasItsOwnNames) {
  const auto opened = RowSource::open(golden("rows.none.parquet"), {"a"});
  ASSERT_FALSE(opened.ok());
  EXPECT_NE(opened.status().message().find("names of its own"), std::string::npos);
}

}  // namespace
}  // namespace umbel::data
