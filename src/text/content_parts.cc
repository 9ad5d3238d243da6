#include "text/content_parts.h"

namespace umbel {
namespace {

bool is_text(const OrderedJson& part, const char* name) {
  const auto found = part.find(name);
  return found != part.end() && found->is_string();
}

// Why the part is none, with what is behind its place.
struct PartProblem {
  Status status;
  const char* field = "";
};

PartProblem problem_of(const OrderedJson& part, PartForms forms) {
  const bool loose = forms == PartForms::kLoose;
  if (loose && part.is_string()) return {};
  if (!part.is_object() || (!loose && !is_text(part, "type"))) return {invalid_argument("must be an object with a \"type\"")};
  if (part.contains("type") && part["type"] != "text") {
    return {unsupported("other than \"text\" is not supported: this model reads text only"), ".type"};
  }
  if (!is_text(part, "text")) return {invalid_argument("must be a string"), ".text"};
  return {};
}

}  // namespace

JoinedContent join_content_parts(const OrderedJson& parts, PartForms forms) {
  JoinedContent joined;
  for (size_t i = 0; i < parts.size(); ++i) {
    const OrderedJson& part = parts[i];
    PartProblem problem = problem_of(part, forms);
    if (!problem.status.ok()) {
      joined.status = std::move(problem.status);
      joined.at = "[" + std::to_string(i) + "]" + problem.field;
      if (part.is_object() && is_text(part, "type")) joined.type = part["type"].get<std::string>();
      return joined;
    }
    if (i > 0) joined.text += '\n';
    joined.text += (part.is_string() ? part : part["text"]).get_ref<const std::string&>();
  }
  return joined;
}

}  // namespace umbel
