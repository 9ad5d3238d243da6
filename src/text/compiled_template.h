// CompiledTemplate: one Jinja source in the Rust library's hands. Private to text/*.cc.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "text/chat_template.h"
#include "text/rust_bytes.h"

namespace umbel::text_internal {

// Immutable; any thread may render.
class CompiledTemplate {
 public:
  // special_tokens: a JSON object of strings, as text.
  static Result<CompiledTemplate> compile(std::string_view source, std::string_view special_tokens);
  // input: what input_json() writes.
  Result<ChatText> render(std::string_view input) const;

 private:
  struct Free {
    void operator()(UmbelTemplate* handle) const { umbel_template_free(handle); }
  };
  explicit CompiledTemplate(UmbelTemplate* handle) : handle_(handle) {}

  std::unique_ptr<UmbelTemplate, Free> handle_;
};

std::string input_json(const ChatInput& input);
// As JSON text; what is not UTF-8 is replaced.
std::string tokens_json(const Json& special_tokens);

}  // namespace umbel::text_internal
