// Whether a text has more tokens than a limit, found out from as much of it as it takes: what cannot fit a context is refused
// before all of it is tokenized. Plain function, any thread; takes as long as tokenizing twice what fits.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/status.h"
#include "text/tokenizer.h"

namespace umbel::serve {

// True: the text has more tokens than tokens_max. False: it may have fewer; the whole has to be tokenized to know.
Result<bool> is_surely_longer(const Tokenizer& tokenizer, std::string_view text, size_t tokens_max);

}  // namespace umbel::serve
