#include "data/dataset_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "data/data_testing.h"
#include "data/parquet_worker_testing.h"
#include "io/test_folder.h"

namespace umbel::data {
namespace {

using ::testing::HasSubstr;

class DatasetFolderTest : public ::testing::Test {
 protected:
  void put(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  // The values of "a" of a split ("test", "de:test"), or why not.
  std::string rows(const std::string& split) {
    std::string all;
    const Path name = folder_.path().string() + (split.empty() ? "" : ":" + split);
    const Status status = each_object(name, {}, [&](const OrderedJson& row, int64_t line) -> Status {
      all += std::to_string(line) + row["a"].get<std::string>() + " ";
      return ok_status();
    });
    return status.ok() ? all : status.message();
  }
  std::string row(const std::string& value) { return "{\"a\": \"" + value + "\"}\n"; }

  TestFolder folder_;
};

TEST_F(DatasetFolderTest, NamesSayTheirSplit) {
  put("data/train-00000-of-00002.jsonl", row("x") + row("y"));
  put("data/train-00001-of-00002.jsonl", row("z"));
  put("data/test.jsonl", row("t"));
  put("validation/a.jsonl", row("v"));
  put("data/extra_hard-00000-of-00001.jsonl", row("e"));
  put("README.md", "# No front matter\n");
  put(".cache/train.jsonl", row("hidden"));
  EXPECT_EQ(rows("train"), "1x 2y 3z ");
  EXPECT_EQ(rows("test"), "1t ");
  EXPECT_EQ(rows("validation"), "1v ");
  EXPECT_EQ(rows("extra_hard"), "1e ");
  EXPECT_EQ(rows(":test"), "1t ");
  EXPECT_THAT(rows("tset"), HasSubstr("it has no split \"tset\"; there are: extra_hard, test, train, validation"));
  EXPECT_THAT(rows(""), HasSubstr("it has several splits (extra_hard, test, train, validation): name one"));
  EXPECT_THAT(rows("de:test"), HasSubstr("it has no configuration \"de\"; there are: default"));
}

TEST_F(DatasetFolderTest, TheReadmeSaysMore) {
  put("README.md",
      "---\nlicence: mit\nconfigs:\n- config_name: de\n  data_files:\n  - split: train\n    path: \"german/part-*.jsonl\"\n  - split: test\n    path:\n    - german/held.jsonl\n"
      "- config_name: en\n  default: true\n  data_dir: english\n  data_files: \"**.jsonl\"\n- config_name: fr\n  data_files:\n    train: french/none.jsonl\n---\n# Rows\n");
  put("german/part-1.jsonl", row("g"));
  put("german/part-2.jsonl", row("h"));
  put("german/held.jsonl", row("i"));
  put("english/deep/a.jsonl", row("e"));
  EXPECT_EQ(rows("de:train"), "1g 2h ");
  EXPECT_EQ(rows("de:test"), "1i ");
  EXPECT_EQ(rows("en:train"), "1e ");
  EXPECT_EQ(rows(""), "1e ") << "the default, and its only split";
  EXPECT_THAT(rows("fr:train"), HasSubstr("are not there"));
  EXPECT_THAT(rows("it:train"), HasSubstr("no configuration \"it\"; there are: de, en, fr"));
  put("README.md", "---\nconfigs:\n- config_name: [\n---\n");
  EXPECT_THAT(rows(""), HasSubstr("README.md:"));
  std::string many = "---\nconfigs:\n- config_name: en\n  data_files:\n";
  for (int i = 0; i <= 1000; ++i) many += "  - \"*" + std::to_string(i) + "*\"\n";
  put("README.md", many + "---\n");
  EXPECT_THAT(rows(""), HasSubstr("more than 1000 patterns"));
}

TEST_F(DatasetFolderTest, ParquetAndPackedFilesOfASplitAreRowsOneAfterAnother) {
  const Path goldens = umbel::testing::source_dir_of_rows() / "tests/goldens/datasets";
  std::filesystem::create_directories(folder_ / "data");
  std::filesystem::copy(goldens / "rows.zstd.parquet", folder_ / "data/test-00000-of-00002.parquet");
  std::filesystem::copy(goldens / "rows.snappy.parquet", folder_ / "data/test-00001-of-00002.parquet");
  int64_t last = 0;
  ASSERT_TRUE(each_object(folder_.path().string() + ":test", {}, [&](const OrderedJson&, int64_t line) -> Status {
                last = line;
                return ok_status();
              }).ok());
  EXPECT_EQ(last, 80);
}

TEST_F(DatasetFolderTest, AFolderWithoutRowsAndNamesWithoutAFolder) {
  EXPECT_THAT(rows(""), HasSubstr("holds no file of rows"));
  EXPECT_FALSE(folder_split((folder_ / "absent:train").string()).has_value());
  put("odd:name.jsonl", row("o"));
  EXPECT_FALSE(folder_split(folder_ / "odd:name.jsonl").has_value()) << "a file's own name";
}

}  // namespace
}  // namespace umbel::data
