#include "base/utf8.h"
#include "serve/session.h"

#include <boost/asio/io_context.hpp>
#include <cmath>

#include "base/random.h"
#include "serve/http_message.h"
#include "serve/serve_testing.h"
#include "serve/token_texts.h"
#include "serve/unicode.h"

namespace umbel::serve {
namespace {

class SessionTest : public testing::Test {
 protected:
  std::unique_ptr<Session> make(SessionOptions options) {
    options.tokenizer = seedling_tokenizer();
    return std::make_unique<Session>(stream_, std::move(options), bell_);
  }
  void say(const std::string& text) {
    const std::vector<TokenId> ids = seedling_tokenizer()->encode(text, false).value();
    for (TokenId id : ids) push(id);
  }
  void push(TokenId id, FinishReason finish = FinishReason::kNone) {
    TokenEvent event;
    event.token = id;
    event.finish = finish;
    stream_->push(std::move(event));
  }
  static std::shared_ptr<const StopList> list(std::vector<std::string> stops) {
    return std::make_shared<const StopList>(std::move(stops));
  }
  static std::string drain(Session& session) {
    std::string text;
    while (const auto progress = session.poll()) text += progress->text;
    return text;
  }

  boost::asio::io_context io_;
  std::shared_ptr<Bell> bell_ = std::make_shared<Bell>(io_.get_executor());
  std::shared_ptr<Stream> stream_ = std::make_shared<Stream>(1);
};

TEST_F(SessionTest, TextIsWhatTheTokensSay) {
  const auto session = make({});
  say(" pay the bill");
  push(2, FinishReason::kEos);
  EXPECT_EQ(drain(*session), " pay the bill");
  EXPECT_TRUE(session->done());
  EXPECT_EQ(session->answer().finish, FinishReason::kEos);
  EXPECT_EQ(session->answer().tokens.back().text, "");
}

TEST_F(SessionTest, TextHeldForAStopStringComesAtTheEnd) {
  const auto session = make({.stops = list({"bill.!"})});
  say(" pay the bill.");
  const std::string before = drain(*session);
  EXPECT_EQ(before, " pay the ");
  push(2, FinishReason::kEos);
  EXPECT_EQ(drain(*session), "bill.");
  EXPECT_EQ(session->answer().text, " pay the bill.");
}

TEST_F(SessionTest, AStopStringEndsItAndAbandonsTheStream) {
  const auto session = make({.stops = list({"the"})});
  say(" pay the bill.");
  EXPECT_EQ(drain(*session), " pay ");
  EXPECT_EQ(session->answer().finish, FinishReason::kStop);
  EXPECT_EQ(session->answer().stop_string, "the");
  EXPECT_TRUE(stream_->abandoned());
  EXPECT_FALSE(session->poll());
}

TEST_F(SessionTest, AStopStringInTheVeryLastTextCounts) {
  const auto session = make({.stops = list({"bill"})});
  const std::vector<TokenId> ids = seedling_tokenizer()->encode(" pay the bill", false).value();
  for (size_t i = 0; i < ids.size(); ++i)
    push(ids[i], i + 1 == ids.size() ? FinishReason::kLength : FinishReason::kNone);
  EXPECT_EQ(drain(*session), " pay the ");
  EXPECT_EQ(session->answer().finish, FinishReason::kStop);
}

TEST_F(SessionTest, AKeptStopStringIsShownAndNothingAfterIt) {
  const auto session = make({.stops = list({"he b"}), .include_stop = true});
  say(" pay the bill.");
  EXPECT_EQ(drain(*session), " pay the b");
  EXPECT_EQ(session->answer().stop_string, "he b");
}

TEST_F(SessionTest, ASpecialTokenOfAStopStringStopsThoughItIsNotShown) {
  const TokenId special = *seedling_tokenizer()->id_of("<s>");
  ASSERT_TRUE(seedling_tokenizer()->is_special(special));
  for (const bool kept : {false, true}) {
    for (const char* stop : {"<s>", "bill<s>"}) {
      stream_ = std::make_shared<Stream>(1);
      const auto session = make({.stops = list({stop}), .stops_at_special = true, .include_stop = kept});
      say(" pay the bill");
      push(special);
      say(" twice");
      EXPECT_EQ(drain(*session), kept || std::string(stop) == "<s>" ? " pay the bill" : " pay the ");
      EXPECT_EQ(session->answer().finish, FinishReason::kStop);
      EXPECT_EQ(session->answer().stop_string, stop);
    }
  }
}

TEST_F(SessionTest, ForgottenSessionsAbandon) {
  { const auto session = make({}); }
  EXPECT_TRUE(stream_->abandoned());
}

TEST_F(SessionTest, CancelledMeansTheServerGaveUp) {
  const auto session = make({});
  TokenEvent event;
  event.finish = FinishReason::kCancelled;
  stream_->push(std::move(event));
  drain(*session);
  EXPECT_EQ(session->answer().status.code(), Code::kCancelled);
}

// Every way of cutting a text into tokens and every stop string: what is shown is the text up to the first stop string,
// and no shown prefix ever contains it.
TEST_F(SessionTest, AgreesWithSearchingTheWholeText) {
  Random random(3);
  const std::string alphabet = "aab \u00e9";
  for (int round = 0; round < 300; ++round) {
    std::string text, stop;
    for (uint64_t i = 0; i < 5 + random.next_below(20); ++i) text += alphabet[random.next_below(4)];
    for (uint64_t i = 0; i < 1 + random.next_below(4); ++i) stop += alphabet[random.next_below(4)];
    stream_ = std::make_shared<Stream>(1);
    const auto session = make({.stops = list({stop})});
    for (char c : text) push(*seedling_tokenizer()->id_of(c == ' ' ? "\u0120" : std::string(1, c)));
    push(2, FinishReason::kEos);
    std::string shown;
    while (const auto progress = session->poll()) {
      shown += progress->text;
      ASSERT_EQ(shown.find(stop), std::string::npos);
    }
    EXPECT_EQ(shown, text.substr(0, text.find(stop))) << text << " | " << stop;
  }
}

TEST(TokenTexts, BytesOfTokensJoinToTheText) {
  const TokenTexts texts(seedling_tokenizer());
  const std::string text = " caf\u00e9 \U0001F33C pays 12\n";
  std::string joined;
  bool split = false;
  const std::vector<TokenId> ids = seedling_tokenizer()->encode(text, false).value();
  for (TokenId id : ids) {
    joined += texts.bytes(id);
    if (!is_utf8(texts.bytes(id))) {
      split = true;
      EXPECT_TRUE(texts.text(id).starts_with("bytes:\\x")) << texts.text(id);
    }
  }
  EXPECT_EQ(joined, text);
  EXPECT_TRUE(split);
  EXPECT_EQ(texts.text(1), "<s>");
  EXPECT_EQ(texts.bytes(-5), "");
}

TEST(TokenTexts, SentencePieceTokensKeepTheirSpaceAndBytes) {
  const char* const json =
      R"({"version":"1.0","added_tokens":[],"normalizer":null,"pre_tokenizer":null,"post_processor":null,
    "decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"\u2581"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},
    "model":{"type":"BPE","unk_token":"<unk>","byte_fallback":true,"vocab":{"<unk>":0,"<0xC3>":1,"<0xA9>":2,"a":3,"\u2581":4,"\u2581a":5},"merges":["\u2581 a"]}})";
  const auto tokenizer = Tokenizer::from_json(json);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  const TokenTexts texts(*tokenizer);
  EXPECT_EQ(texts.bytes(5), " a");
  EXPECT_EQ(texts.bytes(3), "a");
  EXPECT_EQ(texts.bytes(1), "\xc3");
  EXPECT_EQ(texts.text(1), "bytes:\\xc3");
}

TEST(Unicode, StrictUtf8) {
  for (const char* good : {"", "a", "\u00e9", "\u20ac", "\U0001F33C", "\xf4\x8f\xbf\xbf", "\xee\x80\x80"})
    EXPECT_TRUE(is_utf8(good)) << good;
  for (const char* bad : {"\x80", "\xc0\x80", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80",
                          "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "a\xe2\x82"})
    EXPECT_FALSE(is_utf8(bad));
  EXPECT_EQ(utf8_count("caf\u00e9 \U0001F33C"), 6u);
}

TEST(Unicode, PlacesAreCountedInAnyOrder) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += i % 3 == 0 ? "\U0001F33C" : i % 3 == 1 ? "\u00e9" : "a";
  for (const size_t size : {size_t{0}, size_t{63}, size_t{64}, size_t{65}, size_t{128}, text.size()}) {
    const std::string_view part = std::string_view(text).substr(0, size);
    const CodePointIndex points(part);
    for (size_t byte = size + 1; byte-- > 0;) EXPECT_EQ(points.before(byte), utf8_count(part.substr(0, byte)));
  }
}

TEST(HttpMessage, HeadersOfStrangersCantBreakTheHead) {
  HttpReply reply{.status = 200};
  reply.headers.emplace_back("x-adapter-id", "a\r\nset-cookie: b\xc3\xa9");
  const std::string head = head_text(reply, {});
  EXPECT_EQ(head.find("\r\nset-cookie"), std::string::npos);
  EXPECT_NE(head.find("x-adapter-id: a??set-cookie: b??\r\n"), std::string::npos);
  EXPECT_TRUE(head.ends_with("\r\n\r\n"));
}

TEST(HttpMessage, JsonTextNeverThrows) {
  EXPECT_EQ(json_text({{"a", "\xff"}}), "{\"a\":\"\uFFFD\"}");
  EXPECT_EQ(json_text(std::nan("")), "null");
}

}  // namespace
}  // namespace umbel::serve
