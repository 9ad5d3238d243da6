#include "serve/template_shelf.h"

namespace umbel::serve {
namespace {

constexpr size_t kTemplateBytesMax = size_t{1} << 20;

// An adapter's folder often has no tokenizer_config.json, so bos_token and eos_token are the base's.
Json special_tokens(const Tokenizer& tokenizer) {
  Json tokens = Json::object();
  const auto add = [&](const char* name, std::optional<TokenId> id) {
    if (!id) return;
    if (const auto text = tokenizer.token(*id)) tokens[name] = *text;
  };
  add("bos_token", tokenizer.bos());
  add("eos_token", tokenizer.eos());
  return tokens;
}

}  // namespace

Result<std::shared_ptr<const ChatTemplate>> TemplateShelf::find(const std::string& adapter) {
  if (!adapter.empty() && parts_.library != nullptr) {
    for (const AdapterInfo& info : parts_.library->list()) {
      if (info.id.name != adapter || info.chat_template_dir.empty()) continue;
      const std::string key = info.id.name + "@" + std::to_string(info.id.version) + "@" + info.id.digest;
      std::lock_guard lock(mutex_);
      if (const auto found = shelf_.find(key); found != shelf_.end()) return found->second;
      ASSIGN_OR_RETURN(std::string source,
                       read_file(Path(info.chat_template_dir) / "chat_template.jinja", kTemplateBytesMax));
      ASSIGN_OR_RETURN(auto made, ChatTemplate::from_source(std::move(source), special_tokens(*parts_.tokenizer)));
      if (shelf_.size() >= kTemplatesMax) shelf_.clear();
      shelf_.emplace(key, made);
      return made;
    }
  }
  if (parts_.chat_template == nullptr) {
    return unsupported("the model " + parts_.model.name +
                       " has no chat template; use /v1/completions, or put a chat_template.jinja into its folder");
  }
  return parts_.chat_template;
}

}  // namespace umbel::serve
