#include "serve/openai_format.h"

#include <algorithm>
#include <cmath>
#include <ctime>

#include "base/utf8.h"

namespace umbel::serve {
namespace {

constexpr size_t kPieceBytes = size_t{32} << 10;

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

}  // namespace

AnswerHead answer_head(const Generation& generation, AnswerShape shape) {
  return {.id = (shape == AnswerShape::kChat ? "chatcmpl-" : "cmpl-") + random_hex(24),
          .created = static_cast<int64_t>(std::time(nullptr)),
          .model = generation.identity().model,
          .fingerprint = system_fingerprint(generation.base(), generation.identity()),
          .shape = shape};
}

const char* openai_finish(FinishReason reason) { return reason == FinishReason::kLength ? "length" : "stop"; }

std::span<const AnswerToken> visible_tokens(const Answer& answer, std::span<const AnswerToken> tokens) {
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

LogprobSource prompt_source(const Generation& generation, size_t choice) {
  return {.prompt = generation.prompt(choice),
          .prompt_logprobs = generation.answer(choice).prompt_logprobs,
          .prompt_offsets = generation.prompt_offsets(choice)};
}

Json completion_logprobs(const LogprobSource& source, const TokenTexts& texts) {
  Json tokens = Json::array(), logprobs = Json::array(), top = Json::array(), offsets = Json::array();
  const auto add = [&](TokenId id, size_t offset, const TokenLogprobs* entry) {
    tokens.push_back(texts.text(id));
    offsets.push_back(offset);
    logprobs.push_back(entry == nullptr ? Json(nullptr) : Json(finite_logprob(entry->logprob)));
    top.push_back(entry == nullptr ? Json(nullptr) : top_by_text(*entry, texts));
  };
  for (size_t i = 0; i < source.prompt.size(); ++i) {
    const bool known = i > 0 && i - 1 < source.prompt_logprobs.size();
    const size_t offset = i < source.prompt_offsets.size() ? source.prompt_offsets[i] : 0;
    add(source.prompt[i], offset, known ? &source.prompt_logprobs[i - 1] : nullptr);
  }
  size_t offset = source.offset;
  for (const AnswerToken& token : source.tokens) {
    add(token.id, offset, token.logprobs ? &*token.logprobs : nullptr);
    offset += utf8_count(token.text);
  }
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

BodyWriter::BodyWriter(const AnswerHead& head, const Ask& ask, const Generation& generation, const TokenTexts& texts)
    : head_(head), ask_(ask), generation_(generation), texts_(texts), returned_(generation.returned(ask)) {}

Json BodyWriter::choice_json(size_t choice, size_t index) const {
  const Answer& answer = generation_.answer(choice);
  const bool echo = head_.shape == AnswerShape::kCompletion && ask_.echo;
  Json entry = {{"index", index},
                {"finish_reason", openai_finish(answer.finish)},
                {"stop_reason", stop_reason(answer)},
                {"logprobs", nullptr}};
  const std::span<const AnswerToken> shown = visible_tokens(answer, answer.tokens);
  if (head_.shape == AnswerShape::kChat) {
    entry["message"] = {{"role", "assistant"}, {"content", answer.text}, {"refusal", nullptr}};
    if (ask_.logprobs >= 0) entry["logprobs"] = chat_logprobs(shown, texts_);
  } else {
    entry["text"] = (echo ? generation_.prompt_text(choice) : "") + answer.text;
    if (ask_.logprobs >= 0) {
      LogprobSource source = echo ? prompt_source(generation_, choice) : LogprobSource();
      source.tokens = shown;
      source.offset = echo ? utf8_count(generation_.prompt_text(choice)) : 0;
      entry["logprobs"] = completion_logprobs(source, texts_);
    }
  }
  if (!ask_.return_token_ids) return entry;
  entry["token_ids"] = token_ids(answer.tokens);
  if (head_.shape == AnswerShape::kCompletion) entry["prompt_token_ids"] = generation_.prompt(choice);
  return entry;
}

NextPiece BodyWriter::step() {
  const size_t end = text_.size() + kPieceBytes;
  for (; next_ < returned_.size() && text_.size() < end; ++next_) {
    if (next_ > 0) text_ += ',';
    text_ += json_text(choice_json(returned_[next_], next_));
  }
  if (next_ < returned_.size()) return generation_.answer_bytes(returned_[next_]);
  finish();
  return std::nullopt;
}

// Everything but the choices stands behind them.
void BodyWriter::finish() {
  const bool chat = head_.shape == AnswerShape::kChat;
  Json rest = {{"id", head_.id},
               {"object", chat ? "chat.completion" : "text_completion"},
               {"created", head_.created},
               {"model", head_.model},
               {"usage", generation_.usage()}};
  if (chat && ask_.return_token_ids) rest["prompt_token_ids"] = generation_.prompt(0);
  rest["system_fingerprint"] = head_.fingerprint;
  text_ += "]," + json_text(rest).substr(1);
}

Json chunk_frame(const AnswerHead& head, const Ask& ask) {
  Json chunk = {{"id", head.id},
                {"object", head.shape == AnswerShape::kChat ? "chat.completion.chunk" : "text_completion"},
                {"created", head.created},
                {"model", head.model},
                {"choices", Json::array()}};
  if (ask.include_usage) chunk["usage"] = nullptr;
  chunk["system_fingerprint"] = head.fingerprint;
  return chunk;
}

}  // namespace umbel::serve
