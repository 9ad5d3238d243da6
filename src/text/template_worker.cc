#include "text/template_worker.h"

#include <ctime>
#include <optional>
#include <utility>

#include "base/process_memory.h"
#include "io/helper_process.h"
#include "text/compiled_template.h"

namespace umbel {
namespace {

using text_internal::CompiledTemplate;

constexpr size_t kOrderBytesMax = size_t{256} << 20;

// Messages are fields one behind the other: numbers as u64 little-endian, texts as their length and bytes.
void put(std::string& message, uint64_t number) {
  for (int byte = 0; byte < 8; ++byte) message.push_back(static_cast<char>((number >> (8 * byte)) & 0xff));
}
void put(std::string& message, std::string_view text) {
  put(message, uint64_t{text.size()});
  message += text;
}

class FieldReader {
 public:
  explicit FieldReader(std::string_view message) : rest_(message) {}
  uint64_t number() {
    if (rest_.size() < 8) return fail();
    uint64_t number = 0;
    for (size_t byte = 0; byte < 8; ++byte) number |= uint64_t{static_cast<unsigned char>(rest_[byte])} << (8 * byte);
    rest_.remove_prefix(8);
    return number;
  }
  std::string_view text() {
    const uint64_t size = number();
    if (size > rest_.size()) return fail(), std::string_view();
    const std::string_view text = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return text;
  }
  size_t rest_bytes() const { return rest_.size(); }
  // Everything was there, and nothing more.
  Status end() const {
    return whole_ && rest_.empty() ? ok_status() : data_loss("a message that is none of the template worker's");
  }

 private:
  uint64_t fail() {
    whole_ = false;
    rest_ = {};
    return 0;
  }
  std::string_view rest_;
  bool whole_ = true;
};

Duration cpu_time() {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
}

Result<ChatText> render(const RenderOrder& order, const TemplateWorkerLimits& limits) {
  auto compiled = CompiledTemplate::compile(order.source, order.special_tokens);
  if (!compiled.ok()) return data_loss(compiled.status().message());
  ASSIGN_OR_RETURN(ChatText text, compiled->render(order.input));
  if (text.text.size() > limits.output_bytes_max) {
    return Status(Code::kTooLong, "the rendered chat has " + std::to_string(text.text.size()) + " bytes; at most " +
                                      std::to_string(limits.output_bytes_max) + " are allowed");
  }
  return text;
}

// Everything of the template is gone when this returns.
std::string answer_to(std::string_view message, const TemplateWorkerLimits& limits) {
  const Duration begin = cpu_time();
  RenderAnswer answer;
  {
    const Result<RenderOrder> order = decode_order(message);
    Result<ChatText> text = order.ok() ? render(*order, limits) : Result<ChatText>(order.status());
    if (text.ok()) {
      answer.text = std::move(*text);
    } else {
      answer.status = text.status();
    }
  }
  answer.cost = cpu_time() - begin;
  return encode(answer);
}

}  // namespace

std::string encode(const TemplateWorkerLimits& limits) {
  std::string message;
  put(message, uint64_t{limits.memory_bytes});
  put(message, uint64_t{limits.output_bytes_max});
  put(message, static_cast<uint64_t>(limits.cpu_max.count()));
  return message;
}

Result<TemplateWorkerLimits> decode_limits(std::string_view message) {
  FieldReader fields(message);
  TemplateWorkerLimits limits;
  limits.memory_bytes = fields.number();
  limits.output_bytes_max = fields.number();
  limits.cpu_max = Duration(static_cast<int64_t>(fields.number()));
  RETURN_IF_ERROR(fields.end());
  return limits;
}

std::string encode(const RenderOrder& order) {
  std::string message;
  message.reserve(order.source.size() + order.special_tokens.size() + order.input.size() + 24);
  put(message, order.source);
  put(message, order.special_tokens);
  put(message, order.input);
  return message;
}

Result<RenderOrder> decode_order(std::string_view message) {
  FieldReader fields(message);
  RenderOrder order;
  order.source = fields.text();
  order.special_tokens = fields.text();
  order.input = fields.text();
  RETURN_IF_ERROR(fields.end());
  return order;
}

std::string encode(const RenderAnswer& answer) {
  std::string message;
  put(message, static_cast<uint64_t>(answer.status.code()));
  put(message, answer.status.message());
  put(message, static_cast<uint64_t>(answer.cost.count()));
  put(message, answer.text.text);
  put(message, uint64_t{answer.text.generation.size()});
  for (const ChatText::Span& span : answer.text.generation) {
    put(message, uint64_t{span.begin});
    put(message, uint64_t{span.end});
  }
  return message;
}

Result<RenderAnswer> decode_answer(std::string_view message) {
  FieldReader fields(message);
  const uint64_t code = fields.number();
  if (code > static_cast<uint64_t>(Code::kInternal)) return data_loss("an unknown code");
  RenderAnswer answer;
  answer.status = Status(static_cast<Code>(code), std::string(fields.text()));
  answer.cost = Duration(static_cast<int64_t>(fields.number()));
  answer.text.text = std::string(fields.text());
  const uint64_t count = fields.number();
  if (count > fields.rest_bytes() / 16) return data_loss("more spans than the message holds");
  for (uint64_t i = 0; i < count; ++i) {
    const size_t begin = fields.number();
    const size_t end = fields.number();
    if (begin > end || end > answer.text.text.size()) return data_loss("a span outside of the text");
    answer.text.generation.push_back({begin, end});
  }
  RETURN_IF_ERROR(fields.end());
  return answer;
}

int run_template_worker() {
  const auto first = receive_from_parent(kOrderBytesMax);
  if (!first.ok()) return 1;
  const auto limits = decode_limits(*first);
  if (!limits.ok() || !confine_this_process(limits->memory_bytes).ok() || !send_to_parent({}).ok()) return 1;
  const size_t grown = address_space_bytes() + limits->memory_bytes / 4;
  for (;;) {
    auto message = receive_from_parent(kOrderBytesMax);
    if (!message.ok() || !limit_cpu_time(limits->cpu_max).ok()) return 0;
    const std::string answer = answer_to(*message, *limits);
    message = std::string();
    if (!send_to_parent(answer).ok()) return 0;
    if (address_space_bytes() <= grown) continue;
    return_freed_memory();
    if (address_space_bytes() > grown) return 0;  // the next template begins with a clean process
  }
}

}  // namespace umbel
