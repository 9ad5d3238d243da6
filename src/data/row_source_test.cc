#include "data/row_source.h"

#include <gtest/gtest.h>

#include <fstream>

#include "data/row_template.h"
#include "io/test_folder.h"

namespace umbel::data {
namespace {

class RowSourceTest : public testing::Test {
 protected:
  Path write(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return folder_ / name;
  }
  // "LINE:ROW" or "LINE!PROBLEM" of every row.
  std::vector<std::string> rows(const std::string& name, const std::string& bytes, const std::vector<std::string>& columns = {}) {
    auto source = RowSource::open(write(name, bytes), columns);
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
            (Rows{"2:{\"q\":\"why, \\\"oh\\\"\\nwhy\",\"a\":\"7\"}", "5!1 fields, but there are 2 columns", "6:{\"q\":\"y\",\"a\":\"z\"}",
                  "7!field \"q\" is not UTF-8"}));
  EXPECT_EQ(rows("a.tsv", "q\ta\n1,2\t3\n"), (Rows{"2:{\"q\":\"1,2\",\"a\":\"3\"}"}));
}

// As GLUE writes them: a quote is a sign, wherever it stands.
TEST_F(RowSourceTest, TabsWithoutQuotesKeepEveryQuote) {
  EXPECT_EQ(rows("a.tsv", "q\ta\r\na 5\" nail\tx\r\n\"he said\ty\r\nno\"\t\"z\"\r\n\"\"\tw\r\n"),
            (Rows{R"(2:{"q":"a 5\" nail","a":"x"})", R"(3:{"q":"\"he said","a":"y"})", R"(4:{"q":"no\"","a":"\"z\""})", R"(5:{"q":"\"\"","a":"w"})"}));
  // The quotes of two rows would enclose a record that has as many fields.
  EXPECT_EQ(rows("a.tsv", "q\ta\n\"one\tx\ntwo\"\ty\n").size(), 2u);
}

// As pandas and csv writers do: quotes enclose what needs them, or everything.
TEST_F(RowSourceTest, TabsWithQuotesAreReadWithThem) {
  EXPECT_EQ(rows("a.tsv", "q\ta\n\"two\nlines\"\tx\n\"say \"\"hi\"\"\"\ty\n"),
            (Rows{R"(2:{"q":"two\nlines","a":"x"})", R"(4:{"q":"say \"hi\"","a":"y"})"}));
  EXPECT_EQ(rows("a.tsv", "\"q\"\t\"a\"\n\"one\"\t\"x\"\n"), (Rows{R"(2:{"q":"one","a":"x"})"}));
  EXPECT_EQ(rows("a.tsv", "text\n\"one\ntwo\"\nthree\n"), (Rows{R"(2:{"text":"one\ntwo"})", R"(4:{"text":"three"})"}));
}

TEST_F(RowSourceTest, FilesWithoutAHeaderTakeNamesForTheirColumns) {
  const std::vector<std::string> names = {"id", "label", "text"};
  EXPECT_EQ(rows("a.tsv", "g1\t1\tIt's \"fine\n\ng2\t0\tNo.\n", names),
            (Rows{R"(1:{"id":"g1","label":"1","text":"It's \"fine"})", R"(3:{"id":"g2","label":"0","text":"No."})"}));
  EXPECT_EQ(rows("a.csv", "\xef\xbb\xbfg1,1,\"a, b\"\r\nx\r\n", names),
            (Rows{R"(1:{"id":"g1","label":"1","text":"a, b"})", "2!1 fields, but there are 3 columns"}));
  EXPECT_EQ(rows("a.csv", "id,label,text\ng1,1,a\n", names), (Rows{R"(2:{"id":"g1","label":"1","text":"a"})"})) << "a header that says the same is no row";
  EXPECT_NE(rows("a.jsonl", "{}\n", names)[0].find("neither"), std::string::npos);
  EXPECT_NE(rows("a.csv", "1,2\n", {"a", "a"})[0].find("\"a\" twice"), std::string::npos);
  EXPECT_NE(rows("a.csv", "1,2\n", {"a", ""})[0].find("column 2"), std::string::npos);
}

TEST_F(RowSourceTest, TheIndexThatPandasWritesHasAName) {
  EXPECT_EQ(rows("a.csv", ",q\n0,x\n"), (Rows{R"(2:{"Unnamed: 0":"0","q":"x"})"}));
}

TEST_F(RowSourceTest, AnotherSeparatorIsNamed) {
  EXPECT_NE(rows("a.csv", "q;a\n1;2\n")[0].find("semicolons"), std::string::npos);
  EXPECT_NE(rows("a.csv", "q\ta\n1\t2\n")[0].find("tabs"), std::string::npos);
  EXPECT_NE(rows("a.tsv", "q,a\n1,2\n")[0].find("commas"), std::string::npos);
}

TEST_F(RowSourceTest, FilesOfOtherFormsAreNamedWithTheirRemedy) {
  const std::pair<std::string, const char*> forms[] = {
      {std::string("PAR1\x15\x04\0\0\n{", 10), "cut short"}, {std::string("ARROW1\0\0", 8), "read_feather"},
      {std::string("\xff\xff\xff\xff\x10\0\0\0", 8), "from_file"}, {std::string("SQLite format 3\0x", 17), "sqlite3"},
      {std::string("PK\x03\x04\x14\0", 6), "Excel"}, {std::string("\x28\xb5\x2f\xfd\0", 5), "zstd data"},
      {std::string("\xfd" "7zXZ\0\0", 7), "xz -d"}, {"BZh91AY&SYabc", "bzip2 -d"}, {std::string("\x80\x04\x95\0", 4), "read_pickle"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 22\n", "git lfs pull"}, {"<!DOCTYPE html>\n<html>", "web page"}};
  for (const auto& [bytes, remedy] : forms) {
    for (const char* name : {"a.jsonl", "a.csv", "a.parquet"}) {
      const std::string told = rows(name, bytes)[0];
      EXPECT_NE(told.find(remedy), std::string::npos) << told;
      EXPECT_NE(told.find(name), std::string::npos) << told;
    }
  }
  EXPECT_NE(rows("a.jsonl", "ARROW1....")[0].find("a.rows.jsonl"), std::string::npos) << "a remedy that would overwrite the file";
  EXPECT_EQ(rows("a.csv", "BZh9,error\n1,2\n").size(), 1u) << "a header is no archive";
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
  EXPECT_EQ(RowTemplate::parse(R"(a\nb\tc\\nd\e)", "t").value().fill(OrderedJson::object()).value(), "a\nb\tc\\nd\\e");
  EXPECT_EQ(RowTemplate::parse("", "t").value().fill(OrderedJson::object()).value(), "");
}

// Columns of data sets are often objects and lists.
TEST(RowTemplate, NamesLeadIntoObjectsAndLists) {
  const OrderedJson row = OrderedJson::parse(R"({"translation": {"en": "a cat", "fr": "un chat"}, "answers": {"text": ["x", "y"], "start": [3]}, "a.b": 7, "a": {"b": 8}})");
  const auto fill = [&](const char* text) { return RowTemplate::parse(text, "t").value().fill(row); };
  EXPECT_EQ(fill("{translation.en} -> {translation.fr}").value(), "a cat -> un chat");
  EXPECT_EQ(fill("{answers.text.1} {answers.start.0}").value(), "y 3");
  EXPECT_EQ(fill("{a.b}").value(), "7") << "a field's own name comes first";
  for (const char* bad : {"{answers.text.2}", "{answers.text.-1}", "{answers.text.}", "{answers.}", "{translation.de}", "{.}", "{a.b.c}"}) EXPECT_FALSE(fill(bad).ok()) << bad;
  EXPECT_NE(fill("{answers.text}").status().message().find("{answers.text.0} would be"), std::string::npos);
  EXPECT_NE(fill("{translation}").status().message().find("{translation.en} would be"), std::string::npos);
}

TEST(RowTemplate, BackslashesThatBecomeLineBreaksAndThoseThatDoNotAreToldApart) {
  EXPECT_TRUE(backslash_warnings("Q: {q}\nA:", "template").empty());
  EXPECT_TRUE(backslash_warnings("C:\\\\dir \\alpha \\", "template").empty());
  const auto breaks = backslash_warnings(R"(Q: {q}\nA:)", "template");
  ASSERT_EQ(breaks.size(), 1u);
  EXPECT_NE(breaks[0].find(R"(template: \n is read as a line break)"), std::string::npos);
  const auto literal = backslash_warnings(R"(Q: {q}\\nA:)", "completion");
  ASSERT_EQ(literal.size(), 1u);
  EXPECT_NE(literal[0].find("completion: "), std::string::npos);
  EXPECT_NE(literal[0].find("not for a line break"), std::string::npos);
  EXPECT_EQ(backslash_warnings(R"(a\tb\n)", "t").size(), 2u);
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
}  // namespace umbel::data
