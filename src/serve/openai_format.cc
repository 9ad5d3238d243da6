#include "serve/openai_format.h"

#include <algorithm>
#include <cmath>
#include <ctime>

#include "serve/unicode.h"

namespace umbel::serve {
namespace {

// JSON has no infinity; OpenAI's own stand-in for "impossible" is -9999.
double finite_logprob(float logprob) { return std::isfinite(logprob) ? logprob : -9999.0; }

Json byte_list(const std::string& bytes) {
  Json list = Json::array();
  for (char c : bytes) list.push_back(static_cast<int>(static_cast<unsigned char>(c)));
  return list;
}

Json chat_token(TokenId id, float logprob, const TokenTexts& texts) {
  return {{"token", texts.text(id)}, {"logprob", finite_logprob(logprob)}, {"bytes", byte_list(texts.bytes(id))}};
}

// {text: logprob}: the best ones and the token itself. Two tokens of equal text keep the likelier.
Json top_by_text(const TokenLogprobs& entry, const TokenTexts& texts) {
  Json top = Json::object();
  const auto add = [&](TokenId id, float logprob) {
    const std::string text = texts.text(id);
    const double value = finite_logprob(logprob);
    if (!top.contains(text) || top[text].get<double>() < value) top[text] = value;
  };
  for (const auto& [id, logprob] : entry.top) add(id, logprob);
  add(entry.token, entry.logprob);
  return top;
}

Json stop_reason(const Answer& answer) {
  if (!answer.stop_string.empty()) return answer.stop_string;
  if (answer.finish == FinishReason::kStop && !answer.tokens.empty()) return answer.tokens.back().id;
  return nullptr;
}

void add_fingerprint(Json& body) { body["system_fingerprint"] = "umbel"; }

}  // namespace

AnswerHead answer_head(const Generation& generation, bool chat) {
  return {.id = (chat ? "chatcmpl-" : "cmpl-") + random_hex(24),
          .created = static_cast<int64_t>(std::time(nullptr)),
          .model = generation.model(),
          .chat = chat};
}

const char* openai_finish(FinishReason reason) { return reason == FinishReason::kLength ? "length" : "stop"; }

std::span<const AnswerToken> visible_tokens(const Answer& answer) {
  std::span<const AnswerToken> tokens = answer.tokens;
  if (answer.stop_string.empty()) return tokens;
  size_t count = tokens.size();
  while (count > 0 && tokens[count - 1].text_begin >= answer.text.size()) --count;
  return tokens.first(count);
}

Json token_ids(std::span<const AnswerToken> tokens) {
  Json ids = Json::array();
  for (const AnswerToken& token : tokens) ids.push_back(token.id);
  return ids;
}

Json completion_logprobs(const LogprobSource& source, const TokenTexts& texts) {
  Json tokens = Json::array(), logprobs = Json::array(), top = Json::array(), offsets = Json::array();
  size_t offset = source.offset;
  const auto add = [&](TokenId id, const TokenLogprobs* entry) {
    tokens.push_back(texts.text(id));
    offsets.push_back(offset);
    offset += code_points(texts.bytes(id));
    logprobs.push_back(entry == nullptr ? Json(nullptr) : Json(finite_logprob(entry->logprob)));
    top.push_back(entry == nullptr ? Json(nullptr) : top_by_text(*entry, texts));
  };
  for (size_t i = 0; i < source.prompt.size(); ++i) {
    const bool known = i > 0 && i - 1 < source.prompt_logprobs.size();
    add(source.prompt[i], known ? &source.prompt_logprobs[i - 1] : nullptr);
  }
  for (const AnswerToken& token : source.tokens) add(token.id, token.logprobs ? &*token.logprobs : nullptr);
  return {{"tokens", tokens}, {"token_logprobs", logprobs}, {"top_logprobs", top}, {"text_offset", offsets}};
}

Json chat_logprobs(std::span<const AnswerToken> tokens, const TokenTexts& texts) {
  Json content = Json::array();
  for (const AnswerToken& token : tokens) {
    if (!token.logprobs) continue;
    Json entry = chat_token(token.id, token.logprobs->logprob, texts);
    entry["top_logprobs"] = Json::array();
    for (const auto& [id, logprob] : token.logprobs->top)
      entry["top_logprobs"].push_back(chat_token(id, logprob, texts));
    content.push_back(std::move(entry));
  }
  return {{"content", content}, {"refusal", nullptr}};
}

Json completion_body(const AnswerHead& head, const Ask& ask, const Generation& generation, const TokenTexts& texts) {
  Json choices = Json::array();
  for (size_t choice : generation.returned(ask)) {
    const Answer& answer = generation.answer(choice);
    Json entry = {{"index", choices.size()},
                  {"text", (ask.echo ? generation.prompt_text(choice) : "") + answer.text},
                  {"finish_reason", openai_finish(answer.finish)},
                  {"stop_reason", stop_reason(answer)},
                  {"logprobs", nullptr}};
    if (ask.logprobs >= 0) {
      LogprobSource source{.tokens = visible_tokens(answer)};
      if (ask.echo) {
        source.prompt = generation.prompt(choice);
        source.prompt_logprobs = answer.prompt_logprobs;
      }
      entry["logprobs"] = completion_logprobs(source, texts);
    }
    if (ask.return_token_ids) {
      entry["token_ids"] = token_ids(answer.tokens);
      entry["prompt_token_ids"] = generation.prompt(choice);
    }
    choices.push_back(std::move(entry));
  }
  Json body = {{"id", head.id},       {"object", "text_completion"}, {"created", head.created},
               {"model", head.model}, {"choices", choices},          {"usage", generation.usage()}};
  add_fingerprint(body);
  return body;
}

Json chat_body(const AnswerHead& head, const Ask& ask, const Generation& generation, const TokenTexts& texts) {
  Json choices = Json::array();
  for (size_t choice : generation.returned(ask)) {
    const Answer& answer = generation.answer(choice);
    Json entry = {{"index", choices.size()},
                  {"message", {{"role", "assistant"}, {"content", answer.text}, {"refusal", nullptr}}},
                  {"finish_reason", openai_finish(answer.finish)},
                  {"stop_reason", stop_reason(answer)},
                  {"logprobs", nullptr}};
    if (ask.logprobs >= 0) entry["logprobs"] = chat_logprobs(visible_tokens(answer), texts);
    if (ask.return_token_ids) entry["token_ids"] = token_ids(answer.tokens);
    choices.push_back(std::move(entry));
  }
  Json body = {{"id", head.id},       {"object", "chat.completion"}, {"created", head.created},
               {"model", head.model}, {"choices", choices},          {"usage", generation.usage()}};
  if (ask.return_token_ids) body["prompt_token_ids"] = generation.prompt(0);
  add_fingerprint(body);
  return body;
}

Json chunk_frame(const AnswerHead& head, const Ask& ask) {
  Json chunk = {{"id", head.id},
                {"object", head.chat ? "chat.completion.chunk" : "text_completion"},
                {"created", head.created},
                {"model", head.model},
                {"choices", Json::array()}};
  if (ask.include_usage) chunk["usage"] = nullptr;
  add_fingerprint(chunk);
  return chunk;
}

}  // namespace umbel::serve
