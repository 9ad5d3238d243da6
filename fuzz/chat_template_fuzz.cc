// Any bytes as a stranger's chat template and the messages it gets (behind a zero byte): a text within its limits or a refusal
// with a reason, this process lives on, and the next template renders as if nothing had been. Renderings happen in helper
// processes; this program is its own helper.
#include "fuzz.h"
#include "text/template_worker_testing.h"
#include "text/template_workers.h"

namespace {

using namespace umbel;

constexpr size_t kTextMax = size_t{1} << 20;

TemplateWorkersOptions options() {
  TemplateWorkersOptions options;
  options.worker.memory_bytes = size_t{128} << 20;
  options.worker.output_bytes_max = kTextMax;
  options.start_max = options.wait_max = options.wait_untrusted_max = from_seconds(60);
  options.render_max = from_seconds(3);
  return options;
}

ChatInput input_of(std::string_view messages) {
  ChatInput input;
  auto parsed = parse_ordered_json(messages, "messages", kRequestJsonLimits);
  if (parsed.ok()) {
    input.messages = std::move(*parsed);
  } else {
    input.messages = {{{"role", "user"}, {"content", "hi"}}};
  }
  return input;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto workers = TemplateWorkers::create(options());
  static const auto innocent = workers->make("innocent's", {.by_name = {{"default", "{{ messages[0].content }}"}}});
  const std::string_view text = fuzz::text_of(data, size);
  const size_t cut = std::min(text.find('\0'), text.size());
  const auto chat = workers->make("fuzzed", {.by_name = {{"default", std::string(text.substr(0, cut))}}});
  const auto rendered = chat->render(input_of(text.substr(std::min(cut + 1, text.size()))));
  if (rendered.ok()) {
    CHECK(rendered->text.size() <= kTextMax, "a rendered text keeps to its limit");
    for (const ChatText::Span& span : rendered->generation) {
      CHECK(span.begin <= span.end && span.end <= rendered->text.size(), "spans lie in the text");
    }
  } else {
    fuzz::check_refusal(rendered.status());
  }
  const auto after = innocent->render(input_of(""));
  CHECK(after.ok() && after->text == "hi", "the next template does not notice");
  return 0;
}
