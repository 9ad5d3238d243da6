#include "data/chat_messages.h"

#include <array>
#include <string>
#include <utility>

#include "text/content_parts.h"

namespace umbel::data {
namespace {

constexpr std::array<std::pair<const char*, const char*>, 11> kRoles = {{{"human", "user"},
                                                                         {"gpt", "assistant"},
                                                                         {"chatgpt", "assistant"},
                                                                         {"bing", "assistant"},
                                                                         {"bard", "assistant"},
                                                                         {"model", "assistant"},
                                                                         {"bot", "assistant"},
                                                                         {"function_call", "assistant"},
                                                                         {"function", "tool"},
                                                                         {"observation", "tool"},
                                                                         {"tool_response", "tool"}}};

std::string turn_name(const char* field, size_t index) { return "turn " + std::to_string(index + 1) + " of \"" + field + "\""; }

bool is_text(const OrderedJson& turn, const char* name) {
  const auto found = turn.find(name);
  return found != turn.end() && found->is_string();
}

Result<std::string> joined_parts(const OrderedJson& parts, const std::string& where) {
  JoinedContent joined = join_content_parts(parts, PartForms::kLoose);
  if (joined.status.ok()) return std::move(joined.text);
  if (joined.status.code() != Code::kUnsupported) return invalid_argument(where + ": content" + joined.at + " " + joined.status.message());
  return unsupported(where + ": a content part of type \"" + joined.type + "\" can't be trained on; this model reads text only");
}

// {"name", "arguments"} of a call: arguments as JSON, whichever way they were written.
void read_arguments(OrderedJson& call) {
  OrderedJson& of = call.is_object() && call.contains("function") && call["function"].is_object() ? call["function"] : call;
  if (!of.is_object() || !is_text(of, "arguments")) return;
  auto arguments = parse_ordered_json(of["arguments"].get_ref<const std::string&>(), "arguments");
  if (arguments.ok() && arguments->is_object()) of["arguments"] = *std::move(arguments);
}

Result<OrderedJson> read_turn(const OrderedJson& given, const std::string& where) {
  if (!given.is_object()) return invalid_argument(where + " is no object with \"role\" and \"content\"");
  OrderedJson turn = given;
  for (const auto& [other, name] : {std::pair{"from", "role"}, std::pair{"value", "content"}}) {
    if (!turn.contains(other) || turn.contains(name)) continue;
    turn[name] = turn[other];
    turn.erase(other);
  }
  if (!is_text(turn, "role")) return invalid_argument(where + " needs a \"role\" (or \"from\") that is a text");
  std::string role = turn["role"].get<std::string>();
  for (const auto& [known, name] : kRoles) {
    if (role == known) role = name;
  }
  const bool calls = turn.contains("tool_calls") && turn["tool_calls"].is_array() && !turn["tool_calls"].empty();
  if (calls) {
    for (OrderedJson& call : turn["tool_calls"]) read_arguments(call);
  }
  const auto content = turn.find("content");
  const bool absent = content == turn.end() || content->is_null();
  if (absent && !calls) return invalid_argument(where + " (role \"" + role + "\") needs a \"content\" (or \"value\") that is a text");
  if (!absent && content->is_array()) {
    ASSIGN_OR_RETURN(turn["content"], joined_parts(*content, where));
  } else if (!absent && !content->is_string()) {
    return invalid_argument(where + " (role \"" + role + "\"): \"content\" must be a text, not " + content->type_name());
  }
  turn["role"] = role;
  return turn;
}

}  // namespace

Result<OrderedJson> read_list(const OrderedJson& value, const char* field) {
  if (value.is_null() || value.is_array()) return value.is_null() ? OrderedJson::array() : value;
  const std::string wanted = "field \"" + std::string(field) + "\" must be a list, or the JSON text of one";
  if (!value.is_string()) return invalid_argument(wanted + ", not " + value.type_name());
  const std::string& text = value.get_ref<const std::string&>();
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) return OrderedJson::array();
  auto parsed = parse_ordered_json(text, "field \"" + std::string(field) + "\"");
  if (!parsed.ok()) return invalid_argument(wanted + " (" + parsed.status().message() + ")");
  if (parsed->is_null()) return OrderedJson::array();
  if (!parsed->is_array()) return invalid_argument(wanted);
  return parsed;
}

Result<OrderedJson> read_messages(const OrderedJson& given, const char* field, const OrderedJson& system) {
  ASSIGN_OR_RETURN(const OrderedJson turns, read_list(given, field));
  if (turns.empty()) return invalid_argument("field \"" + std::string(field) + "\" has no turns");
  OrderedJson messages = OrderedJson::array();
  for (size_t i = 0; i < turns.size(); ++i) {
    ASSIGN_OR_RETURN(OrderedJson turn, read_turn(turns[i], turn_name(field, i)));
    if (i == 0 && turn["role"] != "system" && system.is_string() && !system.get_ref<const std::string&>().empty()) {
      messages.push_back({{"role", "system"}, {"content", system}});
    }
    messages.push_back(std::move(turn));
  }
  return messages;
}

Result<OrderedJson> read_tools(const OrderedJson& row) {
  const auto found = row.find("tools");
  ASSIGN_OR_RETURN(OrderedJson tools, read_list(found == row.end() ? OrderedJson(nullptr) : *found, "tools"));
  for (OrderedJson& tool : tools) {
    if (tool.is_string()) {
      ASSIGN_OR_RETURN(tool, parse_ordered_json(tool.get<std::string>(), "an entry of \"tools\""));
    }
    if (!tool.is_object()) return invalid_argument("an entry of \"tools\" must be an object, or the JSON text of one");
  }
  return tools.empty() ? OrderedJson(nullptr) : tools;
}

}  // namespace umbel::data
