#include "io/csv.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/random.h"
#include "io/test_folder.h"

namespace umbel {
namespace {

using Fields = std::vector<std::string>;

class CsvTest : public testing::Test {
 protected:
  std::vector<CsvRecord> read(const std::string& bytes, char separator = ',') {
    std::ofstream(folder_ / "file.csv", std::ios::binary) << bytes;
    CsvReader reader(LineReader::open(folder_ / "file.csv").value(), separator);
    std::vector<CsvRecord> records;
    CsvRecord record;
    while (reader.next(record).value()) records.push_back(record);
    return records;
  }
  Fields one(const std::string& bytes) {
    const auto records = read(bytes);
    EXPECT_EQ(records.size(), 1u) << bytes;
    if (records.empty()) return {};
    EXPECT_EQ(records[0].problem, "") << bytes;
    return records[0].fields;
  }

  TestFolder folder_;
};

TEST_F(CsvTest, FieldsOfRfc4180) {
  EXPECT_EQ(one("a,b,c\r\n"), (Fields{"a", "b", "c"}));
  EXPECT_EQ(one("a,b,c"), (Fields{"a", "b", "c"}));
  EXPECT_EQ(one("a,,\r\n"), (Fields{"a", "", ""}));
  EXPECT_EQ(one(","), (Fields{"", ""}));
  EXPECT_EQ(one("\"a,b\",\"say \"\"hi\"\"\",\"\"\n"), (Fields{"a,b", "say \"hi\"", ""}));
  EXPECT_EQ(one("\"one\r\ntwo\n\nthree\",x\r\n"), (Fields{"one\r\ntwo\n\nthree", "x"}));
  EXPECT_EQ(one("\"x\"\r\n"), (Fields{"x"}));
  EXPECT_EQ(one("\"\"\"\"\n"), (Fields{"\""}));
  EXPECT_EQ(one(" a , b \n"), (Fields{" a ", " b "}));  // blanks belong to fields
  EXPECT_EQ(one("\xef\xbb\xbf" "a,b\n"), (Fields{"a", "b"}));
  EXPECT_EQ(read("a\tb,c\n", '\t')[0].fields, (Fields{"a", "b,c"}));
}

TEST_F(CsvTest, RecordsKnowTheirLines) {
  const auto records = read("a,b\n\n\"1\n2\n3\",x\n\r\nlast,y");
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0].line, 1);
  EXPECT_EQ(records[1].line, 3);
  EXPECT_EQ(records[2].line, 7);
}

TEST_F(CsvTest, BadRecordsSayWhyAndReadingGoesOn) {
  const auto records = read("a \"quote\" inside,b\n\"closed\"behind,b\nfine,row\n\"never closed,b\nc,d\n");
  ASSERT_EQ(records.size(), 4u);
  EXPECT_NE(records[0].problem.find("inside a field"), std::string::npos);
  EXPECT_NE(records[1].problem.find("behind a closing quote"), std::string::npos);
  EXPECT_EQ(records[2].problem, "");
  EXPECT_EQ(records[2].fields, (Fields{"fine", "row"}));
  EXPECT_EQ(records[3].line, 4);
  EXPECT_NE(records[3].problem.find("never closed"), std::string::npos);
}

// Any table written by the rules is read back.
TEST_F(CsvTest, WrittenTablesComeBack) {
  Random random(17);
  const std::string letters = "ab\",\n\r x\xc3\xa9";
  for (int round = 0; round < 200; ++round) {
    std::vector<Fields> table;
    std::string text;
    const size_t columns = 1 + random.next_below(4);
    for (size_t row = 0; row < 1 + random.next_below(5); ++row) {
      Fields fields;
      for (size_t column = 0; column < columns; ++column) {
        std::string field;
        for (uint64_t length = random.next_below(8); length > 0; --length) field += letters[random.next_below(letters.size())];
        std::string quoted;
        for (const char c : field) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
        const bool plain = field.find_first_of("\",\n\r") == std::string::npos && !(columns == 1 && field.empty()) && random.next_below(2) == 0;
        text += (column > 0 ? "," : "") + (plain ? field : "\"" + quoted + "\"");
        fields.push_back(field);
      }
      text += random.next_below(2) == 0 ? "\n" : "\r\n";
      table.push_back(fields);
    }
    const auto records = read(text);
    ASSERT_EQ(records.size(), table.size()) << text;
    for (size_t i = 0; i < table.size(); ++i) {
      EXPECT_EQ(records[i].problem, "") << text;
      EXPECT_EQ(records[i].fields, table[i]) << text;
    }
  }
}

// No bytes do more harm than a bad record.
TEST_F(CsvTest, AnyBytesEnd) {
  Random random(5);
  const std::string letters = "\"\",\n\ra\x80\xff";
  for (int round = 0; round < 300; ++round) {
    std::string text = "x";
    for (uint64_t length = random.next_below(60); length > 0; --length) text += letters[random.next_below(letters.size())];
    EXPECT_LE(read(text).size(), text.size());
  }
}

TEST_F(CsvTest, ARecordOfCountlessFieldsIsBadAndTheNextIsRead) {
  const auto records = read(std::string(3'000'000, ',') + "\na,b\n");
  ASSERT_EQ(records.size(), 2u);
  EXPECT_NE(records[0].problem.find(std::to_string(kCsvFieldsMax) + " fields"), std::string::npos) << records[0].problem;
  EXPECT_LE(records[0].fields.size(), kCsvFieldsMax);
  EXPECT_EQ(records[1].fields, (std::vector<std::string>{"a", "b"}));
}

TEST_F(CsvTest, ACellLongerThanALineMayBeIsBad) {
  const std::string line = std::string(1 << 20, 'x') + "\n";
  std::string text = "\"";
  while (text.size() <= kLineBytesMax) text += line;
  text += "x\"\n";
  const auto records = read(text);
  ASSERT_FALSE(records.empty());
  EXPECT_NE(records[0].problem.find(std::to_string(kLineBytesMax)), std::string::npos) << records[0].problem;
}

}  // namespace
}  // namespace umbel
