#include "text/end_tokens.h"

#include <algorithm>

#include "io/json.h"

namespace umbel {
namespace {

constexpr size_t kFileBytesMax = size_t{16} << 20;
constexpr size_t kEndTokensMax = 64;

// Null when the file is not there.
Result<Json> read_config(const FolderReader& folder, const std::string& name) {
  if (!folder.has(name)) return Json(nullptr);
  ASSIGN_OR_RETURN(const std::string text, folder.read(name, kFileBytesMax));
  ASSIGN_OR_RETURN(Json json, parse_json(text, name));
  if (!json.is_object()) return invalid_argument(name + " is not an object");
  return json;
}

const Json* field(const Json& json, const char* name) {
  if (!json.is_object()) return nullptr;
  const auto found = json.find(name);
  return found == json.end() || found->is_null() ? nullptr : &*found;
}

Status add_ids(const Json& value, size_t vocabulary, std::vector<TokenId>& ids) {
  const std::string what = "generation_config.json: eos_token_id ";
  const Json list = value.is_array() ? value : Json::array({value});
  if (list.size() > kEndTokensMax)
    return invalid_argument(what + "has more than " + std::to_string(kEndTokensMax) + " ids");
  for (const Json& entry : list) {
    if (!entry.is_number_integer()) return invalid_argument(what + "must be a token id or a list of them");
    if (entry < 0 || entry >= vocabulary)
      return invalid_argument(what + "names an id outside the vocabulary of " + std::to_string(vocabulary));
    ids.push_back(entry.get<TokenId>());
  }
  return ok_status();
}

}  // namespace

Result<std::vector<TokenId>> read_end_tokens(const FolderReader& folder, const Tokenizer& tokenizer) {
  std::vector<TokenId> ids;
  ASSIGN_OR_RETURN(const Json generation, read_config(folder, "generation_config.json"));
  if (const Json* value = field(generation, "eos_token_id"))
    RETURN_IF_ERROR(add_ids(*value, tokenizer.vocab_size(), ids));
  ASSIGN_OR_RETURN(const Json config, read_config(folder, "tokenizer_config.json"));
  const Json* token = field(config, "eos_token");
  if (token != nullptr && token->is_object()) token = field(*token, "content");
  if (token != nullptr) {
    if (!token->is_string()) return invalid_argument("tokenizer_config.json: eos_token must be a text");
    const auto id = tokenizer.id_of(token->get_ref<const std::string&>());
    if (id && std::find(ids.begin(), ids.end(), *id) == ids.end()) ids.push_back(*id);
  }
  return ids;
}

Result<std::vector<TokenId>> with_end_tokens_of(const FolderReader& folder, const Tokenizer& tokenizer, std::vector<TokenId> ids) {
  ASSIGN_OR_RETURN(const std::vector<TokenId> own, read_end_tokens(folder, tokenizer));
  for (TokenId id : own) {
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  }
  return ids;
}

}  // namespace umbel
