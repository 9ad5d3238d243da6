// The OpenAI routes: /v1/completions and /v1/chat/completions, whole and streamed.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "serve/generation.h"

namespace umbel::serve {

boost::asio::awaitable<void> answer_completion(const Shared& shared, Exchange& exchange);
boost::asio::awaitable<void> answer_chat(const Shared& shared, Exchange& exchange);

}  // namespace umbel::serve
