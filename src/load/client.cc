#include "load/client.h"

#include <curl/curl.h>

#include "io/json.h"
#include "load/sse_reader.h"

namespace umbel::load {

struct Client::Curl {
  CURL* handle = nullptr;
  curl_slist* headers = nullptr;
  ~Curl() {
    curl_slist_free_all(headers);
    curl_easy_cleanup(handle);
  }
};

Client::Client(std::string url, std::string api_key, Duration timeout)
    : curl_(std::make_unique<Curl>()), url_(std::move(url)), timeout_(timeout) {
  curl_->handle = curl_easy_init();
  CHECK(curl_->handle != nullptr, "libcurl gives no handle");
  curl_->headers = curl_slist_append(curl_->headers, "Content-Type: application/json");
  curl_->headers = curl_slist_append(curl_->headers, "Expect:");
  if (!api_key.empty()) curl_->headers = curl_slist_append(curl_->headers, ("Authorization: Bearer " + api_key).c_str());
  while (!url_.empty() && url_.back() == '/') url_.pop_back();
}

Client::~Client() = default;

namespace {

// One answer being received.
struct Receiving {
  Record* record;
  TimePoint origin;
  RealClock clock;
  SseReader reader;
  std::string body_head;  // of an answer that is no event stream, for its error message
};

void take_event(Receiving& receiving, std::string_view data) {
  if (data == "[DONE]") return;
  auto parsed = parse_json(data, "event");
  if (!parsed.ok() || !parsed->is_object()) return;
  const Json& json = *parsed;
  Record& record = *receiving.record;
  if (json.contains("error")) record.error = json["error"].dump();
  if (const auto usage = json.find("usage"); usage != json.end() && usage->is_object()) {
    record.tokens = usage->value("completion_tokens", record.tokens);
    record.prompt_tokens = usage->value("prompt_tokens", record.prompt_tokens);
  }
  const auto choices = json.find("choices");
  if (choices == json.end() || !choices->is_array() || choices->empty()) return;
  const Json& choice = (*choices)[0];
  const std::string text = choice.contains("text") && choice["text"].is_string() ? choice["text"].get<std::string>() : "";
  if (!text.empty()) record.pieces.push_back(receiving.clock.now() - receiving.origin);
  record.text += text;
  if (const auto ids = choice.find("token_ids"); ids != choice.end() && ids->is_array()) {
    for (const Json& id : *ids) {
      if (id.is_number_integer()) record.token_ids.push_back(id.get<int32_t>());
    }
  }
}

size_t on_body(char* data, size_t size, size_t count, void* user) {
  auto& receiving = *static_cast<Receiving*>(user);
  const std::string_view bytes(data, size * count);
  if (receiving.body_head.size() < 2000) receiving.body_head.append(bytes.substr(0, 2000));
  receiving.reader.push(bytes, [&](std::string_view event) { take_event(receiving, event); });
  return bytes.size();
}

std::string ask_body(const Ask& ask) {
  Json body{{"model", ask.model},          {"max_tokens", ask.max_tokens},
            {"temperature", 0},            {"stream", true},
            {"ignore_eos", ask.ignore_eos}, {"stream_options", {{"include_usage", true}}}};
  if (ask.return_token_ids) body["return_token_ids"] = true;
  if (ask.prompt_ids.empty()) {
    body["prompt"] = ask.prompt_text;
  } else {
    body["prompt"] = ask.prompt_ids;
  }
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

size_t append_body(char* data, size_t size, size_t count, void* user) {
  static_cast<std::string*>(user)->append(data, size * count);
  return size * count;
}

}  // namespace

Record Client::run(const Ask& ask, TimePoint origin) {
  Record record{.number = ask.number, .model = ask.model};
  Receiving receiving{.record = &record, .origin = origin};
  const std::string body = ask_body(ask);
  CURL* handle = curl_->handle;
  curl_easy_reset(handle);
  curl_easy_setopt(handle, CURLOPT_URL, (url_ + "/v1/completions").c_str());
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, curl_->headers);
  curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
  curl_easy_setopt(handle, CURLOPT_POSTFIELDS, body.c_str());
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &receiving);
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_TCP_NODELAY, 1L);
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(timeout_.count() / 1000000));
  record.sent = receiving.clock.now() - origin;
  const CURLcode code = curl_easy_perform(handle);
  record.end = receiving.clock.now() - origin;
  long http = 0;
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &http);
  if (code != CURLE_OK) {
    record.error = curl_easy_strerror(code);
  } else if (http != 200) {
    record.error = "HTTP " + std::to_string(http) + ": " + receiving.body_head.substr(0, 300);
  }
  record.ok = record.error.empty() && !record.pieces.empty();
  if (record.error.empty() && !record.ok) record.error = "the answer held no text";
  if (record.tokens == 0) record.tokens = static_cast<int64_t>(record.pieces.size());
  if (!record.pieces.empty()) record.first_token = record.pieces.front();
  return record;
}

Result<std::string> Client::get(const std::string& path) {
  std::string body;
  CURL* handle = curl_->handle;
  curl_easy_reset(handle);
  curl_easy_setopt(handle, CURLOPT_URL, (url_ + path).c_str());
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, curl_->headers);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, append_body);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &body);
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, 10000L);
  const CURLcode code = curl_easy_perform(handle);
  if (code != CURLE_OK) return Status(Code::kUnavailable, url_ + path + ": " + curl_easy_strerror(code));
  long http = 0;
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &http);
  if (http != 200) return Status(Code::kUnavailable, url_ + path + ": HTTP " + std::to_string(http) + " " + body.substr(0, 200));
  return body;
}

}  // namespace umbel::load
