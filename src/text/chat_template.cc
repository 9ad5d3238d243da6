#include "text/chat_template.h"

#include <utility>

#include "text/compiled_template.h"

namespace umbel {
namespace {

using text_internal::CompiledTemplate;

class RustTemplate final : public ChatTemplate {
 public:
  RustTemplate(const TemplateSources& sources, CompiledTemplate main, std::optional<CompiledTemplate> with_tools)
      : source_(sources.main()), digest_(sources.digest()), main_(std::move(main)), with_tools_(std::move(with_tools)) {}

  Result<ChatText> render(const ChatInput& input) const override {
    const bool has_tools = !input.tools.is_null();
    return (has_tools && with_tools_ ? *with_tools_ : main_).render(text_internal::input_json(input));
  }

  const std::string& source() const override { return source_; }
  const std::string& digest() const override { return digest_; }

 private:
  std::string source_;
  std::string digest_;
  CompiledTemplate main_;
  std::optional<CompiledTemplate> with_tools_;  // none where one template serves both
};

}  // namespace

Result<std::shared_ptr<const ChatTemplate>> ChatTemplate::make(const TemplateSources& sources) {
  const std::string tokens = text_internal::tokens_json(sources.special_tokens);
  ASSIGN_OR_RETURN(CompiledTemplate main, CompiledTemplate::compile(sources.main(), tokens));
  std::optional<CompiledTemplate> with_tools;
  if (const std::string* source = sources.with_tools()) {
    ASSIGN_OR_RETURN(with_tools, CompiledTemplate::compile(*source, tokens));
  }
  return std::shared_ptr<const ChatTemplate>(
      std::make_shared<RustTemplate>(sources, std::move(main), std::move(with_tools)));
}

Result<std::shared_ptr<const ChatTemplate>> ChatTemplate::load(const Path& dir) {
  ASSIGN_OR_RETURN(const TemplateSources sources, read_template_sources(text_files_of(dir)));
  auto made = make(sources);
  if (!made.ok()) return made.status().with_context(dir.string());
  return made;
}

Result<std::shared_ptr<const ChatTemplate>> ChatTemplate::from_source(std::string source, Json special_tokens) {
  return make({.by_name = {{"default", std::move(source)}}, .special_tokens = std::move(special_tokens)});
}

}  // namespace umbel
