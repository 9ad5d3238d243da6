// WorkPool: the threads that work on behalf of clients: reading bodies, templates, tokenizing, writing large answers. HTTP
// threads only move bytes, so that neither /health nor a running stream waits for somebody's megabytes.
//
// Fair: callers with waiting work take turns, one piece a turn; a long work is cut into pieces and waits again after each. At
// least one thread never takes a large piece, so that small ones go on beside any number of large ones.
// Bounded: new work is refused past waiting_max, or past waiting_per_caller_max of one caller.
// Stopping: a client that leaves takes its waiting work along, and a running piece is told by its stop token.
//
// Any thread may submit, cancel and wait. The pool outlives all run() coroutines.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <unordered_map>
#include <vector>

#include "serve/http.h"

namespace umbel::serve {

// Whose turn it is: everything of one caller waits in one line.
using CallerId = uint64_t;
// All connections of one key are one caller; without a key, those of one address; of this machine, each connection by itself
// (it may be a proxy's).
CallerId caller_of(const Exchange& exchange);

// What a piece leaves to do: the bytes that the next piece will look at; null = the work is done.
using NextPiece = std::optional<size_t>;
// May throw: run() throws it again. Looks at the token now and then, and returns early when a stop is requested.
using WorkPiece = std::function<NextPiece(const std::stop_token&)>;

struct Work {
  size_t bytes = 0;  // that the first piece looks at
  // kAdmitted: part of a request that was let in already, never refused (there are no more of them than connections).
  enum class Admission : uint8_t { kNew, kAdmitted };
  Admission admission = Admission::kNew;
  WorkPiece piece;
};

// Work of a request that was let in already, in one piece.
template <typename Body>
Work admitted_work(size_t bytes, Body body) {
  Work work{.bytes = bytes, .admission = Work::Admission::kAdmitted};
  work.piece = [body = std::move(body)](const std::stop_token&) mutable -> NextPiece {
    body();
    return std::nullopt;
  };
  return work;
}
// So little is done where it stands, on the HTTP thread.
inline constexpr size_t kInlineBytes = size_t{4} << 10;

enum class WorkEnd : uint8_t {
  kDone,
  kGone,        // the client went away
  kCallerFull,  // too much of this caller's work is waiting
  kFull,        // too much work is waiting
};

struct WorkLimits {
  int threads = 4;  // fewer than 2 count as 2
  size_t waiting_max = 1024;
  size_t waiting_per_caller_max = 512;
  size_t large_bytes = size_t{64} << 10;  // a piece of more bytes is a large one
};

class WorkPool {
 public:
  explicit WorkPool(const WorkLimits& limits);
  ~WorkPool();  // drops what waits, asks what runs to stop, joins

  // Runs the work for this exchange's client; the coroutine is suspended meanwhile, and everything that the work refers to
  // in its frame stays valid: where the frame is destroyed early, its thread waits for the running piece to end.
  boost::asio::awaitable<WorkEnd> run(Exchange& exchange, Work work);

  // The parts that run() is made of.
  class Job;
  struct Submitted {
    std::shared_ptr<Job> job;  // null = refused
    WorkEnd refused = WorkEnd::kFull;
  };
  // ended: called once by a pool thread, or by cancel()'s, after the last piece.
  Submitted submit(CallerId caller, Work work, std::function<void()> ended);
  // Takes it out of the line, or asks its running piece to stop.
  void cancel(Job& job);
  bool has_ended(const Job& job) const;
  void wait(const Job& job) const;
  size_t waiting() const;

 private:
  void thread_main();
  std::shared_ptr<Job> take_locked();
  void put_locked(std::shared_ptr<Job> job);
  void end(std::shared_ptr<Job> job, std::unique_lock<std::mutex>& lock);

  const WorkLimits limits_;
  mutable std::mutex mutex_;  // of all below, and of every Job's state
  mutable std::condition_variable changed_;  // work to take, or work that ended
  std::unordered_map<CallerId, std::deque<std::shared_ptr<Job>>> lines_;  // no empty ones
  std::deque<CallerId> turns_;  // callers with waiting work, the next one first
  size_t waiting_ = 0;
  int large_running_ = 0;
  bool closing_ = false;
  std::vector<std::shared_ptr<Job>> running_;
  std::vector<std::thread> threads_;
};

}  // namespace umbel::serve
