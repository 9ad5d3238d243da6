#include "serve/tokenize.h"

#include "io/json.h"
#include "serve/failure.h"
#include "serve/fields.h"
#include "serve/openai_request.h"
#include "serve/resolve.h"
#include "serve/unicode.h"

namespace umbel::serve {
namespace {

HttpReply refused(Dialect dialect, const Refusal& refusal) { return error_reply(dialect, failure_of(refusal)); }

std::optional<Refusal> check_size(const Shared& shared, const std::string& text, const char* field) {
  const size_t bytes_max = static_cast<size_t>(shared.parts.engine->limits().context_max) * kTokenBytesMax;
  if (text.size() <= bytes_max) return std::nullopt;
  return Refusal{.status = Status(Code::kTooLong, std::string("`") + field + "` has " + std::to_string(text.size()) +
                                                      " bytes, which can't fit the context; at most " +
                                                      std::to_string(bytes_max) + " are tokenized"),
                 .field = field};
}

HttpReply tokenize_lorax(const Shared& shared, const Caller& caller, const Json& body) {
  Fields fields(body);
  const std::optional<std::string> inputs = fields.string("inputs");
  if (!inputs) fields.fail("inputs", "is missing");
  const bool add_special = fields.boolean("add_special_tokens").value_or(true);
  const std::string adapter = fields.string("adapter_id").value_or(fields.string("model").value_or(""));
  if (!fields.ok()) return refused(Dialect::kLorax, {.status = fields.status(), .field = fields.param()});
  if (const auto refusal = check_size(shared, *inputs, "inputs")) return refused(Dialect::kLorax, *refusal);
  Outcome<ResolvedModel> model = resolve_model(shared, caller, adapter);
  if (!model.ok()) return refused(Dialect::kLorax, model.refusal());
  const TokenTexts& words = *model->words;
  const auto spans = words.tokenizer()->encode_spans(*inputs, add_special);
  if (!spans.ok()) return refused(Dialect::kLorax, {.status = spans.status(), .field = "inputs"});
  const std::string_view text = *inputs;
  const CodePointIndex points(text);  // the tokens of one character overlap: their ends go back and forth
  std::string list = "[";             // as text at once: as values, a token takes some hundred bytes
  for (const TokenSpan& span : *spans) {
    const std::string_view piece = text.substr(span.begin, span.end - span.begin);
    const bool of_text = !piece.empty() && is_utf8(piece);
    if (list.size() > 1) list += ',';
    list += json_text({{"id", span.id},
                       {"text", of_text ? std::string(piece) : words.bytes(span.id)},
                       {"start", points.before(span.begin)},
                       {"stop", points.before(span.end)}});
  }
  return {.status = 200, .body = list + "]"};
}

// The text to tokenize: the prompt as it is, or the messages by the model's template.
Outcome<std::string> text_of(const Shared& shared, Fields& fields, OrderedJson ordered, const ResolvedModel& model) {
  if (fields.find("messages") == nullptr) {
    const std::optional<std::string> prompt = fields.string("prompt");
    if (!prompt) fields.fail("prompt", "is missing (or \"messages\", or LoRAX's \"inputs\")");
    if (!fields.ok()) return Refusal{.status = fields.status(), .field = fields.param()};
    return *prompt;
  }
  const ChatInput chat = parse_chat_input(fields, std::move(ordered), shared.options.request);
  fields.refuse({"tools", "chat_template", "continue_final_message"},
                "is not supported by this server yet; leave it out");
  if (!fields.ok()) return Refusal{.status = fields.status(), .field = fields.param()};
  Result<std::string> text = render_chat(shared, model, chat);
  if (!text.ok()) return Refusal{.status = text.status(), .field = "messages"};
  return std::move(*text);
}

HttpReply tokenize_vllm(const Shared& shared, const Caller& caller, const Json& body, OrderedJson ordered) {
  Fields fields(body);
  Outcome<ResolvedModel> model = resolve_model(shared, caller, fields.string("model").value_or(""));
  if (!model.ok()) return refused(Dialect::kOpenAi, model.refusal());
  const bool chat = fields.find("messages") != nullptr;
  const bool add_special = fields.boolean("add_special_tokens").value_or(!chat);  // a template writes its own
  const bool with_strings = fields.boolean("return_token_strs").value_or(false);
  Outcome<std::string> text = text_of(shared, fields, std::move(ordered), *model);
  if (!text.ok()) return refused(Dialect::kOpenAi, text.refusal());
  const char* const field = chat ? "messages" : "prompt";
  if (const auto refusal = check_size(shared, *text, field)) return refused(Dialect::kOpenAi, *refusal);
  const Tokenizer& tokenizer = *model->words->tokenizer();
  const auto ids = tokenizer.encode(*text, add_special);
  if (!ids.ok()) return refused(Dialect::kOpenAi, {.status = ids.status(), .field = field});
  Json reply = {{"count", ids->size()},
                {"max_model_len", shared.parts.engine->limits().context_max},
                {"tokens", *ids},
                {"token_strs", nullptr}};
  if (with_strings) {
    reply["token_strs"] = Json::array();
    for (TokenId id : *ids) reply["token_strs"].push_back(tokenizer.token(id).value_or(""));
  }
  return json_reply(200, reply);
}

}  // namespace

HttpReply answer_tokenize(const Shared& shared, const HttpRequest& request, const Caller& caller) {
  Result<OrderedJson> ordered = parse_ordered_json(request.body, "request body", kRequestJsonLimits);
  if (!ordered.ok()) return refused(Dialect::kLorax, {.status = ordered.status()});
  const Json body(*ordered);
  const bool vllm = body.is_object() && !body.contains("inputs") && (body.contains("prompt") || body.contains("messages"));
  return vllm ? tokenize_vllm(shared, caller, body, std::move(*ordered)) : tokenize_lorax(shared, caller, body);
}

HttpReply answer_detokenize(const Shared& shared, const HttpRequest& request, const Caller& caller) {
  const Result<Json> body = parse_json(request.body, "request body", JsonKeys::kLastCounts, kRequestJsonLimits);
  if (!body.ok()) return refused(Dialect::kOpenAi, {.status = body.status()});
  Fields fields(*body);
  Outcome<ResolvedModel> model = resolve_model(shared, caller, fields.string("model").value_or(""));
  if (!model.ok()) return refused(Dialect::kOpenAi, model.refusal());
  if (fields.find("tokens") == nullptr) fields.fail("tokens", "is missing");
  const std::vector<TokenId> ids =
      fields.ids("tokens", static_cast<size_t>(shared.parts.engine->limits().context_max));
  if (!fields.ok()) return refused(Dialect::kOpenAi, {.status = fields.status(), .field = fields.param()});
  const auto text = model->words->tokenizer()->decode(ids, /*skip_special=*/false);
  if (!text.ok()) return refused(Dialect::kOpenAi, {.status = text.status(), .field = "tokens"});
  return json_reply(200, {{"prompt", *text}});
}

HttpReply show_tokenizer(const Shared& shared) {
  const Tokenizer& tokenizer = *shared.parts.tokenizer;
  const auto written = [&](std::optional<TokenId> id) -> Json {
    const auto text = id ? tokenizer.token(*id) : std::nullopt;
    return text ? Json(*text) : Json(nullptr);
  };
  const auto& chat_template = shared.parts.chat_template;
  return json_reply(200, {{"tokenizer_class", "PreTrainedTokenizerFast"},  // what reads a tokenizer.json in transformers
                          {"vocab_size", tokenizer.vocab_size()},
                          {"model_max_length", shared.parts.engine->limits().context_max},
                          {"bos_token", written(tokenizer.bos())},
                          {"eos_token", written(tokenizer.eos())},
                          {"chat_template", chat_template == nullptr ? Json(nullptr) : Json(chat_template->source())},
                          {"digest", tokenizer.digest()}});
}

}  // namespace umbel::serve
