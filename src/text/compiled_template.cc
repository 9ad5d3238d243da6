#include "text/compiled_template.h"

#include <utility>

namespace umbel::text_internal {
namespace {

std::string written(const OrderedJson& value) {
  return value.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

}  // namespace

Result<CompiledTemplate> CompiledTemplate::compile(std::string_view source, std::string_view special_tokens) {
  UmbelTemplate* handle = nullptr;
  RustBytes error;
  const int32_t code = umbel_template_new(source.data(), source.size(), special_tokens.data(), special_tokens.size(),
                                          &handle, error.out());
  if (code != 0) return rust_failure(code, error);
  return CompiledTemplate(handle);
}

Result<ChatText> CompiledTemplate::render(std::string_view input) const {
  RustBytes out, error;
  RustSpans spans;
  const int32_t code =
      umbel_template_render(handle_.get(), input.data(), input.size(), out.out(), spans.out(), error.out());
  if (code != 0) return rust_failure(code, error);
  ChatText rendered{std::string(out.view()), {}};
  for (const UmbelSpan& span : spans) rendered.generation.push_back({span.begin, span.end});
  return rendered;
}

// Written piece by piece: put into one value first, a conversation would be copied.
std::string input_json(const ChatInput& input) {
  std::string text = R"({"messages":)" + written(input.messages);
  text += R"(,"tools":)" + written(input.tools);
  text += R"(,"documents":)" + written(input.documents);
  text += R"(,"add_generation_prompt":)" + std::string(input.add_generation_prompt ? "true" : "false");
  text += R"(,"extra":)" + written(input.extra);
  if (input.now) text += R"(,"now":)" + std::to_string(*input.now);
  return text + "}";
}

std::string tokens_json(const Json& special_tokens) {
  return special_tokens.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace umbel::text_internal
