#include "text/content_parts.h"

#include <gtest/gtest.h>

namespace umbel {
namespace {

OrderedJson parts(const char* text) { return OrderedJson::parse(text); }

TEST(ContentParts, TextsAreJoinedByLineBreaksInBothForms) {
  for (const PartForms forms : {PartForms::kTyped, PartForms::kLoose}) {
    EXPECT_EQ(join_content_parts(parts(R"([{"type":"text","text":"a"},{"type":"text","text":""},{"type":"text","text":"b"}])"), forms).text, "a\n\nb");
    EXPECT_EQ(join_content_parts(parts("[]"), forms).text, "");
    const JoinedContent image = join_content_parts(parts(R"([{"type":"text","text":"a"},{"type":"image_url","image_url":{}}])"), forms);
    EXPECT_EQ(image.status.code(), Code::kUnsupported);
    EXPECT_EQ(image.at, "[1].type");
    EXPECT_EQ(image.type, "image_url");
    EXPECT_EQ(join_content_parts(parts(R"([{"type":"text"}])"), forms).at, "[0].text");
    EXPECT_EQ(join_content_parts(parts("[5]"), forms).at, "[0]");
  }
}

TEST(ContentParts, OnlyTheLooseFormTakesBareTextsAndPartsWithoutAType) {
  const OrderedJson bare = parts(R"(["a",{"text":"b"}])");
  EXPECT_EQ(join_content_parts(bare, PartForms::kLoose).text, "a\nb");
  EXPECT_EQ(join_content_parts(bare, PartForms::kTyped).at, "[0]");
  EXPECT_EQ(join_content_parts(parts(R"([{"text":"b"}])"), PartForms::kTyped).at, "[0]");
}

}  // namespace
}  // namespace umbel
