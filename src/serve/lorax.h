// The LoRAX routes that generate: POST / (whole answers wrapped in a list, or streamed), /generate, /generate_stream.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "serve/generation.h"
#include "serve/lorax_request.h"

namespace umbel::serve {

boost::asio::awaitable<void> answer_lorax(const Shared& shared, Exchange& exchange, LoraxStream stream_by_route);

}  // namespace umbel::serve
