#include "serve/request_reader.h"

#include <gtest/gtest.h>

#include <string>

namespace umbel::serve {
namespace {

constexpr size_t kHeaderBytesMax = 4096;

struct Read {
  int refused = 0;  // 0 = read to its end
  std::string message;
  HttpRequest request;
  size_t taken = 0;     // of the bytes
  size_t held_max = 0;  // the most bytes that had to be kept for the reader at once
};

// Gives bytes piece by piece; waiting for more at the end is "not done" (refused = -1).
Read read(const std::string& bytes, size_t piece = std::string::npos, size_t body_max = 1 << 20) {
  RequestReader reader(kHeaderBytesMax);
  Read result;
  std::string held;
  bool limited = false;
  for (size_t at = 0; !reader.done() && !reader.failure();) {
    if (at == bytes.size()) break;
    const size_t count = std::min(piece, bytes.size() - at);
    held.append(bytes, at, count);
    at += count;
    result.held_max = std::max(result.held_max, held.size());
    while (!held.empty() && !reader.done() && !reader.failure()) {
      const size_t taken = reader.feed(held);
      held.erase(0, taken);
      result.taken += taken;
      if (reader.head_done() && !limited) {
        reader.limit_body(body_max);
        limited = true;
      }
      if (taken == 0) break;
    }
  }
  if (reader.failure()) {
    result.refused = reader.failure()->http;
    result.message = reader.failure()->message;
  } else if (reader.done()) {
    reader.take_body();
  } else {
    result.refused = -1;
  }
  result.request = reader.request();
  return result;
}

std::string post(const std::string& headers, const std::string& body) {
  return "POST /generate?a=b HTTP/1.1\r\nHost: t\r\n" + headers + "\r\n" + body;
}

TEST(RequestReader, ReadsTheSameInPiecesOfAnySize) {
  const std::string declared = post("X-A: one\r\nContent-Length: 5\r\n", "hello");
  const std::string chunked =
      post("Transfer-Encoding: Chunked\r\n", "2;name=value\r\nhe\r\n3\r\nllo\r\n0\r\nX-Trailer: dropped\r\n\r\n");
  for (const std::string& bytes : {declared, chunked}) {
    for (size_t piece = 1; piece <= bytes.size(); ++piece) {
      const Read got = read(bytes, piece);
      ASSERT_EQ(got.refused, 0) << got.message << " in pieces of " << piece;
      EXPECT_EQ(got.request.body, "hello");
      EXPECT_EQ(got.request.path, "/generate");
      EXPECT_EQ(got.request.query, "a=b");
      EXPECT_EQ(got.request.header("x-trailer"), "");
      EXPECT_EQ(got.taken, bytes.size());
    }
  }
}

// Fuzzing found it: with the last chunk first and its trailer to come, Beast's parser asserts that five bytes are there.
TEST(RequestReader, ALastChunkMayComeByteByByte) {
  const std::string head = "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const std::string body : {"0\r\n\r\n", "0\r\nExpires: never\r\n\r\n", "1\r\na\r\n0\r\nA: b\r\n\r\n", "3;x=y\r\nabc\r\n0\r\n\r\n"}) {
    for (size_t piece = 1; piece < 8; ++piece) {
      const Read result = read(head + body, piece);
      EXPECT_EQ(result.refused, 0) << body << " in pieces of " << piece << ": " << result.message;
      EXPECT_EQ(result.taken, head.size() + body.size());
    }
  }
}

TEST(RequestReader, LeavesWhatBelongsToTheNextRequest) {
  const std::string first = post("Content-Length: 2\r\n", "hi");
  EXPECT_EQ(read(first + "GET / HTTP/1.1\r\n").taken, first.size());
  EXPECT_EQ(read("\r\n" + first + "\r\n").taken, first.size() + 2);  // RFC 9112 2.2: one empty line before
}

TEST(RequestReader, TargetsAreTakenApart) {
  const auto target = [](const std::string& text) {
    const Read got = read("GET " + text + " HTTP/1.1\r\nHost: other\r\n\r\n");
    return got.request.path + " " + got.request.query + " " + std::string(got.request.header("host"));
  };
  EXPECT_EQ(target("/a%20b?c=d?e"), "/a%20b c=d?e other");
  EXPECT_EQ(target("http://example.org:81/v1/models?x"), "/v1/models x example.org:81");
  EXPECT_EQ(target("https://example.org"), "/  example.org");
  EXPECT_EQ(target("http://example.org?x"), "/ x example.org");
  EXPECT_EQ(target("*"), "*  other");
}

TEST(RequestReader, OddFramingIsRefused) {
  const auto refused = [](const std::string& headers) { return read(post(headers, "0\r\n\r\n")).refused; };
  for (const char* coding : {"chunked, identity", "identity", "xchunked", "gzip, chunked", "chunked, chunked",
                             "\"chunked\"", "chunked;q=1", "", "chunked,", ", chunked", "gzip", "chun ked"}) {
    EXPECT_GE(refused("Transfer-Encoding: " + std::string(coding) + "\r\n"), 400) << coding;
  }
  EXPECT_GE(refused("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400);
  EXPECT_GE(refused("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"), 400);
  EXPECT_EQ(refused("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400);
  EXPECT_EQ(refused("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400);
  for (const char* length : {"5\r\nContent-Length: 6", "5\r\nContent-Length: 5", "5, 5", "5, 6", "+5", "-5", "0x5", "5 5",
                             "", "99999999999999999999", "5a"}) {
    EXPECT_EQ(refused("Content-Length: " + std::string(length) + "\r\n"), 400) << length;
  }
  EXPECT_EQ(read("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").refused, 400);
}

TEST(RequestReader, OddLinesAreRefused) {
  const auto refused = [](const std::string& bytes) { return read(bytes).refused; };
  EXPECT_EQ(refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refused("GET / HTTP/1.1\r\nX: y\r\n\r\n"), 400);  // no Host
  EXPECT_EQ(refused("GET / HTTP/1.0\r\nX: y\r\n\r\n"), 0);
  EXPECT_EQ(refused("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n folded\r\n\r\n"), 400);
  EXPECT_EQ(refused("GET / HTTP/1.1\r\n folded\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refused("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), 400);
  EXPECT_EQ(refused("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n"), 400);
  EXPECT_EQ(refused("GET / HTTP/1.1\r\n: a\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refused("GET / HTTP/1.1\nHost: a\n\n"), 400);
  EXPECT_EQ(refused("GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"), 400);
  EXPECT_EQ(refused("GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n"), 400);
  EXPECT_EQ(refused(std::string("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 28)), 400);
  EXPECT_EQ(refused("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refused("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refused("GET / HTTP/1.1\r\nHost a\r\n\r\n"), 400);
  // Refused as soon as it shows, not when a header's end has come.
  EXPECT_EQ(refused("\x16\x03\x01"), 400);
  EXPECT_EQ(refused("GET / HTTP/1.1\n"), 400);
}

TEST(RequestReader, EveryEndlessPartIsCutAtTheHeaderLimit) {
  const std::string chunked = post("Transfer-Encoding: chunked\r\n", "");
  std::string many_extensions, many_trailers = "0\r\n", many_headers;
  for (int i = 0; i < 2000; ++i) {
    many_extensions += "1;name=" + std::string(50, 'v') + "\r\nx\r\n";
    many_trailers += "T" + std::to_string(i) + ": v\r\n";
    many_headers += "T" + std::to_string(i) + ": v\r\n";
  }
  const std::string long_line(100'000, 'x');
  for (const std::string& bytes :
       {"GET /" + long_line, "GET / HTTP/1.1\r\nHost: t\r\nX: " + long_line, "GET / HTTP/1.1\r\nHost: t\r\n" + many_headers,
        long_line, chunked + "1;a=" + long_line, chunked + "1;" + long_line, chunked + many_extensions,
        chunked + many_trailers, chunked + "0\r\nT: " + long_line, chunked + "0;a=" + long_line,
        chunked + "0" + std::string(100'000, '0')}) {
    const Read got = read(bytes, 512);
    EXPECT_TRUE(got.refused == 431 || got.refused == 400) << got.refused << " " << bytes.substr(0, 60);
    EXPECT_LE(got.held_max, kHeaderBytesMax + 512) << bytes.substr(0, 60);
  }
  EXPECT_EQ(read(chunked + many_trailers, 512).refused, 431);
  EXPECT_EQ(read(chunked + many_extensions, 512).refused, 431);
  EXPECT_EQ(read("GET / HTTP/1.1\r\nHost: t\r\n" + many_headers, 512).refused, 431);
}

TEST(RequestReader, MoreHeadersThanAreReadIsARefusalNotASilence) {
  std::string headers;
  for (size_t i = 0; i <= RequestReader::kHeadersMax; ++i) headers += "X: y\r\n";
  EXPECT_EQ(read("GET / HTTP/1.1\r\nHost: t\r\n" + headers + "\r\n").refused, 431);
}

TEST(RequestReader, BodiesPastTheirLimitAreRefused) {
  const std::string chunked = post("Transfer-Encoding: chunked\r\n", "40\r\n" + std::string(64, 'x') + "\r\n40\r\n");
  const Read got = read(chunked, 10, 100);
  EXPECT_EQ(got.refused, 413);
  EXPECT_NE(got.message.find("100 bytes"), std::string::npos) << got.message;
  EXPECT_EQ(read(post("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n")).refused, 400);
  EXPECT_EQ(read(post("Transfer-Encoding: chunked\r\n", "zz\r\n")).refused, 400);
  EXPECT_EQ(read(post("Transfer-Encoding: chunked\r\n", "1\r\nxyz\r\n0\r\n\r\n")).refused, 400);
}

}  // namespace
}  // namespace umbel::serve
