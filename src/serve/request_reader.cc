#include "serve/request_reader.h"

#include <algorithm>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <functional>

namespace umbel::serve {

namespace http = boost::beast::http;
using boost::system::error_code;

struct RequestReader::Parser {
  http::request_parser<http::string_body> of;
  std::function<void(uint64_t, boost::beast::string_view, error_code&)> on_chunk;
};

namespace {

// "0\r\n\r\n", the least that ends a chunked body. Beast's parser asserts that it is never asked about less once it saw a last chunk.
constexpr size_t kLastChunkBytes = 5;

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return result;
}

// Bytes that may stand in a header; CR and LF are judged by their places.
bool is_header_byte(char c) { return static_cast<unsigned char>(c) >= ' ' ? c != 0x7f : c == '\t'; }

// What is wrong with the form of a complete header's lines, or "".
std::string_view line_fault(std::string_view head) {
  size_t begin = head.find("\r\n");
  for (begin += 2; begin + 2 < head.size();) {
    const size_t end = head.find("\r\n", begin);
    const std::string_view line = head.substr(begin, end - begin);
    if (line[0] == ' ' || line[0] == '\t') return "a header line begins with a blank (folded lines are not read)";
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) return "a header line has no colon";
    if (!is_token(line.substr(0, colon))) return "a header's name has a character that may not stand there";
    begin = end + 2;
  }
  return {};
}

// Takes the target apart. RFC 9112 3.2.2: one with scheme and authority is read too; its authority then stands for Host.
void take_target(std::string_view target, HttpRequest& request) {
  const size_t mark = target.find("://");
  if (mark != std::string_view::npos && (target.starts_with("http://") || target.starts_with("https://"))) {
    target.remove_prefix(mark + 3);
    const size_t end = std::min(target.find_first_of("/?"), target.size());
    for (auto& [name, value] : request.headers) {
      if (name == "host") value = std::string(target.substr(0, end));
    }
    target.remove_prefix(end);
    request.path = "/";
  }
  const size_t query = std::min(target.find('?'), target.size());
  if (query > 0) request.path = std::string(target.substr(0, query));
  if (query < target.size()) request.query = std::string(target.substr(query + 1));
}

// How the end of the body is found must not be a matter of opinion.
std::optional<Failure> framing_fault(const HttpRequest& request, bool http_1_0) {
  const auto count = [&](std::string_view name) {
    return std::count_if(request.headers.begin(), request.headers.end(), [&](const auto& h) { return h.first == name; });
  };
  const auto hosts = count("host"), lengths = count("content-length"), codings = count("transfer-encoding");
  const auto bad = [](int status, const char* message) { return Failure{.http = status, .message = message}; };
  if (hosts > 1) return bad(400, "the request has several Host headers");
  if (hosts == 0 && !http_1_0) return bad(400, "the request has no Host header");
  if (lengths > 1 || request.header("content-length").find(',') != std::string_view::npos) {
    return bad(400, "the request has several Content-Length values");
  }
  if (codings == 0) return std::nullopt;
  if (lengths > 0) return bad(400, "the request has both Content-Length and Transfer-Encoding");
  if (http_1_0) return bad(400, "HTTP/1.0 has no Transfer-Encoding");
  if (codings > 1 || lower(request.header("transfer-encoding")) != "chunked") {
    return bad(501, "the only Transfer-Encoding read here is `chunked`, once");
  }
  return std::nullopt;
}

}  // namespace

RequestReader::RequestReader(size_t header_bytes_max)
    : header_bytes_max_(header_bytes_max), parser_(std::make_unique<Parser>()) {
  parser_->of.header_limit(static_cast<uint32_t>(std::min<size_t>(header_bytes_max, UINT32_MAX)));
  parser_->of.body_limit(boost::none);  // until limit_body()
  parser_->on_chunk = [this](uint64_t, boost::beast::string_view extensions, error_code& error) {
    extension_bytes_ += extensions.size();
    if (extension_bytes_ > header_bytes_max_) error = http::error::header_limit;
  };
  parser_->of.on_chunk_header(parser_->on_chunk);
}

RequestReader::~RequestReader() = default;

void RequestReader::fail(int http, std::string message) { failure_ = Failure{.http = http, .message = std::move(message)}; }

void RequestReader::fail_of(int error, std::string_view text) {
  if (error == static_cast<int>(http::error::body_limit)) {
    fail(413, "the request body is larger than " + std::to_string(body_bytes_max_) + " bytes");
    failure_->code = "body_too_large";
  } else if (error == static_cast<int>(http::error::header_limit)) {
    fail(431, "the request's header, chunk extensions or trailer are larger than " + std::to_string(header_bytes_max_) +
                  " bytes");
  } else {
    fail(400, "not a valid HTTP request: " + std::string(text));
  }
}

// Looks at each byte of the header once, as it comes: what can't be one is refused before its end has come.
void RequestReader::scan(std::string_view bytes) {
  for (; scanned_ < bytes.size(); ++scanned_) {
    const char c = bytes[scanned_];
    const bool after_cr = scanned_ > 0 && bytes[scanned_ - 1] == '\r';
    if (after_cr != (c == '\n')) return fail(400, "not a valid HTTP request: a line does not end in CRLF");
    if (c == '\n' && scanned_ >= 3 && bytes[scanned_ - 2] == '\n') {
      head_bytes_ = scanned_ + 1;
      return;
    }
    if (c != '\r' && c != '\n' && !is_header_byte(c)) {
      return fail(400, "not a valid HTTP request: its header has a control character");
    }
    if (scanned_ + 1 >= header_bytes_max_) return fail_of(static_cast<int>(http::error::header_limit), {});
  }
}

// The path and the headers of what was parsed, which after a failure may be little.
void RequestReader::take_head() {
  const auto& head = parser_->of.get();
  request_.method = std::string(head.method_string());
  for (const auto& field : head) {
    if (request_.headers.size() == kHeadersMax) {
      fail(431, "the request has more than " + std::to_string(kHeadersMax) + " headers");
      break;
    }
    const auto name = field.name_string();
    request_.headers.emplace_back(lower({name.data(), name.size()}), std::string(field.value()));
  }
  take_target({head.target().data(), head.target().size()}, request_);
  request_.id = request_id(request_.header("x-request-id"));
  expects_continue_ = lower(request_.header("expect")) == "100-continue";
}

size_t RequestReader::feed_head(std::string_view bytes) {
  if (!blank_dropped_ && scanned_ == 0 && bytes.starts_with("\r\n")) {
    blank_dropped_ = true;
    return 2;
  }
  if (!blank_dropped_ && bytes == "\r") return 0;
  scan(bytes);
  if (!failure_ && head_bytes_ == 0) return 0;
  const std::string_view head = bytes.substr(0, failure_ ? scanned_ : head_bytes_);
  error_code error;
  const size_t taken = parser_->of.put(boost::asio::const_buffer(head.data(), head.size()), error);
  if (!failure_ && (error || taken != head.size() || !parser_->of.is_header_done())) {
    fail_of(error ? error.value() : 0, error ? error.message() : "its header ends too early");
  }
  const std::optional<Failure> first = failure_;
  take_head();
  if (first) failure_ = first;
  if (failure_) return taken;
  if (const std::string_view fault = line_fault(head); !fault.empty()) {
    fail(400, "not a valid HTTP request: " + std::string(fault));
  } else if (auto framing = framing_fault(request_, http_1_0())) {
    failure_ = std::move(framing);
  } else {
    head_done_ = true;
  }
  return taken;
}

size_t RequestReader::feed(std::string_view bytes) {
  if (!head_done_) return feed_head(bytes);
  size_t total = 0;
  while (total < bytes.size() && !parser_->of.is_done()) {
    const bool may_be_last = chunked() && bytes[total] == '0' && bytes.size() - total < kLastChunkBytes;
    if (may_be_last) break;  // more must come in any case
    error_code error;
    const size_t taken =
        parser_->of.put(boost::asio::const_buffer(bytes.data() + total, bytes.size() - total), error);
    total += taken;
    if (error && error != http::error::need_more) {
      fail_of(error.value(), error.message());
      break;
    }
    if (taken > 0) continue;
    if (bytes.size() - total >= header_bytes_max_) fail_of(static_cast<int>(http::error::header_limit), {});
    break;
  }
  return total;
}

bool RequestReader::done() const { return head_done_ && parser_->of.is_done(); }
std::optional<uint64_t> RequestReader::content_length() const {
  const auto length = parser_->of.content_length();
  return length ? std::optional<uint64_t>(*length) : std::nullopt;
}
bool RequestReader::chunked() const { return parser_->of.chunked(); }
bool RequestReader::keep_alive() const { return parser_->of.keep_alive(); }
bool RequestReader::http_1_0() const { return parser_->of.get().version() < 11; }

void RequestReader::limit_body(size_t bytes_max) {
  body_bytes_max_ = bytes_max;
  parser_->of.body_limit(bytes_max);
}

size_t RequestReader::body_bytes() const { return parser_->of.get().body().size(); }
void RequestReader::take_body() { request_.body = std::move(parser_->of.get().body()); }

}  // namespace umbel::serve
