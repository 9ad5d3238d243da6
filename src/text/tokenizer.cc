#include "text/tokenizer.h"

#include <algorithm>
#include <limits>
#include <new>
#include <system_error>
#include <utility>

#include "base/memory_reserve.h"
#include "io/json.h"
#include "io/sha256.h"
#include "io/stray.h"
#include "text/rust_bytes.h"

namespace umbel {
namespace {

using text_internal::rust_failure;
using text_internal::RustBytes;
using text_internal::RustSpans;

std::optional<TokenId> optional_id(int64_t id) {
  if (id < 0 || id > std::numeric_limits<TokenId>::max()) return std::nullopt;
  return static_cast<TokenId>(id);
}

// The library ends the process where it finds no memory, but for the reserve: what a long text may take is asked for here first,
// where its absence is std::bad_alloc. Untouched pages, given back at once.
void find_memory(size_t text_bytes) {
  constexpr size_t kBytesPerByte = 128;  // its characters' places, tokens and ranges
  constexpr size_t kLongBytes = size_t{16} << 10;
  if (text_bytes > kLongBytes) ::operator delete(::operator new(kBytesPerByte * text_bytes));
}

class RustTokenizer final : public Tokenizer {
 public:
  RustTokenizer(UmbelTokenizer* handle, std::string digest) : handle_(handle), digest_(std::move(digest)) {}
  RustTokenizer(const RustTokenizer&) = delete;
  RustTokenizer& operator=(const RustTokenizer&) = delete;
  ~RustTokenizer() override { umbel_tokenizer_free(handle_); }

  Result<std::vector<TokenId>> encode(std::string_view text, bool add_special) const override {
    RustSpans spans;
    RETURN_IF_ERROR(encode_into(text, add_special, spans));
    std::vector<TokenId> ids;
    ids.reserve(spans.size());
    for (const UmbelSpan& span : spans) ids.push_back(static_cast<TokenId>(span.id));
    return ids;
  }

  Result<std::vector<TokenSpan>> encode_spans(std::string_view text, bool add_special) const override {
    RustSpans spans;
    RETURN_IF_ERROR(encode_into(text, add_special, spans));
    std::vector<TokenSpan> tokens;
    tokens.reserve(spans.size());
    for (const UmbelSpan& span : spans) tokens.push_back({static_cast<TokenId>(span.id), span.begin, span.end});
    return tokens;
  }

  Result<std::string> decode(std::span<const TokenId> ids, bool skip_special) const override {
    RustBytes text, error;
    const int32_t code = umbel_tokenizer_decode(handle_, ids.data(), ids.size(), skip_special, text.out(), error.out());
    if (code != 0) return rust_failure(code, error);
    return std::string(text.view());
  }

  std::optional<std::string> token(TokenId id) const override {
    RustBytes text;
    if (umbel_tokenizer_token(handle_, id, text.out()) != 0) return std::nullopt;
    return std::string(text.view());
  }

  std::optional<TokenId> id_of(std::string_view token) const override {
    return optional_id(umbel_tokenizer_id_of(handle_, token.data(), token.size()));
  }

  bool is_special(TokenId id) const override { return umbel_tokenizer_is_special(handle_, id); }
  size_t vocab_size() const override { return umbel_tokenizer_vocab_size(handle_); }
  std::optional<TokenId> bos() const override { return optional_id(umbel_tokenizer_bos(handle_)); }
  std::optional<TokenId> eos() const override { return optional_id(umbel_tokenizer_eos(handle_)); }
  Result<std::shared_ptr<const Tokenizer>> with_added(const Json& tokens) const override {
    const std::string text = tokens.dump(-1, ' ', false, Json::error_handler_t::replace);
    UmbelTokenizer* handle = nullptr;
    RustBytes error;
    const int32_t code = umbel_tokenizer_with_added(handle_, text.data(), text.size(), &handle, error.out());
    if (code != 0) return rust_failure(code, error);
    Sha256 digest;
    digest.add_text(digest_);
    digest.add_text(text);
    return std::shared_ptr<const Tokenizer>(std::make_shared<RustTokenizer>(handle, digest.hex()));
  }
  const std::string& digest() const override { return digest_; }

 private:
  Status encode_into(std::string_view text, bool add_special, RustSpans& spans) const {
    find_memory(text.size());
    RustBytes error;
    const int32_t code =
        umbel_tokenizer_encode(handle_, text.data(), text.size(), add_special, spans.out(), error.out());
    return code == 0 ? ok_status() : rust_failure(code, error);
  }

  UmbelTokenizer* handle_;
  std::string digest_;
};

Result<std::shared_ptr<const Tokenizer>> make_tokenizer(std::string_view json, std::string_view config) {
  umbel_on_memory_failure(release_memory_reserve);
  UmbelTokenizer* handle = nullptr;
  RustBytes error;
  const int32_t code =
      umbel_tokenizer_new(json.data(), json.size(), config.data(), config.size(), &handle, error.out());
  if (code != 0) return rust_failure(code, error);
  Sha256 digest;
  digest.add_text(json);
  digest.add_text(config);
  return std::shared_ptr<const Tokenizer>(std::make_shared<RustTokenizer>(handle, digest.hex()));
}

bool is_there(const Path& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

// tokenizer_config.json, else the older special_tokens_map.json (names only), else nothing.
Result<std::string> read_config(const Path& dir) {
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"}) {
    if (is_there(dir / name)) return read_file(dir / name);
  }
  return std::string();
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> Tokenizer::load(const Path& dir) {
  if (!is_there(dir / "tokenizer.json")) {
    return not_found(dir.string() +
                     " has no tokenizer.json. Write one with Python: from transformers import AutoTokenizer; "
                     "AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)");
  }
  ASSIGN_OR_RETURN(const std::string json, read_file(dir / "tokenizer.json"));
  ASSIGN_OR_RETURN(const std::string config, read_config(dir));
  auto tokenizer = make_tokenizer(json, config);
  if (!tokenizer.ok()) {
    const std::string stray = stray_content(std::string_view(json).substr(0, kStrayHeadBytes));
    if (!stray.empty()) return invalid_argument((dir / "tokenizer.json").string() + " is " + stray);
  }
  if (!tokenizer.ok()) return tokenizer.status().with_context(dir.string());
  return tokenizer;
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::from_json(std::string_view tokenizer_json) {
  return make_tokenizer(tokenizer_json, {});
}

bool holds_special_token(const Tokenizer& tokenizer, std::string_view text) {
  const Result<std::vector<TokenId>> ids = tokenizer.encode(text, /*add_special=*/false);
  if (!ids.ok()) return false;
  return std::any_of(ids->begin(), ids->end(), [&](TokenId id) { return tokenizer.is_special(id); });
}

}  // namespace umbel
