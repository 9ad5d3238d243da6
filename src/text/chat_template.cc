#include "text/chat_template.h"

#include <map>
#include <system_error>
#include <utility>

#include "io/sha256.h"
#include "text/rust_bytes.h"

namespace umbel {
namespace {

using text_internal::rust_failure;
using text_internal::RustBytes;
using text_internal::RustSpans;

struct FreeTemplate {
  void operator()(UmbelTemplate* handle) const { umbel_template_free(handle); }
};
using Handle = std::unique_ptr<UmbelTemplate, FreeTemplate>;

Result<Handle> compile(const std::string& source, const Json& special_tokens) {
  const std::string tokens = special_tokens.dump(-1, ' ', false, Json::error_handler_t::replace);
  UmbelTemplate* handle = nullptr;
  RustBytes error;
  const int32_t code =
      umbel_template_new(source.data(), source.size(), tokens.data(), tokens.size(), &handle, error.out());
  if (code != 0) return rust_failure(code, error);
  return Handle(handle);
}

class RustTemplate final : public ChatTemplate {
 public:
  RustTemplate(std::string source, std::string digest, Handle main, Handle with_tools)
      : source_(std::move(source)), digest_(std::move(digest)), main_(std::move(main)), with_tools_(std::move(with_tools)) {}

  Result<ChatText> render(const ChatInput& input) const override {
    OrderedJson fields = {{"messages", input.messages},
                          {"tools", input.tools},
                          {"documents", input.documents},
                          {"add_generation_prompt", input.add_generation_prompt},
                          {"extra", input.extra}};
    if (input.now) fields["now"] = *input.now;
    const std::string text = fields.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
    const bool has_tools = !input.tools.is_null();
    const UmbelTemplate* handle = has_tools && with_tools_ ? with_tools_.get() : main_.get();
    RustBytes out, error;
    RustSpans spans;
    const int32_t code = umbel_template_render(handle, text.data(), text.size(), out.out(), spans.out(), error.out());
    if (code != 0) return rust_failure(code, error);
    ChatText rendered{std::string(out.view()), {}};
    for (const UmbelSpan& span : spans) rendered.generation.push_back({span.begin, span.end});
    return rendered;
  }

  const std::string& source() const override { return source_; }
  const std::string& digest() const override { return digest_; }

 private:
  std::string source_;
  std::string digest_;
  Handle main_;
  Handle with_tools_;  // null where one template serves both
};

std::string digest_of(const std::map<std::string, std::string>& sources, const Json& special_tokens) {
  Sha256 digest;
  for (const auto& [name, source] : sources) {
    digest.add_text(name);
    digest.add_text(source);
  }
  digest.add_text(special_tokens.dump(-1, ' ', false, Json::error_handler_t::replace));
  return digest.hex();
}

Result<std::shared_ptr<const ChatTemplate>> make_template(std::map<std::string, std::string> sources,
                                                          const Json& special_tokens) {
  auto main = sources.find("default");
  if (main == sources.end()) main = sources.begin();
  ASSIGN_OR_RETURN(Handle handle, compile(main->second, special_tokens));
  Handle with_tools;
  if (const auto found = sources.find("tool_use"); found != sources.end() && found != main) {
    ASSIGN_OR_RETURN(with_tools, compile(found->second, special_tokens));
  }
  return std::shared_ptr<const ChatTemplate>(
      std::make_shared<RustTemplate>(main->second, digest_of(sources, special_tokens), std::move(handle), std::move(with_tools)));
}

bool is_there(const Path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// tokenizer_config.json, or an empty object.
Result<Json> read_config(const Path& dir, const char* name) {
  if (!is_there(dir / name)) return Json(Json::object());
  ASSIGN_OR_RETURN(Json config, read_json(dir / name));
  if (!config.is_object()) return invalid_argument((dir / name).string() + " is not a JSON object");
  return config;
}

// chat_template of tokenizer_config.json: a string, or a list of {name, template}.
Status add_configured(const Json& config, std::map<std::string, std::string>& sources) {
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return ok_status();
  if (found->is_string()) {
    sources["default"] = found->get<std::string>();
    return ok_status();
  }
  for (const Json& entry : *found) {
    if (!entry.is_object() || !entry.contains("name") || !entry["name"].is_string() || !entry.contains("template") ||
        !entry["template"].is_string()) {
      return invalid_argument("tokenizer_config.json: chat_template must be a string or a list of {name, template}");
    }
    sources[entry["name"].get<std::string>()] = entry["template"].get<std::string>();
  }
  return ok_status();
}

// chat_template.jinja, and additional_chat_templates/NAME.jinja beside it.
Status add_files(const Path& dir, std::map<std::string, std::string>& sources) {
  if (is_there(dir / "chat_template.jinja")) {
    sources.clear();
    ASSIGN_OR_RETURN(sources["default"], read_file(dir / "chat_template.jinja"));
  }
  const Path tools = dir / "additional_chat_templates" / "tool_use.jinja";
  if (is_there(tools)) {
    ASSIGN_OR_RETURN(sources["tool_use"], read_file(tools));
  }
  return ok_status();
}

}  // namespace

Result<OrderedJson> parse_ordered_json(std::string_view text, std::string_view what) {
  // The plain parser checks depth and reports places; this second pass only keeps the order of keys.
  RETURN_IF_ERROR(parse_json(text, what).status());
  return OrderedJson::parse(text, nullptr, /*allow_exceptions=*/false);
}

Result<Json> ChatTemplate::special_tokens(const Path& dir) {
  Json tokens = Json::object();
  for (const char* name : {"special_tokens_map.json", "tokenizer_config.json"}) {
    ASSIGN_OR_RETURN(const Json config, read_config(dir, name));
    for (const auto& [key, value] : config.items()) {
      if (!key.ends_with("_token")) continue;
      if (value.is_string()) tokens[key] = value;
      if (value.is_object() && value.contains("content") && value["content"].is_string())
        tokens[key] = value["content"];
    }
  }
  return tokens;
}

Result<std::shared_ptr<const ChatTemplate>> ChatTemplate::load(const Path& dir) {
  ASSIGN_OR_RETURN(const Json config, read_config(dir, "tokenizer_config.json"));
  std::map<std::string, std::string> sources;
  RETURN_IF_ERROR(add_configured(config, sources));
  RETURN_IF_ERROR(add_files(dir, sources));
  if (sources.empty()) {
    return not_found(dir.string() +
                     " has no chat template: neither chat_template.jinja nor chat_template in "
                     "tokenizer_config.json");
  }
  ASSIGN_OR_RETURN(const Json tokens, special_tokens(dir));
  auto made = make_template(std::move(sources), tokens);
  if (!made.ok()) return made.status().with_context(dir.string());
  return made;
}

Result<std::shared_ptr<const ChatTemplate>> ChatTemplate::from_source(std::string source, Json special_tokens) {
  return make_template({{"default", std::move(source)}}, special_tokens);
}

}  // namespace umbel
