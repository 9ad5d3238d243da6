// Any bytes as a tokenizer.json: one that tokenizes and says its own words again, or a refusal; and as the files of an
// adapter's folder: the base's tokenizer, one that adds tokens to it, or a refusal.
#include <cstdlib>

#include "fuzz.h"
#include "text/adapter_tokenizer.h"

namespace {

using namespace umbel;

constexpr const char* kBase = R"({"version":"1.0","added_tokens":[{"id":4,"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,
                                     "normalized":false,"special":true}],
  "model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2," ":3},"merges":["a b"]}})";
constexpr int64_t kRows = 16;
constexpr std::string_view kText = "ab a <s>b\xf0\x9f\x98\x80 c";

void check_use(const Tokenizer& tokenizer) {
  const auto spans = tokenizer.encode_spans(kText, true);
  if (!spans.ok()) return;
  std::vector<TokenId> ids;
  for (const TokenSpan& span : *spans) {
    CHECK(span.begin <= span.end && span.end <= kText.size(), "a token's place lies in the text");
    ids.push_back(span.id);
  }
  (void)tokenizer.decode(ids, false).ok();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto base = Tokenizer::from_json(kBase).value();
  const std::string text(fuzz::text_of(data, size));
  const auto own = Tokenizer::from_json(text);
  if (own.ok()) {
    check_use(**own);
  } else {
    CHECK(!own.status().message().empty(), "a refusal says why");
  }
  for (const char* only : {"tokenizer.json", "added_tokens.json", "tokenizer_config.json"}) {
    const TextFiles files{.where = "folder", .read = [&](const std::string& name, size_t) {
                            return Result<std::optional<std::string>>(name == only ? std::optional(text) : std::nullopt);
                          }};
    const auto added = adapter_tokenizer(files, base, kRows);
    if (added.ok()) {
      CHECK((*added)->vocab_size() <= static_cast<size_t>(kRows), "an added token has a row");
      check_use(**added);
    } else {
      fuzz::check_refusal(added.status());
    }
  }
  return 0;
}
