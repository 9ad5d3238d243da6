#include "io/html.h"

#include <gtest/gtest.h>

namespace umbel {
namespace {

TEST(Html, WhatMeansSomethingToAPageIsWrittenAsEntities) {
  EXPECT_EQ(html_escaped("<a href=\"x\" onclick='y'>&amp;</a>"), "&lt;a href=&quot;x&quot; onclick=&#39;y&#39;&gt;&amp;amp;&lt;/a&gt;");
  EXPECT_EQ(html_escaped("two\nlines, Grüße"), "two\nlines, Grüße");
  EXPECT_EQ(html_escaped(std::string("a\0b\x1b\xff", 5)), "a\xef\xbf\xbd" "b\xef\xbf\xbd\xef\xbf\xbd");
}

}  // namespace
}  // namespace umbel
