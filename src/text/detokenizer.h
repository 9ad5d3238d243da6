// Detokenizer: a stream of ids to a stream of text that never ends in half a code point and whose pieces joined equal
// Tokenizer::decode of all ids (with prompt_tail: what the ids add to the decoded prompt). One per running answer; not
// thread-safe. Each push decodes a bounded window of ids, whatever the length of the answer.
//
// Byte tokens like <0xE4> are decoded run by run: a run that is not UTF-8 becomes U+FFFD throughout. So a run is held
// back until it ends, but at most kByteRun ids: beyond that its whole characters come out, and only if such a long run
// turns invalid later does the text differ from decode's. Ids outside the vocabulary add nothing.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace umbel {

class Detokenizer {
 public:
  // prompt_tail: the last few prompt ids, so that the first piece gets its leading space right.
  Detokenizer(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special, std::vector<TokenId> prompt_tail = {});

  // The text that this id completes; often empty in the middle of a code point.
  std::string push(TokenId id);
  // What is still held back, with U+FFFD for an incomplete code point.
  std::string flush();

 private:
  static constexpr size_t kByteRun = 24;
  // So many ids are decoded at most behind a code point that does not end.
  static constexpr size_t kOpenIds = 16;

  bool is_byte_token(TokenId id) const;
  std::string decode(size_t begin, size_t end) const;
  // Shows what is settled of decode(0, ids_.size()), all but `held` bytes at its end.
  std::string show(const std::string& text, size_t held);
  // Drops ids that later ones no longer need.
  void shrink(bool settled, size_t held);

  std::shared_ptr<const Tokenizer> tokenizer_;
  bool skip_special_;
  std::vector<TokenId> ids_;  // a window of the last ids; special ones are left out when they are skipped
  size_t shown_ = 0;          // bytes of the window's text that are out already
  size_t settled_ = 0;        // ids of the window up to which everything was out when the last of them came
  size_t byte_run_ = 0;       // byte tokens at the window's end
};

}  // namespace umbel
