// For the tests of this room: an engine that says what it is told, a library of names, a client on a real socket.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "serve/server.h"

namespace umbel::serve {

inline Path seedling_dir() {
  const char* source = std::getenv("UMBEL_SOURCE_DIR");
  return Path(source == nullptr ? "." : source) / "assets" / "seedling";
}

inline std::shared_ptr<const Tokenizer> seedling_tokenizer() {
  static const std::shared_ptr<const Tokenizer> tokenizer = Tokenizer::load(seedling_dir()).value();
  return tokenizer;
}

// An AdapterRef of the tests points to one of these instead of an AdapterEntry; only the fakes below look inside.
struct FakeEntry {
  std::string name;
};
inline std::string fake_name(const AdapterRef& ref) {
  return ref == nullptr ? "" : reinterpret_cast<const FakeEntry*>(ref.get())->name;
}

class FakeLibrary final : public AdapterLibrary {
 public:
  void add(const std::string& name, const std::string& chat_template_dir = "") {
    std::lock_guard lock(mutex_);
    AdapterInfo info;
    info.id = {name, 1, std::string(64, 'a')};
    if (!chat_template_dir.empty()) info.id.digest += name;  // what its files say is remembered by digest
    info.kind = "lora";
    info.chat_template_dir = chat_template_dir;
    info.place.folder = chat_template_dir;
    infos_[name] = info;
  }
  Result<AdapterRef> resolve(const std::string& name) override {
    std::lock_guard lock(mutex_);
    if (!infos_.contains(name)) return not_found("no adapter " + name);
    const auto entry = std::make_shared<FakeEntry>(FakeEntry{name});
    return AdapterRef(entry, reinterpret_cast<AdapterEntry*>(entry.get()));
  }
  Result<std::optional<AdapterHandle>> try_pin(const AdapterRef&) override {
    return internal_error("not in this fake");
  }
  Result<AdapterHandle> pin(const AdapterRef&) override { return internal_error("not in this fake"); }
  Status load(const std::string& name, const std::string& folder) override {
    if (folder.find("..") != std::string::npos)
      return invalid_argument("\"" + folder + "\" leads out of the adapters folder");
    add(name);
    return ok_status();
  }
  Status unload(const std::string& name) override {
    std::lock_guard lock(mutex_);
    return infos_.erase(name) == 1 ? ok_status() : not_found("no adapter " + name);
  }
  Result<AdapterId> rollback(const std::string& name, std::optional<int64_t> version) override {
    std::lock_guard lock(mutex_);
    const auto found = infos_.find(name);
    if (found == infos_.end()) return not_found("no adapter " + name);
    if (version.value_or(1) != 1) return failed_precondition("no kept version " + std::to_string(*version));
    return AdapterId{.name = name, .version = 1, .digest = "d1"};
  }
  std::vector<AdapterInfo> list() const override {
    std::lock_guard lock(mutex_);
    std::vector<AdapterInfo> infos;
    for (const auto& [name, info] : infos_) infos.push_back(info);
    return infos;
  }
  AdapterInfo info(const AdapterRef& ref) const override {
    std::lock_guard lock(mutex_);
    const auto found = infos_.find(fake_name(ref));
    return found == infos_.end() ? AdapterInfo() : found->second;
  }
  size_t resident_bytes() const override { return 4096; }
  LibraryStats stats() const override { return {.loads = 5, .failures = 1, .evictions = 2, .load_time = from_seconds(1.5)}; }
  void rescan() override {}

 private:
  mutable std::mutex mutex_;
  std::map<std::string, AdapterInfo> infos_;
};

// What the fake engine answers; the same for every request unless by_adapter names another text.
struct FakeScript {
  std::string text = " pay the bill.";
  std::map<std::string, std::string> by_adapter;
  Duration token_time{};  // between two tokens
  Status fail;            // not ok: every request ends with this error...
  int fail_after = 0;     // ...after so many tokens
  Status refuse;          // not ok: submit() says this
};

// One thread per request; tokens are the scripted text's, then EOS. Logprobs: -0.25 * (place + 1), next best ids
// follow.
class FakeEngine final : public Engine {
 public:
  explicit FakeEngine(FakeScript script = {}) : script_(std::move(script)) {
    limits_.context_max = 256;
    limits_.kv_blocks = 64;
  }
  ~FakeEngine() override {
    for (std::thread& thread : threads_) thread.join();
  }

  Result<std::shared_ptr<Stream>> submit(Request request) override {
    std::lock_guard lock(mutex_);
    if (!script_.refuse.ok()) return script_.refuse;
    if (draining_) return Status(Code::kUnavailable, "the server is shutting down");
    for (int32_t id : request.prompt) {
      if (id < 0 || id >= 8192)
        return invalid_argument("prompt token " + std::to_string(id) + " is outside the vocabulary");
    }
    auto stream = std::make_shared<Stream>(next_id_++);
    requests_.push_back(request);
    ++running_;
    threads_.emplace_back([this, request = std::move(request), stream] { play(request, *stream); });
    return stream;
  }
  void cancel(RequestId) override {}
  void drain(Duration timeout) override {
    std::unique_lock lock(mutex_);
    draining_ = true;
    if (ended_.wait_for(lock, timeout, [this] { return running_ == 0; })) return;
    cancel_all_ = true;
    ended_.wait(lock, [this] { return running_ == 0; });
  }
  EngineStats stats() const override {
    std::lock_guard lock(mutex_);
    EngineStats stats;
    stats.running = running_;
    stats.steps = steps_;
    stats.kv_blocks_total = 64;
    return stats;
  }
  double retry_after_seconds() const override { return 2.5; }
  const Limits& limits() const override { return limits_; }

  std::vector<Request> requests() const {
    std::lock_guard lock(mutex_);
    return requests_;
  }
  int cancelled() const {
    std::lock_guard lock(mutex_);
    return cancelled_;
  }
  int running() const {
    std::lock_guard lock(mutex_);
    return running_;
  }
  Limits limits_;

 private:
  static TokenLogprobs logprobs_of(int32_t token, size_t place, int32_t count) {
    TokenLogprobs entry{.token = token, .logprob = -0.25f * static_cast<float>(place + 1), .rank = 1};
    for (int32_t k = 0; k < count; ++k)
      entry.top.emplace_back((token + k) % 8192, entry.logprob - static_cast<float>(k));
    return entry;
  }
  std::vector<int32_t> tokens_for(const Request& request) const {
    const auto found = script_.by_adapter.find(fake_name(request.adapter));
    return seedling_tokenizer()
        ->encode(found == script_.by_adapter.end() ? script_.text : found->second, false)
        .value();
  }
  bool stopped(const Stream& stream) const {
    std::lock_guard lock(mutex_);
    return stream.abandoned() || cancel_all_;
  }
  void end(Stream& stream, TokenEvent event, const Request& request) {
    event.prompt_tokens = static_cast<int32_t>(request.prompt.size());
    event.cached_tokens = 1;
    event.times.total = from_seconds(0.01);
    {
      std::lock_guard lock(mutex_);
      cancelled_ += event.finish == FinishReason::kCancelled;
      --running_;
    }
    stream.push(std::move(event));
    ended_.notify_all();
  }
  void play(const Request& request, Stream& stream) {
    std::vector<TokenLogprobs> of_prompt;
    for (size_t i = 1; i < request.prompt.size() && request.prompt_logprobs >= 0; ++i) {
      of_prompt.push_back(logprobs_of(request.prompt[i], i, request.prompt_logprobs));
    }
    std::vector<int32_t> tokens = tokens_for(request);
    tokens.push_back(request.eos_ids.empty() ? 2 : request.eos_ids[0]);
    for (int32_t place = 0;; ++place) {
      TokenEvent event;
      event.prompt_logprobs = std::move(of_prompt);
      of_prompt.clear();
      if (place >= request.max_tokens) {
        event.finish = FinishReason::kLength;
        return end(stream, std::move(event), request);
      }
      if (!script_.fail.ok() && place >= script_.fail_after) {
        event.finish = FinishReason::kError;
        event.status = script_.fail;
        return end(stream, std::move(event), request);
      }
      if (script_.token_time > Duration{}) std::this_thread::sleep_for(script_.token_time);
      if (stopped(stream)) {
        event.finish = FinishReason::kCancelled;
        return end(stream, std::move(event), request);
      }
      const int32_t token = tokens[static_cast<size_t>(place) % tokens.size()];
      event.token = token;
      if (request.logprobs >= 0) event.logprobs = logprobs_of(token, static_cast<size_t>(place), request.logprobs);
      if (static_cast<size_t>(place) + 1 == tokens.size() && !request.ignore_eos) event.finish = FinishReason::kEos;
      if (std::count(request.stop_ids.begin(), request.stop_ids.end(), token) > 0) event.finish = FinishReason::kStop;
      if (event.finish == FinishReason::kNone && place + 1 >= request.max_tokens) event.finish = FinishReason::kLength;
      if (event.finish != FinishReason::kNone) return end(stream, std::move(event), request);
      stream.push(std::move(event));
    }
  }

  const FakeScript script_;
  mutable std::mutex mutex_;
  std::condition_variable ended_;
  std::vector<Request> requests_;
  std::vector<std::thread> threads_;
  uint64_t next_id_ = 1;
  int running_ = 0;
  int cancelled_ = 0;
  int64_t steps_ = 0;
  bool draining_ = false;
  bool cancel_all_ = false;
};

struct Received {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // chunks joined

  Json json() const { return Json::parse(body, nullptr, false); }
  // The payloads of an event stream; [DONE] as the string "[DONE]".
  std::vector<Json> events() const {
    std::vector<Json> list;
    std::istringstream lines(body);
    for (std::string line; std::getline(lines, line);) {
      if (line.rfind("data: ", 0) != 0) continue;
      const std::string data = line.substr(6);
      list.push_back(data == "[DONE]" ? Json("[DONE]") : Json::parse(data, nullptr, false));
    }
    return list;
  }
};

// A blocking HTTP/1.1 client on one connection.
class TestClient {
 public:
  explicit TestClient(uint16_t port) {
    socket_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    timeval patience{.tv_sec = 20, .tv_usec = 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ~TestClient() { close(); }
  TestClient(const TestClient&) = delete;
  TestClient& operator=(const TestClient&) = delete;

  void close() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
  }
  int socket() const { return socket_; }
  void send(const std::string& bytes) { (void)!::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  // Bytes as they come, at least one; "" at the end of the connection.
  std::string receive_some() {
    char buffer[4096];
    const ssize_t got = ::recv(socket_, buffer, sizeof buffer, 0);
    return got > 0 ? std::string(buffer, static_cast<size_t>(got)) : std::string();
  }

  Received request(const std::string& method, const std::string& path, const std::string& body = "",
                   const std::string& more_headers = "") {
    std::string bytes = method + " " + path + " HTTP/1.1\r\nHost: test\r\n" + more_headers;
    if (!body.empty() || method == "POST")
      bytes += "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
    send(bytes + "\r\n" + body);
    return receive(method == "HEAD");
  }
  Received post(const std::string& path, const Json& body, const std::string& more_headers = "") {
    return request("POST", path, body.dump(), more_headers);
  }
  Received get(const std::string& path) { return request("GET", path); }

  Received receive(bool head_only = false) {
    Received received;
    const std::string head = take_until("\r\n\r\n");
    std::istringstream lines(head);
    std::string line;
    std::getline(lines, line);
    if (line.size() > 12) received.status = std::atoi(line.substr(9, 3).c_str());
    while (std::getline(lines, line) && line.size() > 1) {
      const size_t colon = line.find(": ");
      if (colon != std::string::npos)
        received.headers[line.substr(0, colon)] = line.substr(colon + 2, line.size() - colon - 3);
    }
    if (head_only || received.status == 204 || received.status == 0) return received;
    if (received.headers.contains("transfer-encoding")) {
      for (;;) {
        const size_t size = std::strtoul(take_until("\r\n").c_str(), nullptr, 16);
        received.body += take(size);
        take_until("\r\n");
        if (size == 0) break;
      }
    } else if (received.headers.contains("content-length")) {
      received.body = take(std::strtoul(received.headers["content-length"].c_str(), nullptr, 10));
    } else {
      for (std::string more = "x"; !more.empty();) {
        more = receive_some();
        buffer_ += more;
      }
      received.body = std::move(buffer_);
    }
    return received;
  }

 private:
  std::string take(size_t count) {
    while (buffer_.size() < count) {
      const std::string more = receive_some();
      if (more.empty()) break;
      buffer_ += more;
    }
    const std::string taken = buffer_.substr(0, count);
    buffer_.erase(0, taken.size());
    return taken;
  }
  std::string take_until(const std::string& mark) {
    size_t at = 0;
    while ((at = buffer_.find(mark)) == std::string::npos) {
      const std::string more = receive_some();
      if (more.empty()) return std::exchange(buffer_, {});
      buffer_ += more;
    }
    return take(at + mark.size());
  }

  int socket_ = -1;
  std::string buffer_;
};

// A server over the fakes on a free port.
class ServeTest : public ::testing::Test {
 protected:
  void start(FakeScript script = {}) {
    engine_ = std::make_unique<FakeEngine>(std::move(script));
    library_.add("banking");
    library_.add("poet");
    ServeParts parts;
    parts.engine = engine_.get();
    parts.library = &library_;
    parts.tokenizer = tokenizer_;
    parts.chat_template = ChatTemplate::load(seedling_dir()).value();
    parts.template_workers = template_workers_;
    parts.model.name = "seedling";
    parts.model.eos_ids = {2};
    parts.model.aliases = aliases_;
    parts.defaults = defaults_;
    options_.port = 0;
    server_ = Server::start(std::move(parts), options_).value();
  }
  void TearDown() override {
    server_.reset();
    engine_.reset();
  }
  Received post(const std::string& path, const Json& body) { return TestClient(server_->port()).post(path, body); }
  Received get(const std::string& path) { return TestClient(server_->port()).get(path); }
  // Waits up to two seconds.
  static bool soon(const std::function<bool()>& holds) {
    for (int i = 0; i < 400; ++i) {
      if (holds()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }

  std::shared_ptr<const Tokenizer> tokenizer_ = seedling_tokenizer();
  ServeOptions options_;
  SamplingDefaults defaults_;
  std::vector<std::string> aliases_;
  std::shared_ptr<TemplateWorkers> template_workers_;  // null: adapters' own templates are not used
  FakeLibrary library_;
  std::unique_ptr<FakeEngine> engine_;
  std::unique_ptr<Server> server_;
};

}  // namespace umbel::serve
