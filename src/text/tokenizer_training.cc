#include "text/tokenizer_training.h"

#include "io/json.h"
#include "text/rust_bytes.h"

namespace umbel {

Result<std::string> train_bpe(std::span<const std::string_view> documents, const BpeTraining& training) {
  Json options = {{"vocab_size", training.vocab_size},
                  {"min_frequency", training.min_frequency},
                  {"special_tokens", training.special_tokens},
                  {"pattern", training.pattern}};
  if (!training.bos.empty()) options["bos"] = training.bos;
  const std::string text = options.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::vector<UmbelDocument> borrowed;
  borrowed.reserve(documents.size());
  for (const std::string_view document : documents) borrowed.push_back({document.data(), document.size()});
  text_internal::RustBytes out, error;
  const int32_t code =
      umbel_train_bpe(borrowed.data(), borrowed.size(), text.data(), text.size(), out.out(), error.out());
  if (code != 0) return text_internal::rust_failure(code, error);
  return std::string(out.view());
}

}  // namespace umbel
