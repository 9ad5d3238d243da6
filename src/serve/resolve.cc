#include "serve/resolve.h"

#include "base/nearest.h"
#include "serve/keys/access.h"

namespace umbel::serve {
namespace {

constexpr size_t kNameShownMax = 100;  // of a name that nobody knows; longer ones have no near misses

Refusal unknown_model(const ServeParts& parts, const Caller& caller, const std::string& name) {
  std::string message = "there is no model or adapter `" + name.substr(0, kNameShownMax) + "`";
  std::vector<std::string> known;
  if (may_use_base(caller)) known.push_back(parts.model.name);
  if (name.size() <= kNameShownMax && parts.library != nullptr) {
    for (const AdapterInfo& info : parts.library->list()) {
      if (info.state != AdapterState::kFailed && may_use_adapter(caller, info.id.name)) known.push_back(info.id.name);
    }
  }
  const std::string meant = name.size() <= kNameShownMax ? nearest_name(name, known) : "";
  if (!meant.empty()) message += "; did you mean `" + meant + "`?";
  return {.status = not_found(message + " (GET /v1/models lists them)"), .field = kModelField};
}

// OpenAI's newer name of the system role; most templates know the older one only.
ChatInput with_known_roles(const ChatInput& chat, const ChatTemplate& chat_template) {
  ChatInput known = chat;
  if (chat_template.source().find("developer") != std::string::npos) return known;
  for (OrderedJson& message : known.messages) {
    if (message["role"] == "developer") message["role"] = "system";
  }
  return known;
}

}  // namespace

Outcome<ResolvedModel> resolve_model(const Shared& shared, const Caller& caller, const std::string& name) {
  const ServeParts& parts = shared.parts;
  ResolvedModel made{.identity = {.model = name.empty() ? parts.model.name : name},
                     .words = shared.tokenizers.base(),
                     .end_ids = parts.model.eos_ids};
  Identity& identity = made.identity;
  const bool base = parts.model.is_called(identity.model);
  if (base && may_use_base(caller)) return made;
  if (base || parts.library == nullptr) return unknown_model(parts, caller, identity.model);
  Result<AdapterRef> found = parts.library->resolve(identity.model);
  const AdapterInfo info = found.ok() ? parts.library->info(*found) : AdapterInfo();
  const std::string& adapter = found.ok() ? info.id.name : identity.model;  // NAME@VERSION is there for whoever may use NAME
  if (!may_use_adapter(caller, adapter)) return unknown_model(parts, caller, identity.model);
  if (!found.ok() && found.status().code() == Code::kNotFound) return unknown_model(parts, caller, identity.model);
  if (!found.ok()) {
    return without_folders(Refusal{.status = found.status(), .field = kModelField}, parts.hidden_folders);
  }
  made.ref = *found;
  made.info = info;
  identity.adapter = adapter;
  identity.version = static_cast<int64_t>(info.id.version);
  identity.digest = info.id.digest;
  const auto unusable = [&](const Status& status) {
    return without_folders(adapter_refusal(status.with_context("adapter \"" + identity.adapter + "\"")), parts.hidden_folders);
  };
  Result<std::shared_ptr<const TokenTexts>> words = shared.tokenizers.find(made.info);
  if (!words.ok()) return unusable(words.status());
  made.words = std::move(*words);
  Result<std::vector<TokenId>> end_ids = shared.end_tokens.find(made.info, *made.words->tokenizer());
  if (!end_ids.ok()) return unusable(end_ids.status());
  made.end_ids = std::move(*end_ids);
  return made;
}

Result<std::string> render_chat(const Shared& shared, const ResolvedModel& model, const ChatInput& chat) {
  ASSIGN_OR_RETURN(const auto chat_template, shared.templates.find(model.ref == nullptr ? nullptr : &model.info));
  ASSIGN_OR_RETURN(ChatText text, chat_template->render(with_known_roles(chat, *chat_template)));
  return std::move(text.text);
}

}  // namespace umbel::serve
