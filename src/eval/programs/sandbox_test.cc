// What a program in the sandbox can't do: each is tried by a program that passes only if it was held.
#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <optional>
#include <thread>

#include "eval/programs/sandbox.h"
#include "io/test_folder.h"

namespace umbel::eval {
namespace {

class SandboxEscapes : public ::testing::Test {
 protected:
  void SetUp() override {
    auto opened = Sandbox::open();
    if (!opened.ok()) GTEST_SKIP() << opened.status().message();
    sandbox_.emplace(*std::move(opened));
  }
  ProgramResult run(const std::string& program, SandboxLimits limits = {}) {
    const auto result = sandbox_->run(program, limits);
    EXPECT_TRUE(result.ok()) << result.status().to_string();
    return result.ok() ? *result : ProgramResult{.end = ProgramEnd::kFailed, .reason = "no result"};
  }
  // The program does `attempt`, which must raise an error of this kind.
  void expect_held(const std::string& attempt, const std::string& error = "OSError") {
    const ProgramResult result = run("import os\ntry:\n    " + attempt + "\nexcept " + error + ":\n    pass\nelse:\n    raise SystemError('not held')\n");
    EXPECT_EQ(result.end, ProgramEnd::kPassed) << attempt << ": " << result.reason;
  }

  std::optional<Sandbox> sandbox_;
};

TEST_F(SandboxEscapes, ProgramsPassAndFailByTheirTests) {
  EXPECT_EQ(run("def f(x):\n    return x + 1\nassert f(1) == 2\n").end, ProgramEnd::kPassed);
  EXPECT_EQ(run("import math, collections, itertools, re, json, heapq, datetime\n").end, ProgramEnd::kPassed);
  const ProgramResult wrong = run("assert 1 == 2, 'no'\n");
  EXPECT_EQ(wrong.end, ProgramEnd::kFailed);
  EXPECT_EQ(wrong.reason, "AssertionError: no");
  EXPECT_NE(run("def f(:\n").reason.find("SyntaxError"), std::string::npos);
}

TEST_F(SandboxEscapes, LeavingEarlyIsNoPass) {
  for (const char* leave : {"import sys\nsys.exit(0)", "import os\nos._exit(0)", "raise SystemExit", "raise KeyboardInterrupt", "import os\nos.abort()",
                            "import ctypes\nctypes.string_at(0)", "import os\nfor f in range(3, 20):\n  try: os.write(f, b'+' + b'x' * 16)\n  except OSError: pass\nos._exit(0)"}) {
    EXPECT_EQ(run(leave).end, ProgramEnd::kFailed) << leave;
  }
}

TEST_F(SandboxEscapes, TheNetworkIsNotThere) {
  expect_held("import socket; socket.socket()");
  expect_held("import urllib.request; urllib.request.urlopen('http://127.0.0.1:80/')");
  expect_held("open('/sys/class/net/eth0/address')");
}

TEST_F(SandboxEscapes, FilesOfTheHostCantBeRead) {
  TestFolder folder;
  std::ofstream(folder / "secret") << "secret";
  expect_held("open('" + (folder / "secret").string() + "')");
  for (const char* path : {"/etc", "/etc/passwd", "/home", "/srv", "/var", "/tmp", "/usr/share", "/proc/1/cwd/etc/passwd"}) {
    expect_held(std::string("os.stat('") + path + "')");
  }
  EXPECT_EQ(run("import os\nassert not [k for k in os.environ if k not in ('PWD', 'LC_CTYPE')], os.environ\n").end, ProgramEnd::kPassed);
}

TEST_F(SandboxEscapes, NothingCanBeWritten) {
  for (const char* path : {"/x", "/usr/bin/x", "/tmp/x", "/usr/lib/python3/x"}) expect_held(std::string("open('") + path + "', 'w')");
  expect_held("f = open('/dev/shm/x', 'wb', 0); f.write(b'x' * 4096)");
  expect_held("os.ftruncate(os.memfd_create('x'), 1 << 20)");
}

TEST_F(SandboxEscapes, AForkBombHasNoProcess) {
  expect_held("os.fork()");
  expect_held("import subprocess; subprocess.run(['/usr/bin/true'])");
  expect_held("os.execv('/usr/bin/python3', ['python3'])");
  EXPECT_EQ(run("import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()\n").end, ProgramEnd::kPassed);
  EXPECT_NE(run("import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(99,), daemon=True).start()\n").end, ProgramEnd::kPassed);
}

TEST_F(SandboxEscapes, AMemoryBombEndsAtItsLimit) {
  expect_held("bytearray(1 << 30)", "MemoryError");
  EXPECT_NE(run("x = []\nwhile True: x.append(bytes(1 << 20))\n").end, ProgramEnd::kPassed);
}

TEST_F(SandboxEscapes, AnEndlessLoopEndsInTime) {
  const SandboxLimits short_time = {.wall = std::chrono::milliseconds(300)};
  for (const char* loop : {"import time\nwhile True: time.sleep(1)", "import signal\nfor s in range(1, 32):\n  try: signal.signal(s, signal.SIG_IGN)\n"
                           "  except OSError: pass\nwhile True: pass", "import os\nos.closerange(3, 64)\nwhile True: pass"}) {
    EXPECT_EQ(run(loop, short_time).end, ProgramEnd::kOutOfTime) << loop;
  }
  EXPECT_EQ(run("while True: pass", {.wall = std::chrono::seconds(30), .cpu_s = 1}).end, ProgramEnd::kOutOfTime);
}

TEST_F(SandboxEscapes, ProcessesOfTheHostCantBeSeenOrKilled) {
  expect_held("os.kill(" + std::to_string(getpid()) + ", 9)");
  EXPECT_EQ(run("import os\nassert len([p for p in os.listdir('/proc') if p.isdigit()]) < 5\n").end, ProgramEnd::kPassed);
  // Its own supervisor can be; that ends it, and nothing else.
  EXPECT_EQ(run("import os, time\nos.kill(os.getppid(), 9)\ntime.sleep(60)\n").end, ProgramEnd::kFailed);
  EXPECT_EQ(run("pass").end, ProgramEnd::kPassed);
}

// No process of a sandbox lives on when the one that opened it is killed.
TEST_F(SandboxEscapes, TheSandboxDiesWithItsParent) {
  const std::string mark = "mark" + std::to_string(getpid());
  const pid_t child = fork();
  if (child == 0) {
    const auto result = sandbox_->run("import time\n" + mark + " = 1\ntime.sleep(60)\n", {.wall = std::chrono::seconds(60)});
    _exit(result.ok() ? 0 : 1);
  }
  const auto children = [](pid_t of) {
    std::ifstream list("/proc/" + std::to_string(of) + "/task/" + std::to_string(of) + "/children");
    pid_t id = 0;
    list >> id;
    return id;
  };
  pid_t bwrap = 0;
  for (int i = 0; i < 1000 && (bwrap == 0 || children(bwrap) == 0); ++i) {
    bwrap = children(child);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ASSERT_NE(bwrap, 0);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  bool gone = false;
  for (int i = 0; i < 2000 && !gone; ++i) {
    std::ifstream stat("/proc/" + std::to_string(bwrap) + "/stat");
    std::string line;
    std::getline(stat, line);
    gone = line.empty() || line.find(") Z ") != std::string::npos;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_TRUE(gone);
}

TEST(Sandbox, WithoutBubblewrapThePackageIsNamed) {
  const auto opened = Sandbox::open("/nowhere/bwrap");
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.status().code(), Code::kUnsupported);
  EXPECT_NE(opened.status().message().find("apt install bubblewrap"), std::string::npos);
}

}  // namespace
}  // namespace umbel::eval
