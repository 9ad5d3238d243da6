#include "io/beneath.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <fstream>

#include "io/test_folder.h"

namespace umbel {
namespace {

constexpr size_t kLimit = 1000;

class BeneathTest : public ::testing::Test {
 protected:
  BeneathTest() {
    write("outside/secret", "secret");
    write("adapters/a/plain", "mine");
  }
  void write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((dir_ / name).parent_path());
    std::ofstream(dir_ / name) << text;
  }
  void link(const Path& target, const std::string& name) { std::filesystem::create_symlink(target, dir_ / name); }
  FolderPlace place(const std::string& folder, const Path& links_root = {}) const {
    return {.folder = dir_ / "adapters" / folder, .root = dir_ / "adapters", .links_root = links_root};
  }
  static Result<std::string> read(const FolderPlace& place, const std::string& name) {
    ASSIGN_OR_RETURN(const FolderReader folder, FolderReader::open(place));
    return folder.read(name, kLimit);
  }
  static Code code(const Result<std::string>& result) { return result.status().code(); }

  TestFolder dir_;
};

TEST_F(BeneathTest, PlainFilesAreReadWithinTheirLimit) {
  EXPECT_EQ(read(place("a"), "plain").value(), "mine");
  EXPECT_EQ(code(read(place("a"), "absent")), Code::kNotFound);
  EXPECT_EQ(code(read(place("b"), "plain")), Code::kNotFound);
  write("adapters/a/long", std::string(kLimit + 1, 'x'));
  EXPECT_EQ(code(read(place("a"), "long")), Code::kTooLong);
}

TEST_F(BeneathTest, LinksAreNotFollowedWhereverTheyLead) {
  link(dir_ / "outside/secret", "adapters/a/absolute");
  link("../../outside/secret", "adapters/a/relative");
  link("plain", "adapters/a/inside");
  link("/proc/self/environ", "adapters/a/proc");
  link("loop", "adapters/a/loop");
  for (const char* name : {"absolute", "relative", "inside", "proc", "loop"}) {
    const auto result = read(place("a"), name);
    EXPECT_EQ(code(result), Code::kInvalidArgument) << name;
    EXPECT_NE(result.status().message().find(name), std::string::npos);
    EXPECT_NE(result.status().message().find("--adapter-links-root"), std::string::npos);
  }
}

TEST_F(BeneathTest, NamesThatArePathsAreRefused) {
  for (const std::string& name : {std::string("../a/plain"), std::string("/etc/passwd"), std::string(".."), std::string("."), std::string(""),
                                  std::string("./plain"), std::string("plain\0x", 7)}) {
    EXPECT_EQ(code(read(place("a"), name)), Code::kInvalidArgument) << name;
  }
}

TEST_F(BeneathTest, WhatIsNoRegularFileIsRefusedWithoutWaiting) {
  ASSERT_EQ(mkfifo((dir_ / "adapters/a/fifo").c_str(), 0600), 0);
  std::filesystem::create_directory(dir_ / "adapters/a/folder");
  const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  const std::string path = dir_ / "adapters/a/socket";
  ASSERT_LT(path.size(), sizeof address.sun_path);
  std::copy(path.begin(), path.end(), address.sun_path);
  ASSERT_EQ(::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  for (const char* name : {"fifo", "folder", "socket"}) EXPECT_EQ(code(read(place("a"), name)), Code::kInvalidArgument) << name;
  ::close(socket);
}

TEST_F(BeneathTest, AFolderThatIsALinkMustStayInsideTheRoot) {
  link(dir_ / "outside", "adapters/out");
  link("../outside", "adapters/out-relative");
  link("a", "adapters/in");
  link(dir_ / "adapters/a", "adapters/in-absolute");
  link(".", "adapters/self");
  link("..", "adapters/up");
  for (const char* name : {"out", "out-relative", "self", "up"}) {
    EXPECT_EQ(FolderReader::open(place(name)).status().code(), Code::kInvalidArgument) << name;
  }
  for (const char* name : {"in", "in-absolute"}) EXPECT_EQ(read(place(name), "plain").value(), "mine") << name;
  EXPECT_EQ(FolderReader::open({.folder = dir_ / "outside", .root = dir_ / "adapters"}).status().code(), Code::kInvalidArgument);
  write("adapters/deep/er/plain", "deep");
  EXPECT_EQ(read(place("deep/er"), "plain").value(), "deep");
  link(dir_ / "outside", "adapters/deep/out");
  write("outside/er/plain", "secret");
  EXPECT_EQ(FolderReader::open(place("deep/out/er")).status().code(), Code::kInvalidArgument);
}

// As the hub's cache has it: HUB/models--x/snapshots/REVISION/NAME -> ../../blobs/HASH.
TEST_F(BeneathTest, LinksIntoANamedRootAreFollowed) {
  write("hub/models--x/blobs/hash", "from the cache");
  std::filesystem::create_directories(dir_ / "hub/models--x/snapshots/rev");
  link("../../blobs/hash", "hub/models--x/snapshots/rev/plain");
  link(dir_ / "outside/secret", "hub/models--x/snapshots/rev/out");
  link(dir_ / "hub/models--x/snapshots/rev", "adapters/x");
  EXPECT_EQ(code(read(place("x"), "plain")), Code::kInvalidArgument);
  const FolderPlace allowed = place("x", dir_ / "hub");
  EXPECT_EQ(read(allowed, "plain").value(), "from the cache");
  EXPECT_EQ(code(read(allowed, "out")), Code::kInvalidArgument);
  ASSERT_EQ(mkfifo((dir_ / "hub/models--x/blobs/fifo").c_str(), 0600), 0);
  link("../../blobs/fifo", "hub/models--x/snapshots/rev/fifo");
  EXPECT_EQ(code(read(allowed, "fifo")), Code::kInvalidArgument);
  const FolderReader folder = FolderReader::open(allowed).value();
  EXPECT_EQ(folder.stamp("plain")->size, 14u);  // of what it leads to
  // A snapshot that is named by the operator brings its root along, and that is the model's own folder.
  EXPECT_EQ(hub_links_root(dir_ / "hub/models--x/snapshots/rev"), std::filesystem::canonical(dir_ / "hub/models--x"));
  EXPECT_EQ(hub_links_root(dir_ / "adapters/a"), Path());
}

TEST_F(BeneathTest, TheFolderStaysTheOneThatWasOpened) {
  const FolderReader folder = FolderReader::open(place("a")).value();
  std::filesystem::rename(dir_ / "adapters/a", dir_ / "adapters/b");
  write("adapters/a/plain", "another");
  EXPECT_EQ(folder.read("plain", kLimit).value(), "mine");
}

}  // namespace
}  // namespace umbel
