#include "io/byte_stream.h"

#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <csignal>
#include <fstream>
#include <thread>

#include "io/test_folder.h"

namespace umbel {
namespace {

std::string gzip(const std::string& text) {
  z_stream state{};
  EXPECT_EQ(deflateInit2(&state, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&state, text.size()) + 64, '\0');
  state.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  state.avail_in = static_cast<uInt>(text.size());
  state.next_out = reinterpret_cast<Bytef*>(out.data());
  state.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&state, Z_FINISH), Z_STREAM_END);
  out.resize(out.size() - state.avail_out);
  deflateEnd(&state);
  return out;
}

std::string zstd(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

class ByteStreamTest : public testing::Test {
 protected:
  Path file(const std::string& bytes) {
    const Path path = folder_ / "file";
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }
  Result<std::string> read_all(const Path& path, size_t piece = 1000) {
    ASSIGN_OR_RETURN(const auto stream, ByteStream::open(path));
    std::string all, buffer(piece, '\0');
    while (true) {
      ASSIGN_OR_RETURN(const size_t count, stream->read(buffer.data(), buffer.size()));
      if (count == 0) return all;
      all.append(buffer, 0, count);
    }
  }
  Result<std::vector<std::string>> lines(const std::string& bytes) {
    ASSIGN_OR_RETURN(LineReader reader, LineReader::open(file(bytes)));
    std::vector<std::string> result;
    std::string line;
    while (true) {
      ASSIGN_OR_RETURN(const bool more, reader.next(line));
      if (!more) return result;
      result.push_back(line);
      EXPECT_EQ(reader.line(), static_cast<int64_t>(result.size()));
    }
  }

  TestFolder folder_;
};

std::string long_text() {
  std::string text;
  for (int i = 0; i < 60000; ++i) text += "row " + std::to_string(i * 7919) + "\n";
  return text;
}

TEST_F(ByteStreamTest, PlainAndGzipGiveTheSameBytesInAnyPieces) {
  const std::string text = long_text();
  for (const size_t piece : {size_t{1} << 16, size_t{997}, size_t{1} << 23}) {
    EXPECT_TRUE(read_all(file(text), piece).value() == text);
    EXPECT_TRUE(read_all(file(gzip(text)), piece).value() == text);
  }
  EXPECT_EQ(read_all(file("")).value(), "");
  EXPECT_EQ(read_all(file("x")).value(), "x");
  EXPECT_EQ(read_all(file(gzip(""))).value(), "");
}

TEST_F(ByteStreamTest, ZstdGivesTheSameBytesInAnyPieces) {
  const std::string text = long_text();
  for (const size_t piece : {size_t{1} << 16, size_t{997}, size_t{1} << 23}) EXPECT_TRUE(read_all(file(zstd(text)), piece).value() == text);
  EXPECT_EQ(read_all(file(zstd(""))).value(), "");
  EXPECT_EQ(read_all(file(zstd("one ") + zstd("") + zstd("two"))).value(), "one two");
  EXPECT_EQ(lines(zstd("a\nb")).value(), (std::vector<std::string>{"a", "b"}));
}

TEST_F(ByteStreamTest, ZstdThatIsCutOffDamagedOrABombSaysSo) {
  const std::string packed = zstd(long_text());
  for (const size_t kept : {size_t{4}, size_t{5}, packed.size() / 2, packed.size() - 1}) {
    const auto read = read_all(file(packed.substr(0, kept)));
    ASSERT_FALSE(read.ok()) << kept;
    EXPECT_EQ(read.status().code(), Code::kDataLoss);
    EXPECT_NE(read.status().message().find("zstd data is cut off"), std::string::npos) << read.status().message();
  }
  const auto damaged = read_all(file(packed.substr(0, 4) + std::string(100, '\xff') + packed.substr(104)));
  EXPECT_EQ(damaged.status().code(), Code::kDataLoss);
  const auto bomb = read_all(file(zstd(std::string(size_t{100} << 20, '\0'))), size_t{1} << 20);
  EXPECT_EQ(bomb.status().code(), Code::kTooLong);
}

TEST_F(ByteStreamTest, MembersAndZeroPaddingAreOneStream) {
  EXPECT_EQ(read_all(file(gzip("one ") + gzip("") + gzip("two"))).value(), "one two");
  EXPECT_EQ(read_all(file(gzip("one") + std::string(100, '\0'))).value(), "one");
}

TEST_F(ByteStreamTest, DamagedGzipIsDataLossNotAShorterText) {
  const std::string packed = gzip(long_text());
  for (const size_t size : {size_t{2}, size_t{9}, packed.size() / 2, packed.size() - 1}) {
    const auto read = read_all(file(packed.substr(0, size)));
    ASSERT_FALSE(read.ok()) << size;
    EXPECT_EQ(read.status().code(), Code::kDataLoss);
  }
  std::string flipped = packed;
  flipped[packed.size() / 2] ^= 0x10;
  EXPECT_EQ(read_all(file(flipped)).status().code(), Code::kDataLoss);
  EXPECT_EQ(read_all(file(packed + "trailing")).status().code(), Code::kDataLoss);
}

TEST_F(ByteStreamTest, FoldersAndAbsentFilesAreNamed) {
  const auto absent = ByteStream::open(folder_ / "absent");
  EXPECT_EQ(absent.status().code(), Code::kNotFound);
  EXPECT_NE(absent.status().message().find("absent"), std::string::npos);
  EXPECT_EQ(ByteStream::open(folder_.path()).status().code(), Code::kInvalidArgument);
}

TEST_F(ByteStreamTest, APipeIsReadToItsEnd) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const std::string text = long_text();
  std::thread writer([&] {
    for (size_t at = 0; at < text.size();) {
      const ssize_t count = ::write(ends[1], text.data() + at, std::min<size_t>(text.size() - at, 10007));
      if (count <= 0) break;
      at += static_cast<size_t>(count);
    }
    ::close(ends[1]);
  });
  EXPECT_TRUE(read_all("/dev/fd/" + std::to_string(ends[0])).value() == text);
  writer.join();
  ::close(ends[0]);
}

TEST_F(ByteStreamTest, LinesKeepTheirBytesAndNumbers) {
  EXPECT_EQ(lines("a\n\nb\r\nc").value(), (std::vector<std::string>{"a", "", "b\r", "c"}));
  EXPECT_EQ(lines("a\n").value(), (std::vector<std::string>{"a"}));
  EXPECT_TRUE(lines("").value().empty());
  EXPECT_EQ(lines("\xef\xbb\xbf{}\n\xef\xbb\xbfx").value(), (std::vector<std::string>{"{}", "\xef\xbb\xbfx"}));
  const std::string wide(700000, 'w');
  EXPECT_EQ(lines("a\n" + wide + "\nb").value(), (std::vector<std::string>{"a", wide, "b"}));
}

TEST_F(ByteStreamTest, ALinePutBackComesAgain) {
  auto reader = LineReader::open(file("\xef\xbb\xbf" "first\nsecond\n")).value();
  std::string line;
  ASSERT_TRUE(reader.next(line).value());
  reader.put_back();
  ASSERT_TRUE(reader.next(line).value());
  EXPECT_EQ(line, "first");
  EXPECT_EQ(reader.line(), 1);
  ASSERT_TRUE(reader.next(line).value());
  reader.put_back();
  ASSERT_TRUE(reader.next(line).value());
  EXPECT_EQ(line, "second");
  EXPECT_EQ(reader.line(), 2);
  EXPECT_FALSE(reader.next(line).value());
}

TEST_F(ByteStreamTest, Utf16IsRefusedWithTheRemedy) {
  for (const std::string& bytes : {std::string("\xff\xfe{\0}\0\n\0", 8), std::string("\xfe\xff\0{\0}\0\n", 8), std::string("{\0}\0\n\0", 6)}) {
    const auto read = lines(bytes);
    ASSERT_FALSE(read.ok());
    EXPECT_EQ(read.status().code(), Code::kInvalidArgument);
    EXPECT_NE(read.status().message().find("iconv"), std::string::npos);
  }
}

TEST_F(ByteStreamTest, DevicesAreRefused) {
  const auto zero = ByteStream::open("/dev/zero");
  EXPECT_EQ(zero.status().code(), Code::kInvalidArgument);
  EXPECT_NE(zero.status().message().find("device"), std::string::npos);
}

// Reads lines until something ends it.
Status end_of(const Path& path, const StreamLimits& limits) {
  auto reader = LineReader::open(path, limits);
  if (!reader.ok()) return reader.status();
  std::string line;
  while (true) {
    const auto more = reader->next(line);
    if (!more.ok()) return more.status();
    if (!*more) return ok_status();
  }
}

TEST_F(ByteStreamTest, AnEndlessPipeEndsWithFileAndLine) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  std::thread writer([&] {
    const std::string text(5000, '\n');
    while (::write(ends[1], text.data(), text.size()) > 0) continue;
  });
  const std::string path = "/dev/fd/" + std::to_string(ends[0]);
  signal(SIGPIPE, SIG_IGN);
  const Status end = end_of(path, {.bytes_max = 1'000'000});
  ::close(ends[0]);
  writer.join();
  ::close(ends[1]);
  EXPECT_EQ(end.code(), Code::kTooLong);
  for (const char* part : {path.c_str(), "1000000", "line "}) EXPECT_NE(end.message().find(part), std::string::npos) << end.message();
}

TEST_F(ByteStreamTest, AGzipBombEndsWithItsRatioAndHonestTextDoesNot) {
  const std::string bomb = gzip(std::string(8'000'000, '\n'));
  const StreamLimits limits{.ratio_max = 50, .ratio_free_bytes = 1'000'000};
  const Status end = end_of(file(bomb), limits);
  EXPECT_EQ(end.code(), Code::kTooLong);
  for (const char* part : {"file", "50 times", "line "}) EXPECT_NE(end.message().find(part), std::string::npos) << end.message();
  EXPECT_TRUE(end_of(file(gzip(long_text())), limits).ok());
}

}  // namespace
}  // namespace umbel
