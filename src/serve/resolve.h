// From the name in a request to what answers it: the base or an adapter, its tokenizer, end tokens, chat template.
//
// May read files (an adapter's own template, tokenizer, end tokens): on the work pool, not on HTTP threads.
#pragma once

#include <string>
#include <vector>

#include "serve/gate.h"
#include "serve/identity.h"
#include "serve/refusal.h"
#include "serve/shared.h"

namespace umbel::serve {

struct ResolvedModel {
  AdapterRef ref;    // null = base
  AdapterInfo info;  // of ref
  Identity identity;
  std::shared_ptr<const TokenTexts> words;  // its tokenizer
  std::vector<TokenId> end_ids;
};

// "" = the base. NAME@VERSION and NAME@DIGEST are the versions that the library keeps. A name that nobody has is kNotFound with its near miss, if it has one.
// What the caller's key may not use takes the same way as what is not there: nothing below tells them apart.
Outcome<ResolvedModel> resolve_model(const Shared& shared, const Caller& caller, const std::string& name);

// The prompt of a chat, by the template that this model has. A `developer` is a `system` to a template that does not know
// developers. kUnsupported without a template; kInvalidArgument with the template's own words.
Result<std::string> render_chat(const Shared& shared, const ResolvedModel& model, const ChatInput& chat);

}  // namespace umbel::serve
