#include "serve/http.h"

#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "base/log.h"
#include "base/memory_reserve.h"
#include "serve/connection.h"
#include "serve/listener.h"

namespace umbel::serve {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
constexpr Duration kAcceptPause = std::chrono::milliseconds(10);  // after "too many open files"
constexpr Duration kWarnInterval = std::chrono::seconds(10);
constexpr int kOtherFilesMin = 64;  // file descriptors left to everything but connections

// connections_max as far as the process may open files: the soft limit is raised for it where that is allowed.
ServeOptions within_file_limit(ServeOptions options) {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return options;
  const auto wanted = static_cast<rlim_t>(options.connections_max + options.connections_spare + kOtherFilesMin);
  if (files.rlim_cur < wanted) {
    files.rlim_cur = std::min(wanted, files.rlim_max);
    (void)::setrlimit(RLIMIT_NOFILE, &files);
    (void)::getrlimit(RLIMIT_NOFILE, &files);
  }
  if (files.rlim_cur >= wanted) return options;
  const int fits = static_cast<int>(files.rlim_cur) - options.connections_spare - kOtherFilesMin;
  const int connections = std::max(fits, 8);
  LOG_WARN("the limit of open files ({}) leaves room for {} connections, not {}; raise it (ulimit -n)",
           static_cast<int64_t>(files.rlim_cur), connections, options.connections_max);
  options.connections_max = connections;
  return options;
}

// A context of its own for every thread, so that what belongs to one connection runs on one thread. Asio's strands over one context
// allocate at every turn, and one that found no memory to put itself into the queue would never run again.
struct IoThread {
  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> stays = asio::make_work_guard(io);
  std::thread thread;
};

std::vector<std::unique_ptr<IoThread>> io_threads(int count) {
  std::vector<std::unique_ptr<IoThread>> threads;
  for (int i = 0; i < std::max(count, 1); ++i) threads.push_back(std::make_unique<IoThread>());
  return threads;
}

class Door final : public HttpDoor {
 public:
  Door(const ServeOptions& options, Gate& gate) : state_(within_file_limit(options), gate), io_(io_threads(options.http_threads)), acceptor_(io_.front()->io) {}
  ~Door() override { close(Duration{}); }

  Status listen();
  uint16_t port() const override { return port_; }
  int connections() const override { return state_.connections.load(); }
  int requests_running() const override { return state_.running.load(); }
  void stop_keep_alive() override { state_.keep_alive.store(false); }
  void close(Duration patience) override;

 private:
  static void run_io(asio::io_context& io);
  asio::io_context& next_io() { return io_[next_++ % io_.size()]->io; }
  asio::awaitable<void> accept_loop();

  DoorState state_;
  const std::vector<std::unique_ptr<IoThread>> io_;
  size_t next_ = 0;  // of io_: of the next connection
  tcp::acceptor acceptor_;
  uint16_t port_ = 0;
  std::mutex close_mutex_;
  bool closed_ = false;
};

Status Door::listen() {
  const ServeOptions& options = state_.options;
  if (!options.tls_files.empty()) {
    if (options.tls_files.size() != 2) return invalid_argument("TLS wants two files: --tls CERTIFICATE KEY");
    ASSIGN_OR_RETURN(state_.tls, TlsIdentity::load(options.tls_files[0], options.tls_files[1]));
  }
  std::shared_ptr<const Listener> listener = options.listener;
  if (listener == nullptr) {
    ASSIGN_OR_RETURN(listener, Listener::open(options.host, options.port));
  }
  port_ = listener->port();
  error_code error;
  const int descriptor = listener->duplicate();
  acceptor_.assign(listener->is_v6() ? tcp::v6() : tcp::v4(), descriptor, error);
  if (error) return Status(Code::kUnavailable, "can't accept connections: " + error.message());
  asio::co_spawn(io_.front()->io, accept_loop(), asio::detached);
  try {
    for (const auto& mine : io_) mine->thread = std::thread([&io = mine->io] { run_io(io); });
  } catch (const std::system_error& failure) {
    return Status(Code::kUnavailable, std::string("the threads for HTTP can't be started: ") + failure.what() +
                                          "; allow more (ulimit -u) or give fewer --http-threads");
  }
  return ok_status();
}

// What a callback throws (memory is at its end) ends that callback, not the thread.
void Door::run_io(asio::io_context& io) {
  const MemoryPriority small_first(MemoryPriority::Level::kSmallFirst);
  for (;;) {
    try {
      io.run();
      return;
    } catch (const std::exception& error) {
      LOG_ERROR("an HTTP thread goes on after: {}", error.what());
    }
  }
}

asio::awaitable<void> Door::accept_loop() {
  asio::steady_timer pause(io_.front()->io);
  TimePoint warned_at{};
  std::string problem;  // of the last connection
  for (;;) {
    try {
      if (!problem.empty()) {
        pause.expires_after(kAcceptPause);
        co_await pause.async_wait(kTuple);
      }
      problem.clear();
      tcp::socket socket(next_io());
      const auto [error] = co_await acceptor_.async_accept(socket, kTuple);
      if (error == asio::error::operation_aborted || error == asio::error::bad_descriptor) co_return;
      if (error) {
        problem = error.message();
        state_.places.make_room();  // it may be file descriptors that are at their end
      } else {
        start_connection(std::move(socket), state_);
      }
    } catch (const std::bad_alloc&) {
      problem = "out of memory";
    }
    if (const TimePoint now = RealClock().now(); !problem.empty() && now - warned_at > kWarnInterval) {
      warned_at = now;
      LOG_WARN("connections could not be accepted: {}", problem);
    }
  }
}

void Door::close(Duration patience) {
  std::lock_guard lock(close_mutex_);
  if (closed_) return;
  closed_ = true;
  const auto end = std::chrono::steady_clock::now() + patience;
  while (state_.running.load() > 0 && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  for (const auto& each : io_) each->io.stop();
  for (const auto& each : io_) {
    if (each->thread.joinable()) each->thread.join();
  }
  // The contexts die with this door, but streams may keep bells longer.
  std::lock_guard bells_lock(state_.mutex);
  for (const auto& [connection, bell] : state_.bells) {
    if (const auto alive = bell.lock()) alive->close();
  }
}

}  // namespace

Result<std::unique_ptr<HttpDoor>> HttpDoor::open(const ServeOptions& options, Gate& gate) {
  auto door = std::make_unique<Door>(options, gate);
  RETURN_IF_ERROR(door->listen());
  return std::unique_ptr<HttpDoor>(std::move(door));
}

}  // namespace umbel::serve
