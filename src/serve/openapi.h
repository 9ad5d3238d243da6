// OpenApi: what this server answers, as an OpenAPI 3.1 document and as a page for people. Both are made of the routes' own table; the
// fields of a question are those that its reader asks a body for.
#pragma once

#include <span>
#include <string>

#include "io/json.h"
#include "serve/route.h"

namespace umbel::serve {

// version: the program's.
Json openapi_document(std::span<const Route> routes, const std::string& version);
// HTML that needs nothing from anywhere else.
std::string openapi_page(const Json& document);

}  // namespace umbel::serve
