// umbel chat: a conversation on the terminal, through the chat template of the base or of the adapter's own folder.
#include <cstdio>
#include <iostream>

#include "apps/answer.h"
#include "apps/exit.h"
#include "apps/verb.h"
#include "text/template_workers.h"

namespace umbel::apps {
namespace {

constexpr const char* kFooter = R"(
Examples:
  umbel chat seedling --system "You are brief."
  umbel chat MODEL --adapter my-adapter --adapters ./adapters --temperature 0.7
  echo "Hello" | umbel chat seedling --json
At the prompt: /reset forgets the conversation, /quit (or end of input) leaves.)";

struct Flags {
  ModelFlags model;
  EngineFlags engine;
  SamplingFlags sampling;
  std::string adapter;
  std::string system;
  bool json = false;
};

// The adapter folder's own template wins over the base's.
Result<std::shared_ptr<const ChatTemplate>> choose_template(Workshop& shop, const std::string& adapter) {
  for (const AdapterInfo& info : shop.library->list()) {
    if (info.id.name != adapter || info.chat_template_dir.empty()) continue;
    ASSIGN_OR_RETURN(FolderReader folder, FolderReader::open(info.place));
    ASSIGN_OR_RETURN(const auto own,
                     TemplateWorkers::create({})->find("the adapter's", text_files_of(std::move(folder)), *shop.base.tokenizer));
    if (own != nullptr) return own;
  }
  if (shop.base.chat_template) return shop.base.chat_template;
  return not_found("the checkpoint has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json); "
                   "use \"umbel generate\" for plain prompts");
}

Json first_messages(const Flags& flags) {
  Json messages = Json::array();
  if (!flags.system.empty()) messages.push_back({{"role", "system"}, {"content", flags.system}});
  return messages;
}

Result<AnswerResult> take_turn(Workshop& shop, const ChatTemplate& chat_template, const Flags& flags,
                               const Json& messages) {
  ASSIGN_OR_RETURN(const ChatText text, chat_template.render({.messages = messages}));
  // The template writes BOS itself.
  ASSIGN_OR_RETURN(const auto tokenizer, tokenizer_of(shop, flags.adapter));
  ASSIGN_OR_RETURN(std::vector<TokenId> ids, tokenizer->encode(text.text, /*add_special=*/false));
  ASSIGN_OR_RETURN(const Asked asked, ask(shop, std::move(ids), flags.adapter, flags.sampling));
  const auto show = [](const std::string& piece) { std::cout << piece << std::flush; };
  return read_answer(asked, flags.sampling.stop, flags.json ? nullptr : std::function<void(const std::string&)>(show));
}

Status run_chat(Flags flags) {
  ASSIGN_OR_RETURN(flags.adapter, resolve_adapter_flag(flags.adapter, flags.engine));
  ASSIGN_OR_RETURN(Workshop shop, open_workshop(flags.model, flags.engine, /*watch=*/false));
  ASSIGN_OR_RETURN(const auto chat_template, choose_template(shop, flags.adapter));
  Json messages = first_messages(flags);
  std::string line;
  while (true) {
    if (!flags.json) std::cout << "> " << std::flush;
    if (!std::getline(std::cin, line) || line == "/quit") break;
    if (line.empty()) continue;
    if (line == "/reset") {
      messages = first_messages(flags);
      continue;
    }
    messages.push_back({{"role", "user"}, {"content", line}});
    ASSIGN_OR_RETURN(const AnswerResult answer, take_turn(shop, *chat_template, flags, messages));
    messages.push_back({{"role", "assistant"}, {"content", answer.text}});
    if (flags.json) {
      std::cout << messages.back().dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
    } else {
      std::cout << std::endl;
    }
  }
  return ok_status();
}

}  // namespace

void add_chat(CLI::App& program, Run& run) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = program.add_subcommand("chat", "talk to the base or an adapter on the terminal");
  flags->model.declare(*verb);
  flags->engine.declare(*verb);
  flags->sampling.declare(*verb);
  verb->add_option("--adapter", flags->adapter, "an adapter's folder, or its name inside --adapters");
  verb->add_option("--system", flags->system, "system message");
  verb->add_flag("--json", flags->json, "one JSON message per answer, no prompt sign");
  verb->footer(kFooter);
  verb->callback([flags, &run] { run = [flags] { return finish(run_chat(*flags)); }; });
}

}  // namespace umbel::apps
