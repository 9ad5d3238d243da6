#include "serve/openai_request.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "engine/sampling_defaults.h"
#include "io/sha256.h"
#include "text/content_parts.h"

namespace umbel::serve {
namespace {

constexpr int32_t kIntMax = std::numeric_limits<int32_t>::max();
constexpr size_t kCacheSaltMax = 4096;
constexpr size_t kPromptFieldsMax = 1000;  // names of one row
constexpr int32_t kCompletionTokens = 16;  // OpenAI's default for completions

// {"50256": -100}: token ids as text. Ids outside the vocabulary are the engine's to refuse, with the vocabulary's
// size.
void parse_logit_bias(Fields& fields, const RequestLimits& limits, Ask& ask) {
  const Json* bias = fields.find("logit_bias");
  if (bias == nullptr) return;
  if (!bias->is_object())
    return fields.fail("logit_bias", std::string("must be an object of token id to number, not ") + type_name(*bias));
  if (!fields.check_count("logit_bias", bias->size(), limits.logit_bias_max)) return;
  for (const auto& [key, value] : bias->items()) {
    const bool digits = !key.empty() && key.size() <= 9 && key.find_first_not_of("0123456789") == std::string::npos;
    if (!digits) return fields.fail("logit_bias", "must have token ids as its keys");
    if (!value.is_number() || !(value.get<double>() >= -100.0 && value.get<double>() <= 100.0)) {
      return fields.fail("logit_bias", "must have numbers from -100 to 100 as its values");
    }
    ask.sampling.logit_bias.emplace_back(std::atoi(key.c_str()), value.get<float>());
  }
}

// Any whole number is a seed; a negative one stands for its two's complement.
void parse_seed(Fields& fields, Ask& ask) {
  const Json* seed = fields.find("seed");
  if (seed == nullptr) return;
  if (seed->is_number_unsigned())
    ask.sampling.seed = seed->get<uint64_t>();
  else if (const auto number = whole_number(*seed))  // 5.0 too
    ask.sampling.seed = static_cast<uint64_t>(*number);
  else
    return fields.fail("seed", std::string("must be an integer of 64 bits, not ") +
                                   (seed->is_number() ? "a fraction or larger" : type_name(*seed)));
  ask.seeded = true;
}

void parse_sampling(Fields& fields, const SamplingDefaults& defaults, const RequestLimits& limits, Ask& ask) {
  SamplingParams& sampling = ask.sampling;
  sampling = default_sampling(defaults, Unsaid::kSampled);
  const auto read = [&](const char* name, Fields::Range range, float& value) {
    if (const auto given = fields.number(name, range)) value = static_cast<float>(*given);
  };
  read("temperature", {0, 100}, sampling.temperature);
  read("top_p", {0, 1}, sampling.top_p);
  read("min_p", {0, 1}, sampling.min_p);
  read("typical_p", {0, 1, true}, sampling.typical_p);
  read("repetition_penalty", {0, 100, true}, sampling.repetition_penalty);
  read("presence_penalty", {-2, 2}, sampling.presence_penalty);
  read("frequency_penalty", {-2, 2}, sampling.frequency_penalty);
  if (const auto top_k = fields.integer("top_k", -1, kIntMax)) sampling.top_k = static_cast<int32_t>(std::max<int64_t>(0, *top_k));
  if (sampling.top_p == 0.0f) {  // OpenAI allows it: only the likeliest token is left
    sampling.top_p = 1.0f;
    sampling.top_k = 1;
  }
  parse_logit_bias(fields, limits, ask);
  parse_seed(fields, ask);
}

void parse_ends(Fields& fields, const ServeOptions& options, Ask& ask) {
  ask.stops = fields.strings("stop", stop_limits(options.request));
  ask.stop_ids = fields.ids("stop_token_ids", options.request.stop_ids_max);
  ask.include_stop = fields.boolean("include_stop_str_in_output").value_or(false);
  ask.ignore_eos = fields.boolean("ignore_eos").value_or(false);
  ask.min_tokens = static_cast<int32_t>(fields.integer("min_tokens", 0, kIntMax).value_or(0));
  ask.skip_special = fields.boolean("skip_special_tokens").value_or(true);
  if (const auto last = fields.integer("truncate_prompt_tokens", 1, kIntMax))
    ask.truncate = static_cast<int32_t>(*last);
  if (ask.max_tokens && ask.min_tokens > *ask.max_tokens) {
    fields.fail("min_tokens", "(" + std::to_string(ask.min_tokens) + ") is larger than `max_tokens` (" +
                                  std::to_string(*ask.max_tokens) + ")");
  }
}

void parse_stream(Fields& fields, Ask& ask) {
  ask.stream = fields.boolean("stream").value_or(false);
  const Json* stream_options = fields.find("stream_options");
  if (stream_options == nullptr) return;
  if (!stream_options->is_object())
    return fields.fail("stream_options", std::string("must be an object, not ") + type_name(*stream_options));
  if (!ask.stream) return fields.fail("stream_options", "is allowed only together with \"stream\": true");
  Fields inner(*stream_options, "stream_options.");
  ask.include_usage = inner.boolean("include_usage").value_or(false);
  ask.continuous_usage = inner.boolean("continuous_usage_stats").value_or(false);
  if (!inner.ok()) fields.fail(inner.param(), inner.status().message().substr(inner.param().size() + 3));
}

// vLLM's field: any text; the engine is given its digest.
void parse_cache_salt(Fields& fields, Ask& ask) {
  const auto salt = fields.string("cache_salt");
  if (!salt) return;
  if (salt->empty()) return fields.fail("cache_salt", "is empty: give a text that others can't guess, or leave it out");
  if (salt->size() > kCacheSaltMax) {
    return fields.fail("cache_salt", "has " + std::to_string(salt->size()) + " bytes; at most " +
                                         std::to_string(kCacheSaltMax) + " are allowed");
  }
  Sha256 digest;
  digest.add_text(*salt);
  ask.cache_salt = digest.hex();
}

void parse_common(Fields& fields, const ServeParts& parts, const ServeOptions& options, Ask& ask) {
  ask.model = fields.string("model").value_or("");
  parse_sampling(fields, parts.defaults, options.request, ask);
  parse_ends(fields, options, ask);
  parse_stream(fields, ask);
  ask.n = static_cast<int32_t>(fields.integer("n", 1, options.request.choices_max).value_or(1));
  ask.return_token_ids = fields.boolean("return_token_ids").value_or(false);
  parse_cache_salt(fields, ask);
  // What every client may send and nothing here depends on.
  fields.ignore({"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
                 "prompt_cache_retention", "spaces_between_special_tokens", "detokenize"});
  fields.refuse({"guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "grammar",
                 "json_schema", "use_beam_search", "logits_processors", "bad_words", "allowed_token_ids",
                 "lora_request", "adapters", "merged_adapters", "watermark"},
                "is not supported by this server yet; leave it out");
}

// {"type": "text"} asks for what is done anyway.
void refuse_response_format(Fields& fields) {
  const Json* format = fields.find("response_format");
  if (format == nullptr) return;
  if (format->is_object() && format->contains("type") && (*format)["type"] == "text") return;
  fields.fail(Code::kUnsupported, "response_format",
              "other than {\"type\": \"text\"} is not supported by this server yet; leave it out");
}

// One id list: every entry a number. nullopt after a failure.
std::optional<std::vector<TokenId>> id_list(Fields& fields, const Json& list, const std::string& name) {
  std::vector<TokenId> ids;
  ids.reserve(list.size());
  for (const Json& entry : list) {
    const bool whole = entry.is_number_integer() && (!entry.is_number_unsigned() || entry.get<uint64_t>() <= kIntMax);
    if (!whole || entry.get<int64_t>() < 0 || entry.get<int64_t>() > kIntMax) {
      fields.fail(name, "must hold token ids only (whole numbers from 0 on) when its first entry is a number");
      return std::nullopt;
    }
    ids.push_back(entry.get<TokenId>());
  }
  return ids;
}

// The adapter's own template (docs/serving.md): an object of its fields, or a list of such objects.
void parse_prompt_fields(Fields& fields, const ServeOptions& options, Ask& ask) {
  ask.fill_template = fields.boolean("template").value_or(false);
  const Json* rows = fields.find("prompt_fields");
  if (rows == nullptr) return;
  const Json one = rows->is_object() ? Json::array({*rows}) : Json();
  const Json& list = rows->is_object() ? one : *rows;
  const bool objects = list.is_array() && !list.empty() && std::all_of(list.begin(), list.end(), [](const Json& row) { return row.is_object(); });
  if (!objects) return fields.fail("prompt_fields", "must be an object of the adapter's fields, or a list of such objects");
  if (!fields.check_count("prompt_fields", list.size(), static_cast<size_t>(options.request.choices_max))) return;
  for (const Json& row : list) {
    if (!fields.check_count("prompt_fields", row.size(), kPromptFieldsMax)) return;
    ask.prompt_rows.emplace_back(row);
  }
  ask.prompt_field = "prompt_fields";
  ask.fill_template = false;  // it is, by its own fields
}

// Text, a list of texts, a list of ids, or a list of lists of ids.
void parse_prompts(Fields& fields, const ServeOptions& options, Ask& ask) {
  const Json* prompt = fields.find("prompt");
  if (!ask.prompt_rows.empty()) {
    if (prompt != nullptr) fields.fail("prompt", "is given together with `prompt_fields`; give one of them");
    return;
  }
  if (prompt == nullptr) return fields.fail("prompt", "is missing");
  if (prompt->is_string()) {
    ask.prompts.emplace_back(prompt->get<std::string>());
    return;
  }
  if (!prompt->is_array())
    return fields.fail(
        "prompt", std::string("must be a text, a list of texts, a list of token ids or a list of such lists, not ") +
                      type_name(*prompt));
  if (prompt->empty()) return fields.fail("prompt", "is an empty list");
  if ((*prompt)[0].is_number()) {
    if (auto ids = id_list(fields, *prompt, "prompt")) ask.prompts.emplace_back(std::move(*ids));
    return;
  }
  if (!fields.check_count("prompt", prompt->size(), static_cast<size_t>(options.request.choices_max))) return;
  for (size_t i = 0; i < prompt->size(); ++i) {
    const Json& entry = (*prompt)[i];
    const std::string name = "prompt[" + std::to_string(i) + "]";
    if (entry.is_string()) {
      ask.prompts.emplace_back(entry.get<std::string>());
    } else if (entry.is_array()) {
      if (entry.empty()) return fields.fail(name, "is an empty list");
      auto ids = id_list(fields, entry, name);
      if (!ids) return;
      ask.prompts.emplace_back(std::move(*ids));
    } else {
      return fields.fail(name, std::string("must be a text or a list of token ids, not ") + type_name(entry));
    }
  }
}

// Takes the same field, with its names in the order they were sent, out of the body.
OrderedJson in_order(OrderedJson& ordered, const char* name, const Json& sorted) {
  const auto found = ordered.find(name);
  return found == ordered.end() ? OrderedJson(sorted) : std::move(*found);
}

// A message's content: text, a list of text parts (joined by newlines), or nothing.
bool check_content(Fields& fields, const RequestLimits& limits, OrderedJson& message, const std::string& where) {
  if (!message.contains("content") || message["content"].is_null()) {
    if (message["role"] == "assistant")
      message["content"] = "";
    else
      fields.fail(where + ".content", "is missing");
    return fields.ok();
  }
  OrderedJson& content = message["content"];
  if (content.is_string()) return true;
  if (!content.is_array()) {
    fields.fail(where + ".content", std::string("must be a text or a list of parts, not ") + type_name(content));
    return false;
  }
  if (!fields.check_count(where + ".content", content.size(), limits.content_parts_max)) return false;
  JoinedContent joined = join_content_parts(content, PartForms::kTyped);
  if (!joined.status.ok()) {
    fields.fail(joined.status.code(), where + ".content" + joined.at, joined.status.message());
    return false;
  }
  content = std::move(joined.text);
  return true;
}

void parse_messages(Fields& fields, OrderedJson& ordered, const RequestLimits& limits, ChatInput& chat) {
  const Json* messages = fields.find("messages");
  if (messages == nullptr) return fields.fail("messages", "is missing");
  if (!messages->is_array()) return fields.fail("messages", std::string("must be a list, not ") + type_name(*messages));
  if (messages->empty()) return fields.fail("messages", "is an empty list");
  if (!fields.check_count("messages", messages->size(), limits.messages_max)) return;
  chat.messages = in_order(ordered, "messages", *messages);
  for (size_t i = 0; i < chat.messages.size(); ++i) {
    OrderedJson& message = chat.messages[i];
    const std::string where = "messages[" + std::to_string(i) + "]";
    if (!message.is_object()) return fields.fail(where, std::string("must be an object, not ") + type_name(message));
    if (!message.contains("role") || !message["role"].is_string())
      return fields.fail(where + ".role", "must be a string");
    for (const char* name : {"tool_calls", "function_call", "audio"}) {
      if (message.contains(name) && !message[name].is_null() && !message[name].empty()) {
        return fields.fail(Code::kUnsupported, where + "." + name, "is not supported by this server yet; leave it out");
      }
    }
    if (!check_content(fields, limits, message, where)) return;
  }
}

void refuse_chat_features(Fields& fields) {
  refuse_response_format(fields);
  const Json* choice = fields.find("tool_choice");
  if (choice != nullptr && *choice != "none" && *choice != "auto") {
    fields.fail(Code::kUnsupported, "tool_choice", "is not supported by this server yet; leave it out");
  }
  const Json* modalities = fields.find("modalities");
  if (modalities != nullptr && *modalities != Json::array({"text"})) {
    fields.fail(Code::kUnsupported, "modalities",
                "other than [\"text\"] is not supported: this model writes text only");
  }
  fields.refuse({"tools", "functions", "function_call", "audio", "prediction", "web_search_options", "reasoning_effort",
                 "verbosity", "continue_final_message", "chat_template", "echo", "best_of", "prompt_logprobs",
                 "mm_processor_kwargs"},
                "is not supported by this server yet; leave it out");
  fields.ignore({"parallel_tool_calls", "add_special_tokens"});
}

}  // namespace

Ask parse_completion(Fields& fields, const ServeParts& parts, const ServeOptions& options) {
  Ask ask;
  ask.default_max_tokens = kCompletionTokens;
  if (const auto most = fields.integer("max_tokens", 0, kIntMax)) ask.max_tokens = static_cast<int32_t>(*most);
  parse_prompt_fields(fields, options, ask);
  parse_prompts(fields, options, ask);
  parse_common(fields, parts, options, ask);
  ask.echo = fields.boolean("echo").value_or(false);
  if (const auto count = fields.integer("logprobs", 0, options.request.logprobs_max))
    ask.logprobs = static_cast<int32_t>(*count);
  if (ask.echo && ask.logprobs >= 0) ask.prompt_logprobs = ask.logprobs;
  ask.best_of = static_cast<int32_t>(fields.integer("best_of", 1, options.request.best_of_max).value_or(ask.n));
  if (fields.ok() && ask.best_of < ask.n)
    fields.fail("best_of", "(" + std::to_string(ask.best_of) + ") is less than `n` (" + std::to_string(ask.n) + ")");
  if (ask.best_of > ask.n && ask.stream) fields.fail("best_of", "larger than `n` can't be streamed");
  refuse_response_format(fields);
  fields.refuse({"suffix", "prompt_logprobs", "prompt_embeds"}, "is not supported by this server yet; leave it out");
  return ask;
}

std::vector<std::string> completion_fields(const ServeParts& parts, const ServeOptions& options) {
  const Json empty = Json::object();
  Fields fields(empty);
  (void)parse_completion(fields, parts, options);
  return fields.read();
}

std::vector<std::string> chat_fields(const ServeParts& parts, const ServeOptions& options) {
  const Json empty = Json::object();
  Fields fields(empty);
  (void)parse_chat(fields, OrderedJson::object(), parts, options);
  return fields.read();
}

ChatInput parse_chat_input(Fields& fields, OrderedJson ordered, const RequestLimits& limits) {
  ChatInput chat;
  parse_messages(fields, ordered, limits, chat);
  chat.add_generation_prompt = fields.boolean("add_generation_prompt").value_or(true);
  if (const Json* extra = fields.find("chat_template_kwargs")) {
    if (extra->is_object())
      chat.extra = in_order(ordered, "chat_template_kwargs", *extra);
    else
      fields.fail("chat_template_kwargs", std::string("must be an object, not ") + type_name(*extra));
  }
  if (const Json* documents = fields.find("documents")) {
    if (documents->is_array())
      chat.documents = in_order(ordered, "documents", *documents);
    else
      fields.fail("documents", std::string("must be a list, not ") + type_name(*documents));
  }
  return chat;
}

Ask parse_chat(Fields& fields, OrderedJson ordered, const ServeParts& parts, const ServeOptions& options) {
  Ask ask;
  ask.prompt_field = "messages";
  ChatInput chat = parse_chat_input(fields, std::move(ordered), options.request);
  const auto most = fields.integer("max_completion_tokens", 1, kIntMax);
  const auto most_by_old_name = fields.integer("max_tokens", 1, kIntMax);
  if (most) ask.max_tokens_field = "max_completion_tokens";
  if (most || most_by_old_name) ask.max_tokens = static_cast<int32_t>(most ? *most : *most_by_old_name);
  parse_common(fields, parts, options, ask);
  ask.best_of = ask.n;
  ask.chat_anyway = !fields.boolean("template").value_or(true);
  const bool logprobs = fields.boolean("logprobs").value_or(false);
  const auto top = fields.integer("top_logprobs", 0, options.request.logprobs_max);
  if (top.value_or(0) > 0 && !logprobs) fields.fail("top_logprobs", "is allowed only together with \"logprobs\": true");
  if (logprobs) ask.logprobs = static_cast<int32_t>(top.value_or(0));
  refuse_chat_features(fields);
  ask.chat = std::move(chat);
  return ask;
}

}  // namespace umbel::serve
