#include "serve/openapi.h"

#include <algorithm>

namespace umbel::serve {
namespace {

constexpr const char* kDescription = "One base model, many adapters: `model` (OpenAI) or `adapter_id` (LoRAX) is an adapter's name.";
constexpr const char* kKeyScheme = "key";
constexpr const char* kParameter = "name";  // what a '*' of a path stands for

const char* scope_of(Route::Access access) {
  switch (access) {
    case Route::Access::kKey: return "any";
    case Route::Access::kGenerate: return "generate";
    case Route::Access::kAdmin: return "admin";
    case Route::Access::kMetrics: return "metrics";
    case Route::Access::kOpen: return "none";
  }
  return "any";
}

// "/v1/models/*" as "/v1/models/{name}".
std::string template_of(const std::string& path) {
  const size_t star = path.find('*');
  return star == std::string::npos ? path : path.substr(0, star) + "{" + kParameter + "}" + path.substr(star + 1);
}

Json operation_of(const Route& route) {
  const char* const error = route.dialect == Dialect::kOpenAi ? "OpenAiError" : "LoraxError";
  const Json fault = {{"description", "what went wrong, in the route's own dialect"},
                      {"content", {{"application/json", {{"schema", {{"$ref", std::string("#/components/schemas/") + error}}}}}}}};
  Json operation = {{"summary", route.summary},
                    {"tags", Json::array({route.dialect == Dialect::kOpenAi ? "OpenAI" : "LoRAX"})},
                    {"x-umbel-scope", scope_of(route.access)},
                    {"responses", {{"200", {{"description", "the answer"}}}, {"default", fault}}}};
  if (route.access == Route::Access::kOpen) operation["security"] = Json::array();
  if (route.path.find('*') != std::string::npos) {
    operation["parameters"] = Json::array({Json{{"name", kParameter}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}}});
  }
  if (route.method != "POST") return operation;
  Json schema = {{"type", "object"}};
  for (const std::string& field : route.fields) schema["properties"][field] = Json::object();
  operation["requestBody"] = {{"content", {{"application/json", {{"schema", std::move(schema)}}}}}};
  return operation;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return text;
}

std::string escaped(const std::string& text) {
  std::string html;
  for (const char c : text) {
    if (c == '<') html += "&lt;";
    else if (c == '>') html += "&gt;";
    else if (c == '&') html += "&amp;";
    else if (c == '"') html += "&quot;";
    else html += c;
  }
  return html;
}

std::string row_of(const std::string& path, const std::string& method, const Json& operation) {
  std::string fields;
  const Json::json_pointer at("/requestBody/content/application~1json/schema/properties");
  if (operation.contains(at)) {
    for (const auto& [name, schema] : operation[at].items()) fields += (fields.empty() ? "" : ", ") + escaped(name);
  }
  return "<tr><td>" + escaped(method) + "</td><td><code>" + escaped(path) + "</code></td><td>" + escaped(operation["x-umbel-scope"]) +
         "</td><td>" + escaped(operation["summary"]) + (fields.empty() ? "" : "<br><small>" + fields + "</small>") + "</td></tr>\n";
}

}  // namespace

Json openapi_document(std::span<const Route> routes, const std::string& version) {
  Json document = {
      {"openapi", "3.1.0"},
      {"info", {{"title", "umbel"}, {"version", version}, {"description", kDescription}}},
      {"security", Json::array({Json::object({{kKeyScheme, Json::array()}})})},
      {"paths", Json::object()}};
  document["components"]["securitySchemes"][kKeyScheme] = {{"type", "http"}, {"scheme", "bearer"}};
  const Json text = {{"type", "string"}};
  Json& schemas = document["components"]["schemas"];
  schemas["OpenAiError"] = {{"type", "object"}};
  schemas["OpenAiError"]["properties"]["error"] = {{"type", "object"}};
  for (const char* name : {"message", "type"}) schemas["OpenAiError"]["properties"]["error"]["properties"][name] = text;
  for (const char* name : {"param", "code"}) schemas["OpenAiError"]["properties"]["error"]["properties"][name] = Json::object();
  schemas["LoraxError"] = {{"type", "object"}};
  for (const char* name : {"error", "error_type"}) schemas["LoraxError"]["properties"][name] = text;
  for (const Route& route : routes) document["paths"][template_of(route.path)][lower(route.method)] = operation_of(route);
  return document;
}

std::string openapi_page(const Json& document) {
  std::string page =
      "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>umbel: routes</title><style>body{font:15px sans-serif;margin:2em;max-width:70em}"
      "table{border-collapse:collapse}td,th{padding:.3em .8em;border-bottom:1px solid #ccc;text-align:left;vertical-align:top}small{color:#555}</style>"
      "<h1>umbel " + escaped(document["info"]["version"]) + "</h1><p>The same for programs: <a href=\"openapi.json\">openapi.json</a>. "
      "\"Key\" is the scope that a key needs on a server that has keys.</p><table><tr><th>Method</th><th>Path</th><th>Key</th><th>What, and the fields of its body</th></tr>\n";
  for (const auto& [path, methods] : document["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) {
      std::string shown = method;
      std::transform(shown.begin(), shown.end(), shown.begin(), [](char c) { return static_cast<char>(c - 32); });
      page += row_of(path, shown, operation);
    }
  }
  return page + "</table></html>\n";
}

}  // namespace umbel::serve
