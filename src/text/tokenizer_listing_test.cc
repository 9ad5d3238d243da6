#include "text/tokenizer_listing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace umbel {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Read {
  Status status;
  std::vector<std::string> tokens;  // "token=id" or "token=id{fields}"
};

Read read(const std::string& text) {
  Read made;
  made.status = read_tokenizer_listing(text, "t.json", [&](std::string_view token, const Json& id, const Json& entry) {
    made.tokens.push_back(std::string(token) + "=" + id.dump() + (entry.empty() ? "" : entry.dump()));
    return token == "stop" ? unsupported("stop it") : ok_status();
  });
  return made;
}

TEST(TokenizerListingTest, NamesAndIdsOfBothLists) {
  const Read made = read(R"({"version":"1.0","model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[["a","b"],"a b"],"x":{"vocab":{"no":9}}},
      "added_tokens":[{"id":2,"content":"<A>","special":true,"more":[{"content":"no"}]},{"content":"<B>"}],"vocab":{"no":9}})");
  EXPECT_TRUE(made.status.ok()) << made.status.message();
  EXPECT_THAT(made.tokens, ElementsAre("a=0", "b=1", R"(<A>=2{"content":"<A>","id":2,"special":true})", R"(<B>=null{"content":"<B>"})"));
}

TEST(TokenizerListingTest, AListedVocabularyCountsItsPlaces) {
  EXPECT_THAT(read(R"({"model":{"vocab":[["a",-1.5],["b",{"x":1}],["c"]]}})").tokens, ElementsAre("a=0", "b=1", "c=2"));
}

TEST(TokenizerListingTest, WhatIsOfAnotherFormIsRefused) {
  for (const char* text : {"[]", "5", "\"x\"", "{", "", R"({"added_tokens":{}})", R"({"added_tokens":[5]})", R"({"added_tokens":[[]]})",
                           R"({"added_tokens":[{"content":5}]})", R"({"added_tokens":[{}]})", R"({"model":{"vocab":{"a":{}}}})",
                           R"({"model":{"vocab":{"a":[1]}}})", R"({"model":{"vocab":["a"]}})", R"({"model":{"vocab":[[]]}})",
                           R"({"model":{"vocab":[[5]]}})", R"({"model":{"vocab":[{}]}})", "{}x"}) {
    const Status status = read(text).status;
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << text;
    EXPECT_THAT(status.message(), HasSubstr("t.json"));
  }
  EXPECT_EQ(read(std::string("{}\0", 3)).status.code(), Code::kInvalidArgument);
  for (const char* text : {"{}", R"({"model":5,"added_tokens":null})", R"({"model":[],"vocab":5})", R"({"model":{"vocab":5}})"}) {
    EXPECT_TRUE(read(text).status.ok()) << text;
  }
}

TEST(TokenizerListingTest, TheFirstRefusalEndsIt) {
  const Read made = read(R"({"model":{"vocab":{"a":0,"stop":1,"b":2}}})");
  EXPECT_EQ(made.status.code(), Code::kUnsupported);
  EXPECT_THAT(made.tokens, ElementsAre("a=0", "stop=1"));
}

TEST(TokenizerListingTest, DepthCostsNothing) {
  const std::string deep(2'000'000, '[');
  EXPECT_EQ(read("{\"x\":" + deep).status.code(), Code::kInvalidArgument);
  EXPECT_TRUE(read("{\"x\":" + deep + std::string(deep.size(), ']') + "}").status.ok());
  EXPECT_FALSE(read("{\"added_tokens\":" + deep).status.ok());
  EXPECT_FALSE(read("{\"model\":{\"vocab\":{\"a\":" + deep).status.ok());
}

}  // namespace
}  // namespace umbel
