#include "serve/work_pool.h"

#include <algorithm>
#include <exception>
#include <functional>
#include <string>

#include "base/memory_reserve.h"

namespace umbel::serve {

namespace asio = boost::asio;

class WorkPool::Job {
 public:
  CallerId caller = 0;
  Work work;
  std::function<void()> ended;
  std::stop_source stop;
  enum class State : uint8_t { kWaiting, kRunning, kEnded };
  State state = State::kWaiting;
  std::exception_ptr thrown;
};

namespace {

// Threads look at this and never at the list of threads, which grows while the first of them run.
int thread_count(const WorkLimits& limits) { return std::max(limits.threads, 2); }

// One piece of a job; an exception ends the job and is kept for run().
NextPiece run_piece(Work& work, const std::stop_source& stop, std::exception_ptr& thrown) {
  const MemoryPriority ordinary(MemoryPriority::Level::kOrdinary);
  try {
    return work.piece(stop.get_token());
  } catch (...) {
    thrown = std::current_exception();
    return std::nullopt;
  }
}

}  // namespace

CallerId caller_of(const Exchange& exchange) {
  const Caller& caller = exchange.caller();
  const std::hash<std::string> number{};
  if (!caller.key.empty()) return number("key " + caller.key);
  const std::string& address = caller.address;
  const bool local = address.empty() || address.starts_with("127.") || address == "::1";
  return local ? reinterpret_cast<uintptr_t>(exchange.bell().get()) : number("address " + address);
}

WorkPool::WorkPool(const WorkLimits& limits) : limits_(limits) {
  for (int i = 0; i < thread_count(limits); ++i) threads_.emplace_back([this] { thread_main(); });
}

WorkPool::~WorkPool() {
  std::vector<std::shared_ptr<Job>> dropped;
  {
    std::unique_lock lock(mutex_);
    closing_ = true;
    for (const auto& job : running_) job->stop.request_stop();
    for (auto& [caller, line] : lines_) dropped.insert(dropped.end(), line.begin(), line.end());
    lines_.clear();
    turns_.clear();
    waiting_ = 0;
    for (const auto& job : dropped) end(job, lock);
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

WorkPool::Submitted WorkPool::submit(CallerId caller, Work work, std::function<void()> ended) {
  auto job = std::make_shared<Job>();
  job->caller = caller;
  job->work = std::move(work);
  job->ended = std::move(ended);
  {
    std::lock_guard lock(mutex_);
    if (closing_) return {.refused = WorkEnd::kFull};
    if (job->work.admission == Work::Admission::kNew) {
      if (waiting_ >= limits_.waiting_max) return {.refused = WorkEnd::kFull};
      const auto line = lines_.find(caller);
      if (line != lines_.end() && line->second.size() >= limits_.waiting_per_caller_max)
        return {.refused = WorkEnd::kCallerFull};
    }
    put_locked(job);
  }
  changed_.notify_all();
  return {.job = std::move(job)};
}

void WorkPool::put_locked(std::shared_ptr<Job> job) {
  job->state = Job::State::kWaiting;
  auto& line = lines_[job->caller];
  if (line.empty()) turns_.push_back(job->caller);
  line.push_back(std::move(job));
  ++waiting_;
}

// The first caller in turn whose next piece may run now; the others keep their places.
std::shared_ptr<WorkPool::Job> WorkPool::take_locked() {
  const bool large_allowed = large_running_ + 1 < thread_count(limits_);
  for (auto turn = turns_.begin(); turn != turns_.end(); ++turn) {
    const auto line = lines_.find(*turn);
    const bool large = line->second.front()->work.bytes > limits_.large_bytes;
    if (large && !large_allowed) continue;
    std::shared_ptr<Job> job = std::move(line->second.front());
    line->second.pop_front();
    turns_.erase(turn);
    if (line->second.empty())
      lines_.erase(line);
    else
      turns_.push_back(job->caller);
    --waiting_;
    large_running_ += large ? 1 : 0;
    job->state = Job::State::kRunning;
    running_.push_back(job);
    return job;
  }
  return nullptr;
}

// The work's own state dies before anybody hears of the end. Lets go of the lock meanwhile.
void WorkPool::end(std::shared_ptr<Job> job, std::unique_lock<std::mutex>& lock) {
  lock.unlock();
  job->work.piece = nullptr;
  lock.lock();
  job->state = Job::State::kEnded;
  lock.unlock();
  changed_.notify_all();
  if (job->ended) job->ended();
  lock.lock();
}

void WorkPool::thread_main() {
  const MemoryPriority first;  // its own lists are everybody's
  std::unique_lock lock(mutex_);
  for (;;) {
    std::shared_ptr<Job> job;
    changed_.wait(lock, [&] { return closing_ || (job = take_locked()) != nullptr; });
    if (job == nullptr) return;
    const bool large = job->work.bytes > limits_.large_bytes;
    lock.unlock();
    const NextPiece next = run_piece(job->work, job->stop, job->thrown);
    lock.lock();
    std::erase(running_, job);
    large_running_ -= large ? 1 : 0;
    if (next && !job->stop.stop_requested() && !closing_) {
      job->work.bytes = *next;
      put_locked(std::move(job));
      changed_.notify_all();
    } else {
      end(std::move(job), lock);
    }
  }
}

void WorkPool::cancel(Job& job) {
  std::unique_lock lock(mutex_);
  job.stop.request_stop();
  if (job.state != Job::State::kWaiting) return;
  const auto line = lines_.find(job.caller);
  if (line == lines_.end()) return;
  const auto place = std::find_if(line->second.begin(), line->second.end(),
                                  [&](const std::shared_ptr<Job>& other) { return other.get() == &job; });
  if (place == line->second.end()) return;
  const std::shared_ptr<Job> kept = *place;
  line->second.erase(place);
  --waiting_;
  if (line->second.empty()) {
    lines_.erase(line);
    std::erase(turns_, job.caller);
  }
  end(kept, lock);
}

bool WorkPool::has_ended(const Job& job) const {
  std::lock_guard lock(mutex_);
  return job.state == Job::State::kEnded;
}

void WorkPool::wait(const Job& job) const {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return job.state == Job::State::kEnded; });
}

size_t WorkPool::waiting() const {
  std::lock_guard lock(mutex_);
  return waiting_;
}

namespace {

// A job of a coroutine: what it refers to lies in the frame, so the frame does not die before the job has ended.
class FrameJob {
 public:
  FrameJob(WorkPool& pool, std::shared_ptr<WorkPool::Job> job) : pool_(pool), job_(std::move(job)) {}
  ~FrameJob() {
    pool_.cancel(*job_);
    pool_.wait(*job_);
  }
  FrameJob(const FrameJob&) = delete;
  FrameJob& operator=(const FrameJob&) = delete;

 private:
  WorkPool& pool_;
  const std::shared_ptr<WorkPool::Job> job_;
};

}  // namespace

asio::awaitable<WorkEnd> WorkPool::run(Exchange& exchange, Work work) {
  if (exchange.gone()) co_return WorkEnd::kGone;
  const std::shared_ptr<Bell> bell = exchange.bell();
  const Submitted submitted = submit(caller_of(exchange), std::move(work), [bell] { bell->ring(); });
  if (submitted.job == nullptr) co_return submitted.refused;
  {
    const FrameJob held(*this, submitted.job);
    while (!has_ended(*submitted.job)) {
      if (exchange.gone()) cancel(*submitted.job);
      co_await bell->wait(std::chrono::seconds(1));
    }
  }
  if (submitted.job->thrown) std::rethrow_exception(submitted.job->thrown);
  co_return exchange.gone() ? WorkEnd::kGone : WorkEnd::kDone;
}

}  // namespace umbel::serve
