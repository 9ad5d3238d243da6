#include "load/run.h"

#include <atomic>
#include <mutex>
#include <thread>

#include "base/random.h"
#include "load/arrival.h"

namespace umbel::load {
namespace {

constexpr size_t kOpenLoopThreadsMax = 1024;

Ask make_ask(const RunOptions& options, const Popularity& popularity, uint64_t number) {
  Ask ask{.number = number,
          .model = options.models[popularity.pick(number)],
          .max_tokens = options.max_tokens,
          .ignore_eos = options.ignore_eos};
  if (!options.prompts.empty()) {
    ask.prompt_text = options.prompts[number % options.prompts.size()];
    return ask;
  }
  Random random(mix_key({options.seed, number, 0x70726f6dull}));
  const uint64_t span = static_cast<uint64_t>(std::max(1, options.vocab - options.first_id));
  for (int i = 0; i < options.prompt_tokens; ++i) {
    ask.prompt_ids.push_back(options.first_id + static_cast<int32_t>(random.next_below(span)));
  }
  return ask;
}

void warm_up(const RunOptions& options, const Popularity& popularity) {
  const RealClock clock;
  Client client(options.url, options.api_key, options.timeout);
  for (size_t i = 0; i < options.warmup; ++i) client.run(make_ask(options, popularity, ~uint64_t{0} - i), clock.now());
}

}  // namespace

RunResult run_load(const RunOptions& options, const std::function<void(const Record&)>& progress) {
  const Popularity popularity(options.mix, options.models.size(), options.zipf_exponent, options.seed);
  warm_up(options, popularity);
  const bool open = options.rate > 0;
  const std::vector<Duration> starts =
      open ? open_loop_times(options.requests, options.rate, options.arrival_cv, options.seed) : std::vector<Duration>();
  // Open loop: as many threads as could ever wait at once, so that a slow answer never delays a later start.
  const size_t threads = open ? std::min(options.requests, kOpenLoopThreadsMax) : std::min(options.clients, options.requests);
  RunResult result;
  result.records.resize(options.requests);
  std::atomic<size_t> next{0};
  std::mutex progress_mutex;
  const RealClock clock;
  const TimePoint origin = clock.now();
  const auto work = [&] {
    Client client(options.url, options.api_key, options.timeout);
    for (size_t i = next++; i < options.requests; i = next++) {
      if (open) std::this_thread::sleep_until(origin + starts[i]);
      result.records[i] = client.run(make_ask(options, popularity, i), origin);
      if (progress) {
        std::lock_guard lock(progress_mutex);
        progress(result.records[i]);
      }
    }
  };
  std::vector<std::thread> clients;
  for (size_t i = 0; i < threads; ++i) clients.emplace_back(work);
  for (std::thread& client : clients) client.join();
  for (const Record& record : result.records) result.wall = std::max(result.wall, record.end);
  return result;
}

}  // namespace umbel::load
