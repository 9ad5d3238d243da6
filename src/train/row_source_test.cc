#include "train/row_source.h"

#include <gtest/gtest.h>

#include <fstream>

#include "io/test_folder.h"
#include "train/row_template.h"

namespace umbel {
namespace {

class RowSourceTest : public testing::Test {
 protected:
  Path write(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return folder_ / name;
  }
  // "LINE:ROW" or "LINE!PROBLEM" of every row.
  std::vector<std::string> rows(const std::string& name, const std::string& bytes) {
    auto source = RowSource::open(write(name, bytes));
    if (!source.ok()) return {"failed: " + source.status().message()};
    std::vector<std::string> result;
    RawRow raw;
    while ((*source)->next(raw).value()) {
      const auto row = parse_row(raw, (*source)->columns());
      const std::string line = std::to_string(raw.line);
      result.push_back(row.ok() ? line + ":" + row->dump() : line + "!" + row.status().message());
    }
    return result;
  }
  using Rows = std::vector<std::string>;

  TestFolder folder_;
};

TEST_F(RowSourceTest, LinesOfJson) {
  EXPECT_EQ(rows("a.jsonl", "\xef\xbb\xbf{\"b\": 1, \"a\": 2}\r\n\n  \n[3]\n"), (Rows{"1:{\"b\":1,\"a\":2}", "4:[3]"}));
  EXPECT_TRUE(rows("a.jsonl", "").empty());
  EXPECT_TRUE(rows("a.jsonl", " \n\n").empty());
  const Rows broken = rows("a.jsonl", "{\"a\": 1}\n{\"a\": \n{\"a\": \"\xff\"}\n");
  ASSERT_EQ(broken.size(), 3u);
  EXPECT_TRUE(broken[1].starts_with("2!"));
  EXPECT_TRUE(broken[2].starts_with("3!"));
}

TEST_F(RowSourceTest, OneListOfJson) {
  EXPECT_EQ(rows("a.json", "\n [\n  {\"a\": [1, {\"b\": \"],}\\\"[\"}]},\n  {\"a\":\n   2}\n]\n\n"),
            (Rows{"3:{\"a\":[1,{\"b\":\"],}\\\"[\"}]}", "4:{\"a\":2}"}));
  EXPECT_EQ(rows("a.json", "[1, \"x\\\\\",2]"), (Rows{"1:1", "1:\"x\\\\\"", "1:2"}));
  EXPECT_TRUE(rows("a.json", "[]").empty());
}

TEST_F(RowSourceTest, AListThatIsCutOffOrFollowedByTextSaysSo) {
  const Rows cut = rows("a.json", "[{\"a\": 1},\n{\"a\": 2");
  ASSERT_EQ(cut.size(), 2u);
  EXPECT_TRUE(cut[1].starts_with("2!")) << cut[1];
  EXPECT_NE(cut[1].find("cut off"), std::string::npos);
  const Rows after_last = rows("a.json", "[{\"a\": 1},\n");
  ASSERT_EQ(after_last.size(), 2u);
  EXPECT_NE(after_last[1].find("cut off"), std::string::npos);
  const Rows lists = rows("a.json", "[1]\n[2]\n[3]\n");
  ASSERT_EQ(lists.size(), 2u);
  EXPECT_TRUE(lists[1].starts_with("2!")) << lists[1];
}

TEST_F(RowSourceTest, CsvRowsAreObjectsOfTexts) {
  EXPECT_EQ(rows("a.csv", "\xef\xbb\xbfq,a\r\n\"why, \"\"oh\"\"\nwhy\",7\r\n\nx\ny,z\n\xff,1\n"),
            (Rows{"2:{\"q\":\"why, \\\"oh\\\"\\nwhy\",\"a\":\"7\"}", "5!1 fields, but the header names 2", "6:{\"q\":\"y\",\"a\":\"z\"}",
                  "7!field \"q\" is not UTF-8"}));
  EXPECT_EQ(rows("a.tsv", "q\ta\n1,2\t3\n"), (Rows{"2:{\"q\":\"1,2\",\"a\":\"3\"}"}));
}

TEST_F(RowSourceTest, HeadersThatCannotNameFieldsAreRefused) {
  EXPECT_NE(rows("a.csv", "")[0].find("no header"), std::string::npos);
  EXPECT_NE(rows("a.csv", "q,q\n1,2\n")[0].find("\"q\" twice"), std::string::npos);
  EXPECT_NE(rows("a.csv", "q,\n1,2\n")[0].find("column 2"), std::string::npos);
  EXPECT_NE(rows("a.csv", "\"q\n1,2\n")[0].find("never closed"), std::string::npos);
}

TEST(RowTemplate, FieldsAndBraces) {
  const auto filled = RowTemplate::parse("Q: {q} {{json}} {n}{b}", "t").value();
  EXPECT_EQ(filled.fill(OrderedJson{{"q", "a {x}"}, {"n", 1.5}, {"b", true}}).value(), "Q: a {x} {json} 1.5true");
  EXPECT_EQ(filled.fields(), (std::vector<std::string>{"q", "n", "b"}));
  EXPECT_EQ(RowTemplate::parse("", "t").value().fill(OrderedJson::object()).value(), "");
}

TEST(RowTemplate, WhatCannotBeFilledIsNamed) {
  const auto filled = RowTemplate::parse("{q}", "t").value();
  const auto absent = filled.fill(OrderedJson{{"question", "x"}});
  EXPECT_NE(absent.status().message().find("\"q\""), std::string::npos);
  EXPECT_NE(absent.status().message().find("question"), std::string::npos);
  EXPECT_FALSE(filled.fill(OrderedJson{{"q", nullptr}}).ok());
  EXPECT_FALSE(filled.fill(OrderedJson{{"q", OrderedJson::array()}}).ok());
  for (const char* text : {"{", "}", "a } b", "{}", "{q", "{{q}"}) EXPECT_FALSE(RowTemplate::parse(text, "t").ok()) << text;
}

}  // namespace
}  // namespace umbel
