// umbel template: renders a conversation with a checkpoint's chat template.
#include <iostream>

#include "apps/base_model.h"
#include "apps/exit.h"
#include "apps/verb.h"
#include "io/json.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Examples:
  echo '[{"role": "user", "content": "Hello"}]' | umbel template seedling
  umbel template MODEL --messages talk.json --tools tools.json --no-generation-prompt --json)";

struct Flags {
  std::string model = "seedling";
  std::string messages = "-";
  std::string tools;
  bool no_generation_prompt = false;
  bool json = false;
};

// In the file's order, which templates print.
Result<OrderedJson> read_json_argument(const std::string& path) {
  if (path == "-") return parse_ordered_json(std::string(std::istreambuf_iterator<char>(std::cin), {}), "standard input");
  ASSIGN_OR_RETURN(const std::string text, read_file(path));
  return parse_ordered_json(text, path);
}

Status run_template(const Flags& flags) {
  ASSIGN_OR_RETURN(const Path dir, find_model(flags.model));
  ASSIGN_OR_RETURN(const auto chat_template, ChatTemplate::load(dir));
  ChatInput input{.add_generation_prompt = !flags.no_generation_prompt};
  ASSIGN_OR_RETURN(input.messages, read_json_argument(flags.messages));
  if (input.messages.is_object() && input.messages.contains("messages")) input.messages = OrderedJson(input.messages["messages"]);
  if (!flags.tools.empty()) {
    ASSIGN_OR_RETURN(input.tools, read_json_argument(flags.tools));
  }
  ASSIGN_OR_RETURN(const ChatText text, chat_template->render(input));
  if (!flags.json) {
    std::cout << text.text << "\n";
    return ok_status();
  }
  Json spans = Json::array();
  for (const ChatText::Span& span : text.generation) spans.push_back({{"begin", span.begin}, {"end", span.end}});
  std::cout << Json{{"text", text.text}, {"generation", spans}}.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  return ok_status();
}

}  // namespace

void add_template(CLI::App& program, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = program.add_subcommand("template", "render a conversation with the chat template");
  verb->add_option("MODEL", flags->model, "model or adapter folder with a chat template, or \"seedling\"")->capture_default_str();
  verb->add_option("--messages", flags->messages, "JSON file with the messages (\"-\": standard input)")->capture_default_str();
  verb->add_option("--tools", flags->tools, "JSON file with tool definitions");
  verb->add_flag("--no-generation-prompt", flags->no_generation_prompt, "do not open the assistant's turn");
  verb->add_flag("--json", flags->json, "text and generation spans as JSON");
  verb->footer(kFooter);
  verb->callback([flags, &run] { run = [flags] { return finish(run_template(*flags)); }; });
}

}  // namespace umbel::apps
