#include "text/adapter_tokenizer.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <string>
#include <utility>

#include "base/printable.h"
#include "text/tokenizer_listing.h"

namespace umbel {
namespace {

constexpr size_t kTokenizerBytesMax = size_t{64} << 20;
constexpr size_t kBytesPerToken = size_t{1} << 10;  // of a file that lists the base's tokens and some more; real ones have about 100

// Tokens by id that the base lacks, gathered from the files.
class Additions {
 public:
  Additions(const TextFiles& files, const Tokenizer& base, int64_t rows) : files_(files), base_(base), rows_(rows) {}

  // model.vocab of tokenizer.json and its added_tokens.
  Status read_tokenizer();
  // {token: id}.
  Status read_added_tokens();
  // {id: {content, ...}}.
  Status read_decoder();
  bool empty() const { return tokens_.empty(); }
  Json list() const;

 private:
  Status wrong(const std::string& what) const {
    return unsupported(files_.where + "/" + file_ + ": " + what +
                       "; a tokenizer of an adapter's own can only add tokens to the base's. Take the file out of the "
                       "adapter's folder, or give the base this tokenizer");
  }
  Status add(std::string_view token, const Json& id, Json entry);

  const TextFiles& files_;
  const Tokenizer& base_;
  const int64_t rows_;
  std::string file_;  // that is being read
  std::map<TokenId, Json> tokens_;
};

std::string in_quotes(std::string_view token) { return "\"" + printable(token, 100) + "\""; }

Status Additions::add(std::string_view token, const Json& id_json, Json entry) {
  const bool is_id = id_json.is_number_unsigned() && id_json.get<uint64_t>() <= uint64_t{INT32_MAX};
  if (!is_id) return wrong("the token " + in_quotes(token) + " has no id");
  const auto id = static_cast<TokenId>(id_json.get<uint64_t>());
  const std::string said = "the token " + in_quotes(token) + " has the id " + std::to_string(id);
  const std::optional<TokenId> known = base_.id_of(token);
  if (known == id) return ok_status();
  if (known) return wrong(said + ", where the base's has " + std::to_string(*known));
  if (const auto other = base_.token(id)) return wrong(said + ", which is " + in_quotes(*other) + " in the base's");
  if (token.empty() || token.size() > kAddedTokenBytesMax) {
    return wrong("an added token of " + std::to_string(token.size()) + " bytes; 1 to " +
                 std::to_string(kAddedTokenBytesMax) + " are allowed");
  }
  if (id >= rows_) return wrong(said + ", but the model has " + std::to_string(rows_) + " rows");
  const auto [place, is_new] = tokens_.try_emplace(id);
  if (!is_new) {
    if (place->second["content"] == token) {
      for (auto& [field, value] : entry.items()) place->second.emplace(field, std::move(value));  // what was said first counts
      return ok_status();
    }
    return wrong(said + ", which is " + in_quotes(place->second["content"].get<std::string>()) + " as well");
  }
  entry["content"] = token;
  entry["id"] = id;
  place->second = std::move(entry);
  if (tokens_.size() > kAddedTokensMax) return wrong("more than " + std::to_string(kAddedTokensMax) + " added tokens");
  return ok_status();
}

// Read as a stream: whatever stands beside its lists costs nothing.
Status Additions::read_tokenizer() {
  file_ = "tokenizer.json";
  const size_t bytes_max = std::min(kTokenizerBytesMax, kBytesPerToken * (base_.vocab_size() + kAddedTokensMax));
  ASSIGN_OR_RETURN(const std::optional<std::string> text, files_.read(file_, bytes_max));
  if (!text) return ok_status();
  const size_t listed_max = 2 * (base_.vocab_size() + kAddedTokensMax);  // an added token may stand in both lists
  size_t listed = 0;
  return read_tokenizer_listing(*text, files_.where + "/" + file_, [&](std::string_view token, const Json& id, Json entry) {
    if (++listed > listed_max) return wrong("more than " + std::to_string(listed_max) + " tokens");
    return add(token, id, std::move(entry));
  });
}

Status Additions::read_added_tokens() {
  file_ = "added_tokens.json";
  ASSIGN_OR_RETURN(const Json json, read_text_config(files_, file_));
  for (const auto& [token, id] : json.items()) RETURN_IF_ERROR(add(token, id, Json::object()));
  return ok_status();
}

Status Additions::read_decoder() {
  file_ = "tokenizer_config.json";
  ASSIGN_OR_RETURN(const Json json, read_text_config(files_, file_));
  const auto decoder = json.find("added_tokens_decoder");
  if (decoder == json.end() || !decoder->is_object()) return ok_status();
  for (const auto& [name, entry] : decoder->items()) {
    uint64_t id = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
    const bool is_entry = error == std::errc() && end == name.data() + name.size() && entry.is_object() &&
                          entry.contains("content") && entry["content"].is_string();
    if (!is_entry) return wrong("its added_tokens_decoder can't be read");
    RETURN_IF_ERROR(add(entry["content"].get_ref<const std::string&>(), Json(id), entry));
  }
  return ok_status();
}

// Ascending by id.
Json Additions::list() const {
  Json list = Json::array();
  for (const auto& [id, entry] : tokens_) list.push_back(entry);
  return list;
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> adapter_tokenizer(const TextFiles& files,
                                                           const std::shared_ptr<const Tokenizer>& base, int64_t rows) {
  Additions additions(files, *base, rows);
  RETURN_IF_ERROR(additions.read_tokenizer());
  RETURN_IF_ERROR(additions.read_decoder());
  RETURN_IF_ERROR(additions.read_added_tokens());
  if (additions.empty()) return base;
  auto extended = base->with_added(additions.list());
  if (!extended.ok()) return extended.status().with_context(files.where);
  return extended;
}

}  // namespace umbel
