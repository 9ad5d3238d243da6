#include "io/yaml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace umbel {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

YamlPtr parsed(const std::string& text) {
  auto node = parse_yaml(text, "f.yaml");
  EXPECT_TRUE(node.ok()) << node.status().message();
  return node.ok() ? *node : std::make_shared<Yaml>();
}

std::string refusal(const std::string& text) {
  const auto node = parse_yaml(text, "f.yaml");
  return node.ok() ? "" : node.status().message();
}

const Yaml& at(const Yaml& map, const std::string& key) {
  const YamlEntry* entry = map.find(key);
  EXPECT_NE(entry, nullptr) << key;
  static const Yaml nothing;
  return entry != nullptr ? *entry->value : nothing;
}

Yaml scalar(const std::string& text, bool quoted = false) { return {.kind = Yaml::Kind::kScalar, .text = text, .quoted = quoted}; }

TEST(Yaml, ValuesKnowTheirPlaces) {
  const YamlPtr root = parsed("a: 1\nb:\n  - x\n  - {c: 'y'}\n# end\nd:\n");
  ASSERT_TRUE(root->is_map());
  ASSERT_EQ(root->entries.size(), 3u);
  EXPECT_EQ(root->entries[1].where, "f.yaml:2");
  const Yaml& list = at(*root, "b");
  ASSERT_TRUE(list.is_list());
  EXPECT_EQ(list.items[0]->where, "f.yaml:3");
  EXPECT_EQ(at(*list.items[1], "c").text, "y");
  EXPECT_TRUE(at(*list.items[1], "c").quoted);
  EXPECT_FALSE(at(*root, "a").quoted);
  EXPECT_TRUE(at(*root, "d").is_null());
  EXPECT_EQ(at(*root, "d").where, "f.yaml:6");
  EXPECT_TRUE(parsed("")->is_null());
  EXPECT_TRUE(parsed("# only a remark\n")->is_null());
}

TEST(Yaml, AnchorsAndMergeKeys) {
  const YamlPtr root = parsed(
      "one: &one {rank: 4, lr: 1, kind: lora}\n"
      "two: &two {lr: 2, seed: 9}\n"
      "job: {<<: [*one, *two], rank: 8}\n"
      "same: *one\n");
  const Yaml& job = at(*root, "job");
  EXPECT_EQ(job.entries.size(), 4u);
  EXPECT_EQ(at(job, "rank").text, "8");   // its own
  EXPECT_EQ(at(job, "lr").text, "1");     // the earlier map's
  EXPECT_EQ(at(job, "seed").text, "9");
  EXPECT_EQ(at(at(*root, "same"), "kind").text, "lora");
  EXPECT_EQ(at(job, "lr").where, "f.yaml:1");  // where it is written
}

TEST(Yaml, RefusalsNameTheLine) {
  EXPECT_THAT(refusal("a: 1\nb: 2\na: 3\n"), HasSubstr("f.yaml:3: the key \"a\" stands twice (first at f.yaml:1)"));
  EXPECT_THAT(refusal("a: [1, 2\nb: 3\n"), StartsWith("f.yaml:"));
  EXPECT_THAT(refusal("a: 1\n\tb: 2\n"), HasSubstr("f.yaml:2"));
  EXPECT_THAT(refusal("a: !!python/object x\n"), HasSubstr("tag"));
  EXPECT_THAT(refusal("? [a]\n: 1\n"), HasSubstr("a key is a word, not a list"));
  EXPECT_THAT(refusal("a: &x [1, *x]\n"), HasSubstr("f.yaml:1"));
  EXPECT_THAT(refusal("a: *nowhere\n"), HasSubstr("f.yaml:1"));
  EXPECT_THAT(refusal("a: 1\n<<: 3\n"), HasSubstr("merges maps"));
  EXPECT_THAT(refusal("a: 1\n---\nb: 2\n"), HasSubstr("more than one document"));
  EXPECT_THAT(refusal("a: \xff\n"), HasSubstr("UTF-8"));
  EXPECT_THAT(refusal(std::string("a: \0", 4)), HasSubstr("zero byte"));
  EXPECT_THAT(refusal(std::string(40, '[') + std::string(40, ']')), HasSubstr("deeper"));
  EXPECT_THAT(refusal(std::string(100000, '[')), HasSubstr("f.yaml:1"));
  EXPECT_THAT(refusal(std::string(kYamlBytesMax + 1, ' ')), HasSubstr("at most"));
}

// Nine levels of ten aliases each are a thousand million leaves, and few nodes.
TEST(Yaml, AliasesShareOneNode) {
  std::string bomb = "l0: &l0 [x]\n";
  for (int i = 1; i < 10; ++i) {
    const std::string last = "*l" + std::to_string(i - 1);
    bomb += "l" + std::to_string(i) + ": &l" + std::to_string(i) + " [" + last;
    for (int k = 1; k < 10; ++k) bomb += ", " + last;
    bomb += "]\n";
  }
  const YamlPtr root = parsed(bomb);
  const Yaml& last = at(*root, "l9");
  EXPECT_EQ(last.items[0].get(), last.items[9].get());
  std::string many = "a: &a {x: 1}\nb: {<<: [*a";
  for (int i = 0; i < 60000; ++i) many += ", *a";
  EXPECT_THAT(refusal(many + "]}\n"), HasSubstr("too many keys"));
}

TEST(Yaml, NumbersAsTheirKeysNeedThem) {
  EXPECT_EQ(yaml_number(scalar("1e-3")).value(), 1e-3);
  EXPECT_EQ(yaml_number(scalar("3E-3")).value(), 3e-3);
  EXPECT_EQ(yaml_number(scalar("+.5")).value(), 0.5);
  EXPECT_EQ(yaml_number(scalar("-2")).value(), -2.0);
  for (const char* bad : {".inf", "-.INF", ".nan", "nan", "inf", "1e999", "", "1e", "0x10", "1_000", "1,5", "++1", "one", "1 2"}) {
    EXPECT_FALSE(yaml_number(scalar(bad)).ok()) << bad;
  }
  EXPECT_THAT(yaml_number(scalar(".inf")).status().message(), HasSubstr("finite"));
  EXPECT_THAT(yaml_number(scalar("1", true)).status().message(), HasSubstr("expected a number, found the quoted text \"1\""));
  EXPECT_EQ(yaml_integer(scalar("-12")).value(), -12);
  EXPECT_EQ(yaml_integer(scalar("1e3")).value(), 1000);
  EXPECT_EQ(yaml_integer(scalar("9223372036854775807")).value(), INT64_MAX);
  for (const char* bad : {"1.5", "9223372036854775808", "1e30", "010", "-01", "yes", "0o7", "1:30"}) EXPECT_FALSE(yaml_integer(scalar(bad)).ok()) << bad;
  EXPECT_EQ(yaml_unsigned(scalar("18446744073709551615")).value(), UINT64_MAX);
  EXPECT_FALSE(yaml_unsigned(scalar("-1")).ok());
}

TEST(Yaml, SwitchesAndText) {
  for (const char* word : {"true", "Yes", "ON"}) EXPECT_TRUE(yaml_switch(scalar(word)).value()) << word;
  for (const char* word : {"false", "no", "Off"}) EXPECT_FALSE(yaml_switch(scalar(word)).value()) << word;
  EXPECT_FALSE(yaml_switch(scalar("1")).ok());
  EXPECT_FALSE(yaml_switch(scalar("true", true)).ok());
  EXPECT_EQ(yaml_text(scalar("no")).value(), "no");
  EXPECT_THAT(yaml_text(Yaml{.kind = Yaml::Kind::kList}).status().message(), HasSubstr("expected text, found a list"));
}

TEST(Yaml, FlagsAreScalarsOrFlowLists) {
  const YamlPtr plain = yaml_of_flag("### Input: {x}", "--template").value();
  EXPECT_EQ(plain->text, "### Input: {x}");
  EXPECT_TRUE(plain->from_flag);
  const YamlPtr list = yaml_of_flag("[1e-3, 3e-3]", "--lr").value();
  ASSERT_EQ(list->items.size(), 2u);
  EXPECT_EQ(list->items[1]->where, "--lr");
  EXPECT_TRUE(list->items[1]->from_flag);
  EXPECT_THAT(yaml_of_flag("[1", "--lr").status().message(), HasSubstr("--lr"));
  const YamlPtr map = yaml_with(*yaml_with(*parsed("a: 1\nb: 2"), {"a", "--a", plain}), {"c", "--c", list});
  ASSERT_EQ(map->entries.size(), 3u);
  EXPECT_EQ(map->entries[0].value, plain);
  EXPECT_EQ(map->entries[2].key, "c");
}

}  // namespace
}  // namespace umbel
