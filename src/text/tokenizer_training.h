// Training of byte-level BPE tokenizers (Sennrich et al. 2016, on bytes as in GPT-2), by the same crate that runs them.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace umbel {

struct BpeTraining {
  size_t vocab_size = 4096;  // at least 256 bytes and the special tokens
  size_t min_frequency = 2;  // pairs seen less often are not merged
  // Their ids come first, in this order.
  std::vector<std::string> special_tokens = {"<pad>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>"};
  std::string bos = "<s>";  // what encode(text, true) puts in front; empty for nothing
  // How text is cut into words before pairs are counted: digits one by one, the seedling's rule.
  std::string pattern =
      R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
};

// The text of a tokenizer.json. Deterministic: the same documents and options give the same bytes. Uses all cores;
// holds the counts of distinct words, not the documents (these are borrowed). Documents must be UTF-8; longer ones than
// 16 KiB are cut at line ends.
Result<std::string> train_bpe(std::span<const std::string_view> documents, const BpeTraining& training);

}  // namespace umbel
