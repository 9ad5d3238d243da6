#include "serve/work_pool.h"

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "serve/serve_testing.h"

namespace umbel::serve {
namespace {

// A door that work waits at until it is opened.
class Gate {
 public:
  void open() {
    {
      std::lock_guard lock(mutex_);
      open_ = true;
    }
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void until_waiting(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  int waiting_ = 0;
};

class WorkPoolTest : public ::testing::Test {
 protected:
  // Threads that wait at the gate until it opens: nothing else can run on them meanwhile.
  void hold(WorkPool& pool, int threads) {
    for (CallerId i = 0; i < static_cast<CallerId>(threads); ++i)
      held_.push_back(submit(pool, 900 + i, [this] { gate_.wait(); }));
    gate_.until_waiting(threads);
  }
  void release(WorkPool& pool) {
    gate_.open();
    for (const auto& job : held_) pool.wait(*job);
  }
  static std::shared_ptr<WorkPool::Job> submit(WorkPool& pool, CallerId caller, std::function<void()> body) {
    Work work;
    work.piece = [body = std::move(body)](const std::stop_token&) -> NextPiece {
      body();
      return std::nullopt;
    };
    return pool.submit(caller, std::move(work), {}).job;
  }
  std::vector<std::shared_ptr<WorkPool::Job>> held_;
  Gate gate_;
};

TEST_F(WorkPoolTest, CallersTakeTurnsPieceByPiece) {
  WorkPool pool({.threads = 2});
  hold(pool, 1);
  Gate start;
  const auto first = submit(pool, 1, [&] { start.wait(); });  // the other thread, until all stand in line
  start.until_waiting(1);
  std::mutex mutex;
  std::string order;
  const auto pieces = [&](char name, int count) {
    Work work;
    work.piece = [&, name, left = count](const std::stop_token&) mutable -> NextPiece {
      std::lock_guard lock(mutex);
      order += name;
      return --left > 0 ? NextPiece(0) : std::nullopt;
    };
    return work;
  };
  const auto a = pool.submit(1, pieces('a', 4), {}).job;
  const auto b = pool.submit(1, pieces('b', 1), {}).job;
  const auto c = pool.submit(2, pieces('c', 2), {}).job;
  const auto d = pool.submit(3, pieces('d', 1), {}).job;
  start.open();
  for (const auto& job : {first, a, b, c, d}) pool.wait(*job);
  EXPECT_EQ(order, "acdbcaaa");  // caller 1 has one turn in three while the others wait
  release(pool);
}

TEST_F(WorkPoolTest, LargePiecesLeaveAThreadToSmallOnes) {
  WorkPool pool({.threads = 3, .large_bytes = 100});
  Gate large;
  std::vector<std::shared_ptr<WorkPool::Job>> jobs;
  for (CallerId caller = 1; caller <= 8; ++caller) {
    Work work{.bytes = 101};
    work.piece = [&](const std::stop_token&) -> NextPiece {
      large.wait();
      return std::nullopt;
    };
    jobs.push_back(pool.submit(caller, std::move(work), {}).job);
  }
  large.until_waiting(2);
  for (int i = 0; i < 5; ++i) pool.wait(*submit(pool, 9, [] {}));  // ends although all large ones stand still
  EXPECT_EQ(pool.waiting(), 6u);
  large.open();
  for (const auto& job : jobs) pool.wait(*job);
}

TEST_F(WorkPoolTest, FullLinesRefuseNewWorkOnly) {
  WorkPool pool({.threads = 2, .waiting_max = 3, .waiting_per_caller_max = 2});
  hold(pool, 2);
  EXPECT_NE(submit(pool, 1, [] {}), nullptr);
  EXPECT_NE(submit(pool, 1, [] {}), nullptr);
  Work more;
  more.piece = [](const std::stop_token&) -> NextPiece { return std::nullopt; };
  EXPECT_EQ(pool.submit(1, more, {}).refused, WorkEnd::kCallerFull);
  EXPECT_NE(submit(pool, 2, [] {}), nullptr);
  EXPECT_EQ(pool.submit(2, more, {}).refused, WorkEnd::kFull);
  EXPECT_NE(pool.submit(1, admitted_work(0, [] {}), {}).job, nullptr);
  release(pool);
}

TEST_F(WorkPoolTest, CancelledWorkLeavesTheLineOrIsToldToStop) {
  WorkPool pool({.threads = 2});
  hold(pool, 1);
  std::atomic<int> pieces{0};
  std::atomic<bool> started{false};
  Work endless;
  endless.piece = [&](const std::stop_token& stop) -> NextPiece {
    started = true;
    while (!stop.stop_requested()) std::this_thread::yield();
    ++pieces;
    return 0;  // more to do, but nobody wants it
  };
  const auto running = pool.submit(1, std::move(endless), {}).job;
  while (!started) std::this_thread::yield();
  std::atomic<int> ended{0};
  Work never;
  never.piece = [&](const std::stop_token&) -> NextPiece {
    ADD_FAILURE() << "cancelled work ran";
    return std::nullopt;
  };
  const auto waiting = pool.submit(2, std::move(never), [&] { ++ended; }).job;
  pool.cancel(*waiting);
  pool.wait(*waiting);
  EXPECT_EQ(ended, 1);
  EXPECT_EQ(pool.waiting(), 0u);
  pool.cancel(*running);
  pool.wait(*running);
  EXPECT_EQ(pieces, 1);
  pool.cancel(*running);  // once more does nothing
  release(pool);
}

// Fails by a crash, a hang or a data race only.
TEST_F(WorkPoolTest, ItCanBeDestroyedWhileWorkRunsAndWaits) {
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> ended{0};
    {
      WorkPool pool({.threads = 2});
      for (CallerId caller = 0; caller < 10; ++caller) {
        Work work;
        work.piece = [](const std::stop_token& stop) -> NextPiece {
          for (int i = 0; i < 1000 && !stop.stop_requested(); ++i) std::this_thread::yield();
          return 0;
        };
        (void)pool.submit(caller % 3, std::move(work), [&] { ++ended; });
      }
    }
    EXPECT_EQ(ended, 10);
  }
}

// A client without a network.
class FakeExchange final : public Exchange {
 public:
  explicit FakeExchange(boost::asio::any_io_executor executor) : bell_(std::make_shared<Bell>(executor)) {}
  ~FakeExchange() override { bell_->close(); }
  const HttpRequest& request() const override { return request_; }
  const Caller& caller() const override { return caller_; }
  RequestAccount& account() override { return account_; }
  void release_body() override {}
  bool gone() const override { return gone_; }
  int status() const override { return 0; }
  const std::shared_ptr<Bell>& bell() const override { return bell_; }
  boost::asio::awaitable<void> reply(HttpReply) override { co_return; }
  boost::asio::awaitable<bool> begin_stream(HttpReply) override { co_return true; }
  boost::asio::awaitable<bool> write(std::string) override { co_return true; }
  boost::asio::awaitable<void> end_stream() override { co_return; }
  void leave() {
    gone_ = true;
    bell_->ring();
  }

 private:
  HttpRequest request_;
  Caller caller_;
  RequestAccount account_;
  std::shared_ptr<Bell> bell_;
  bool gone_ = false;
};

TEST_F(WorkPoolTest, RunGivesTheEndTheExceptionOrTheClientsLeaving) {
  namespace asio = boost::asio;
  WorkPool pool({.threads = 2});
  asio::io_context io;
  FakeExchange exchange(io.get_executor());
  std::string said;
  const auto talk = [&]() -> asio::awaitable<void> {
    Work one = admitted_work(0, [&] { said += "worked "; });
    const WorkEnd end = co_await pool.run(exchange, std::move(one));
    said += end == WorkEnd::kDone ? "done " : "? ";
    Work bad = admitted_work(0, [] { throw std::bad_alloc(); });
    try {
      co_await pool.run(exchange, std::move(bad));
    } catch (const std::bad_alloc&) {
      said += "thrown ";
    }
    Work endless;
    endless.piece = [&](const std::stop_token& stop) -> NextPiece {
      asio::post(io, [&] { exchange.leave(); });
      while (!stop.stop_requested()) std::this_thread::yield();
      return 0;
    };
    const WorkEnd left = co_await pool.run(exchange, std::move(endless));
    said += left == WorkEnd::kGone ? "gone" : "?";
  };
  asio::co_spawn(io, talk(), asio::detached);
  io.run();
  EXPECT_EQ(said, "worked done thrown gone");
}

TEST_F(WorkPoolTest, AFrameWaitsForTheWorkThatUsesIt) {
  namespace asio = boost::asio;
  WorkPool pool({.threads = 2});
  std::atomic<bool> running{false};
  int written = 0;
  {
    asio::io_context io;
    FakeExchange exchange(io.get_executor());
    const auto talk = [&]() -> asio::awaitable<void> {
      std::vector<int> frame(1000, 1);
      Work work;
      work.piece = [&](const std::stop_token& stop) -> NextPiece {
        running = true;
        while (!stop.stop_requested()) std::this_thread::yield();
        for (int value : frame) written += value;
        return std::nullopt;
      };
      co_await pool.run(exchange, std::move(work));
    };
    asio::co_spawn(io, talk(), asio::detached);
    while (!running) io.poll_one();
  }  // the coroutine dies here, in the middle of its work
  EXPECT_EQ(written, 1000);
}

class WorkRoutesTest : public ServeTest {};

// A tokenizer whose work stands still until it is told to go on.
class HeldTokenizer final : public Tokenizer {
 public:
  Result<std::vector<TokenId>> encode(std::string_view text, bool add_special) const override {
    if (text.starts_with("hold")) gate_.wait();
    ++encoded_;
    return inner_->encode(text, add_special);
  }
  Result<std::vector<TokenSpan>> encode_spans(std::string_view text, bool add_special) const override {
    return inner_->encode_spans(text, add_special);
  }
  Result<std::string> decode(std::span<const TokenId> ids, bool skip) const override { return inner_->decode(ids, skip); }
  std::optional<std::string> token(TokenId id) const override { return inner_->token(id); }
  std::optional<TokenId> id_of(std::string_view token) const override { return inner_->id_of(token); }
  bool is_special(TokenId id) const override { return inner_->is_special(id); }
  size_t vocab_size() const override { return inner_->vocab_size(); }
  std::optional<TokenId> bos() const override { return inner_->bos(); }
  std::optional<TokenId> eos() const override { return inner_->eos(); }
  Result<std::shared_ptr<const Tokenizer>> with_added(const Json& tokens) const override { return inner_->with_added(tokens); }
  const std::string& digest() const override { return inner_->digest(); }

  Gate& gate() const { return gate_; }
  int encoded() const { return encoded_; }

 private:
  const std::shared_ptr<const Tokenizer> inner_ = seedling_tokenizer();
  mutable Gate gate_;
  mutable std::atomic<int> encoded_{0};
};

TEST_F(WorkRoutesTest, HealthAndOthersGoOnWhileWorkStandsStill) {
  const auto held = std::make_shared<HeldTokenizer>();
  tokenizer_ = held;
  options_.work_threads = 3;
  options_.http_threads = 1;
  start();
  TestClient first(server_->port()), second(server_->port());
  const std::string body = Json{{"prompt", "hold"}}.dump();
  for (TestClient* client : {&first, &second}) {
    client->send("POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Length: " + std::to_string(body.size()) +
                 "\r\n\r\n" + body);
  }
  held->gate().until_waiting(2);
  EXPECT_EQ(get("/health").status, 200);
  EXPECT_EQ(post("/v1/completions", {{"prompt", "others"}}).status, 200);
  EXPECT_EQ(get("/v1/models").status, 200);
  held->gate().open();
  EXPECT_EQ(first.receive().status, 200);
  EXPECT_EQ(second.receive().status, 200);
}

TEST_F(WorkRoutesTest, TheFirstOfManyPromptsThatFailsEndsTheWork) {
  const auto counted = std::make_shared<HeldTokenizer>();
  tokenizer_ = counted;
  start();
  std::vector<std::string> prompts(100, "fine");
  prompts[3] = std::string(300 * 1024, 'x');
  EXPECT_EQ(post("/v1/completions", {{"prompt", prompts}}).status, 400);
  EXPECT_EQ(counted->encoded(), 3);
}

TEST_F(WorkRoutesTest, AClientThatLeavesTakesItsPromptsAlong) {
  const auto held = std::make_shared<HeldTokenizer>();
  tokenizer_ = held;
  start();
  std::vector<std::string> prompts(100, "hi");
  prompts[0] = "hold";
  {
    TestClient client(server_->port());
    const std::string body = Json{{"prompt", prompts}}.dump();
    client.send("POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Length: " + std::to_string(body.size()) +
                "\r\n\r\n" + body);
    held->gate().until_waiting(1);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // the door hears of it
  held->gate().open();
  ASSERT_TRUE(soon([&] { return get("/metrics").body.find("status=\"499\"") != std::string::npos; }));
  EXPECT_EQ(held->encoded(), 1);
  EXPECT_TRUE(engine_->requests().empty());
}

TEST_F(WorkRoutesTest, AServerStopsWhileWorkRuns) {
  const auto held = std::make_shared<HeldTokenizer>();
  tokenizer_ = held;
  start();
  TestClient client(server_->port());
  const std::string body = Json{{"prompt", "hold"}}.dump();
  client.send("POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Length: " + std::to_string(body.size()) +
              "\r\n\r\n" + body);
  held->gate().until_waiting(1);
  std::thread opener([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    held->gate().open();
  });
  server_.reset();
  opener.join();
}

}  // namespace
}  // namespace umbel::serve
