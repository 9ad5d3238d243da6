// What a request costs at twice its size: every route and every list of a body that a stranger may make longer, measured as CPU
// time of the server's process, so that the next quadratic loop is caught by its shape and not by a limit on seconds.
//
// Sizes double until the request is refused for its size or costs kEnough; over the last doublings together the cost may grow at most
// kGrowthMax times a doubling (one step alone may cost more: memory that no longer fits a cache, pages that are new). A request that
// its limits stop before it costs kMeasurable is cheap at any size, which is the other way to be safe.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cmath>
#include <ctime>
#include <functional>

#include "base/sanitized_testing.h"
#include "program.h"

namespace umbel::testing {
namespace {

constexpr double kGrowthMax = 2.3;
constexpr double kMeasurable = 0.004;  // seconds of CPU: below it, the clock's noise is as large
constexpr double kEnough = 0.15;
constexpr size_t kDoublingsMin = 2, kDoublingsMax = 4;
constexpr size_t kFirstBytes = size_t{4} << 10;
constexpr size_t kLastBytes = size_t{4} << 20;
constexpr int kTries = 4;  // of a whole row of sizes, while it looks too steep: noise only adds

// A request of about `bytes` bytes, as it goes over the wire.
using Make = std::function<std::string(size_t bytes)>;

std::string post(const std::string& path, const std::string& body) {
  return "POST " + path + " HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string repeated(std::string_view piece, size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += piece;
  return text;
}

// `before` + piece(0), piece(1), ... with commas, to about `bytes` bytes, + `after`.
std::string listed(const std::string& before, const std::function<std::string(size_t)>& piece, const std::string& after, size_t bytes) {
  std::string text = before;
  for (size_t i = 0; text.size() < bytes; ++i) text += (i == 0 ? "" : ",") + piece(i);
  return text + after;
}

// A route that takes one text: `before` TEXT `after`.
Make text_of(std::string path, std::string before, std::string piece, std::string after) {
  return [=](size_t bytes) { return post(path, before + repeated(piece, bytes) + after); };
}
Make list_of(std::string path, std::string before, std::function<std::string(size_t)> piece, std::string after) {
  return [=](size_t bytes) { return post(path, listed(before, piece, after, bytes)); };
}

std::string number(size_t i) { return std::to_string(i % 500); }
std::string key_and_number(size_t i) { return "\"k" + std::to_string(i) + "\":1"; }
std::string word(size_t i) { return "\"w" + std::to_string(i) + "\""; }

const std::string kComplete = R"({"model":"seedling","max_tokens":1,)";
const std::string kChat = R"({"model":"seedling","max_tokens":1,"messages":[{"role":"user","content":)";

struct Case {
  std::string name;
  Make make;
};

std::vector<Case> texts() {
  std::vector<Case> cases;
  const std::vector<std::pair<std::string, std::string>> pieces = {
      {"words", "once upon a time "}, {"one_word", "a"}, {"blanks", " "}, {"emoji", "\xF0\x9F\x98\x80"}, {"specials", "</s>"}, {"markers", "<|im_end|>{% generation %}"},
      {"escapes", "\\u00e9"}, {"combining", "e\xCC\x81"}, {"newlines", "\\n"}};
  for (const auto& [name, piece] : pieces) {
    cases.push_back({"completion_prompt_" + name, text_of("/v1/completions", kComplete + "\"prompt\":\"", piece, "\"}")});
    cases.push_back({"chat_content_" + name, text_of("/v1/chat/completions", kChat + "\"", piece, "\"}]}")});
    cases.push_back({"tokenize_" + name, text_of("/tokenize", R"({"inputs":")", piece, "\"}")});
    cases.push_back({"generate_" + name, text_of("/generate", R"({"parameters":{"max_new_tokens":1},"inputs":")", piece, "\"}")});
  }
  cases.push_back({"model_name", text_of("/v1/completions", R"({"prompt":"a","model":")", "x", "\"}")});
  cases.push_back({"adapter_id", text_of("/generate", R"({"inputs":"a","parameters":{"adapter_id":")", "x", "\"}}")});
  cases.push_back({"lora_name", text_of("/v1/load_lora_adapter", R"({"lora_path":"p","lora_name":")", "x", "\"}")});
  cases.push_back({"lora_path", text_of("/v1/load_lora_adapter", R"({"lora_name":"p","lora_path":")", "a/", "\"}")});
  cases.push_back({"unload_name", text_of("/v1/unload_lora_adapter", R"({"lora_name":")", "x", "\"}")});
  cases.push_back({"one_stop", text_of("/v1/completions", kComplete + R"("prompt":"a","stop":[")", "ab", "\"]}")});
  return cases;
}

std::vector<Case> lists() {
  const auto message = [](size_t) { return std::string(R"({"role":"user","content":"hi"},{"role":"assistant","content":"ho"})"); };
  const auto part = [](size_t) { return std::string(R"({"type":"text","text":"hi"})"); };
  const auto tool = [](size_t i) { return R"({"type":"function","function":{"name":"f)" + std::to_string(i) + R"(","parameters":{}}})"; };
  const auto bias = [](size_t i) { return "\"" + number(i) + "\":1"; };
  const std::string prompt = kComplete + "\"prompt\":\"a\",";
  return {
      {"unknown_keys", list_of("/v1/completions", prompt, key_and_number, "}")},
      {"chat_unknown_keys", list_of("/v1/chat/completions", kChat + "\"hi\"}],", key_and_number, "}")},
      {"generate_unknown_keys", list_of("/generate", R"({"inputs":"a",)", key_and_number, "}")},
      {"nested_keys", list_of("/v1/completions", prompt + "\"x\":{", key_and_number, "}}")},
      {"template_kwargs", list_of("/v1/chat/completions", kChat + R"("hi"}],"chat_template_kwargs":{)", key_and_number, "}}")},
      {"message_keys", list_of("/v1/chat/completions", kChat + "\"hi\",", key_and_number, "}]}")},
      {"one_key_many_times", list_of("/v1/completions", prompt, [](size_t) { return std::string("\"k\":1"); }, "}")},
      {"messages", list_of("/v1/chat/completions", R"({"model":"seedling","max_tokens":1,"messages":[)", message, "]}")},
      {"content_parts", list_of("/v1/chat/completions", kChat + "[", part, "]}]}")},
      {"tools", list_of("/v1/chat/completions", kChat + R"("hi"}],"tools":[)", tool, "]}")},
      {"documents", list_of("/v1/chat/completions", kChat + R"("hi"}],"documents":[)", part, "]}")},
      {"prompts", list_of("/v1/completions", kComplete + "\"prompt\":[", word, "]}")},
      {"prompt_ids", list_of("/v1/completions", kComplete + "\"prompt\":[", number, "]}")},
      {"prompts_of_ids", list_of("/v1/completions", kComplete + "\"prompt\":[", [](size_t i) { return "[" + number(i) + "]"; }, "]}")},
      {"stops", list_of("/v1/completions", prompt + "\"stop\":[", word, "]}")},
      {"generate_stops", list_of("/generate", R"({"inputs":"a","parameters":{"max_new_tokens":1,"stop":[)", word, "]}}")},
      {"stop_token_ids", list_of("/v1/completions", prompt + "\"stop_token_ids\":[", number, "]}")},
      {"logit_bias", list_of("/v1/completions", prompt + "\"logit_bias\":{", bias, "}}")},
      {"empty_lists", list_of("/v1/completions", prompt + "\"x\":[", [](size_t) { return std::string("[]"); }, "]}")},
  };
}

std::string chunked(size_t bytes, const std::string& chunk) {
  return "POST /v1/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n" +
         repeated(chunk, bytes) + "0\r\n\r\n";
}

std::vector<Case> frames() {
  const std::string get = "GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\n";
  return {
      {"tiny_chunks", [](size_t bytes) { return chunked(bytes, "1\r\n \r\n"); }},
      {"chunk_extensions", [](size_t bytes) { return chunked(bytes, "1;a=b\r\n \r\n"); }},
      {"headers", [=](size_t bytes) { return get + "connection: close\r\n" + repeated("a: b\r\n", bytes) + "\r\n"; }},
      {"query", [](size_t bytes) { return "GET /v1/models?" + repeated("a=b&", bytes) + " HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"; }},
      {"path", [](size_t bytes) { return "GET /v1/models/" + repeated("%2F", bytes) + " HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"; }},
      {"pipelined", [=](size_t bytes) { return repeated("GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", bytes) + "GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"; }},
  };
}

class Complexity : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!testing::kSanitized) server_ = new ServerProcess((project_dir() / "assets/adapters").string());
  }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }
  void SetUp() override {
    if (testing::kSanitized) GTEST_SKIP() << "costs are measured in builds without sanitizers";
    ASSERT_FALSE(server_->url().empty()) << server_->greeting();
    ask("GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
  }

  // The status of the first answer, 0 when there was none.
  static int ask(const std::string& bytes) {
    const std::string url = server_->url();
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(std::stoi(url.substr(url.rfind(':') + 1))));
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    EXPECT_EQ(connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    std::thread sender([&] {
      for (size_t sent = 0; sent < bytes.size();) {
        const ssize_t count = ::send(socket, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
        if (count <= 0) return;
        sent += static_cast<size_t>(count);
      }
    });
    std::string head;
    std::array<char, 1 << 16> buffer{};
    for (ssize_t count = 0; (count = recv(socket, buffer.data(), buffer.size(), 0)) > 0;) {
      if (head.size() < 64) head.append(buffer.data(), static_cast<size_t>(count));
    }
    shutdown(socket, SHUT_RDWR);
    sender.join();
    ::close(socket);
    return head.size() > 12 && head.starts_with("HTTP/1.1 ") ? std::stoi(head.substr(9, 3)) : 0;
  }

  static double cpu_seconds() {
    clockid_t clock{};
    EXPECT_EQ(clock_getcpuclockid(server_->pid(), &clock), 0);
    timespec time{};
    clock_gettime(clock, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }

  static double cost(const std::string& bytes, int& status) {
    const double begun = cpu_seconds();
    status = ask(bytes);
    return cpu_seconds() - begun;
  }

  // Growth a doubling, over the last sizes; 1 when the request never costs anything that can be measured. told: what was seen.
  static double growth_of(const Case& test, std::string& told) {
    std::vector<double> costs;  // of sizes that double
    size_t bytes = kFirstBytes;
    for (int status = 0; bytes <= kLastBytes && status != 413 && status != 431; bytes *= 2) {
      const double now = cost(test.make(bytes), status);
      if (now >= kMeasurable || !costs.empty()) costs.push_back(now);
      if (now >= kEnough) break;
    }
    told = ::testing::PrintToString(costs) + " s of CPU at sizes that double, up to " + std::to_string(bytes);
    if (costs.size() <= kDoublingsMin) return costs.empty() || costs.back() < kEnough ? 1 : costs.back() / costs.front();
    const size_t doublings = std::min(kDoublingsMax, costs.size() - 1);
    return std::pow(costs.back() / costs[costs.size() - 1 - doublings], 1.0 / static_cast<double>(doublings));
  }

  static void grows_with_its_size(const Case& test) {
    std::string told;
    double growth = growth_of(test, told);
    for (int tried = 1; tried < kTries && growth > kGrowthMax; ++tried) growth = std::min(growth, growth_of(test, told));
    EXPECT_LE(growth, kGrowthMax) << test.name << ": " << told;
  }

  static ServerProcess* server_;
};

ServerProcess* Complexity::server_ = nullptr;

TEST_F(Complexity, OfEveryTextOfABody) {
  for (const Case& test : texts()) grows_with_its_size(test);
}
TEST_F(Complexity, OfEveryListOfABody) {
  for (const Case& test : lists()) grows_with_its_size(test);
}
TEST_F(Complexity, OfFramesAndHeads) {
  for (const Case& test : frames()) grows_with_its_size(test);
}

}  // namespace
}  // namespace umbel::testing
