#include "text/template_sources.h"

#include <optional>
#include <utility>

#include "io/sha256.h"

namespace umbel {
namespace {

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
Status add_files(const TextFiles& files, std::map<std::string, std::string>& sources) {
  ASSIGN_OR_RETURN(std::optional<std::string> main, files.read("chat_template.jinja", kTemplateBytesMax));
  if (main) sources = {{"default", std::move(*main)}};
  ASSIGN_OR_RETURN(std::optional<std::string> tools,
                   files.read("additional_chat_templates/tool_use.jinja", kTemplateBytesMax));
  if (tools) sources["tool_use"] = std::move(*tools);
  return ok_status();
}

}  // namespace

const std::string& TemplateSources::main() const {
  const auto found = by_name.find("default");
  return found != by_name.end() ? found->second : by_name.begin()->second;
}

const std::string* TemplateSources::with_tools() const {
  const auto found = by_name.find("tool_use");
  return found == by_name.end() || &found->second == &main() ? nullptr : &found->second;
}

std::string TemplateSources::digest() const {
  Sha256 digest;
  for (const auto& [name, source] : by_name) {
    digest.add_text(name);
    digest.add_text(source);
  }
  digest.add_text(special_tokens.dump(-1, ' ', false, Json::error_handler_t::replace));
  return digest.hex();
}

Result<Json> read_special_tokens(const TextFiles& files) {
  Json tokens = Json::object();
  for (const char* name : {"special_tokens_map.json", "tokenizer_config.json"}) {
    ASSIGN_OR_RETURN(const Json config, read_text_config(files, name));
    for (const auto& [key, value] : config.items()) {
      if (!key.ends_with("_token")) continue;
      if (value.is_string()) tokens[key] = value;
      if (value.is_object() && value.contains("content") && value["content"].is_string())
        tokens[key] = value["content"];
    }
  }
  return tokens;
}

Result<TemplateSources> read_template_sources(const TextFiles& files) {
  ASSIGN_OR_RETURN(const Json config, read_text_config(files, "tokenizer_config.json"));
  TemplateSources sources;
  RETURN_IF_ERROR(add_configured(config, sources.by_name));
  RETURN_IF_ERROR(add_files(files, sources.by_name));
  if (sources.by_name.empty()) {
    return not_found(files.where +
                     " has no chat template: neither chat_template.jinja nor chat_template in "
                     "tokenizer_config.json");
  }
  ASSIGN_OR_RETURN(sources.special_tokens, read_special_tokens(files));
  return sources;
}

}  // namespace umbel
