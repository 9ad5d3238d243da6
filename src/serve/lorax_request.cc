#include "serve/lorax_request.h"

#include <limits>

namespace umbel::serve {
namespace {

constexpr int32_t kIntMax = std::numeric_limits<int32_t>::max();

// Sampling is on when asked for, or when a parameter has a value that only sampling gives a meaning.
bool wants_sampling(bool do_sample, const SamplingParams& sampling, std::optional<double> temperature) {
  if (do_sample || sampling.top_k > 0 || sampling.top_p < 1.0f || sampling.typical_p < 1.0f) return true;
  return temperature && *temperature != 0.0 && *temperature != 1.0;
}

void parse_sampling(Fields& fields, LoraxAsk& lorax) {
  SamplingParams& sampling = lorax.ask.sampling;
  const auto number = [&](const char* name, Fields::Range range, double neutral) {
    return static_cast<float>(fields.number(name, range).value_or(neutral));
  };
  const std::optional<double> temperature = fields.number("temperature", {0, 100});
  sampling.repetition_penalty = number("repetition_penalty", {0, 100, true}, 1);
  sampling.frequency_penalty = number("frequency_penalty", {-2, 2}, 0);
  sampling.presence_penalty = number("presence_penalty", {-2, 2}, 0);
  sampling.top_k = static_cast<int32_t>(fields.integer("top_k", 1, kIntMax).value_or(0));
  sampling.top_p = number("top_p", {0, 1, true}, 1);
  sampling.typical_p = number("typical_p", {0, 1, true}, 1);
  lorax.sampled =
      wants_sampling(fields.boolean("do_sample").value_or(false), sampling, temperature) && temperature != 0.0;
  sampling.temperature = lorax.sampled ? static_cast<float>(temperature.value_or(1.0)) : 0.0f;
  if (const auto seed = fields.integer("seed", 0, std::numeric_limits<int64_t>::max())) {
    sampling.seed = static_cast<uint64_t>(*seed);
    lorax.ask.seeded = true;
  }
}

void parse_adapter(Fields& fields, LoraxAsk& lorax) {
  lorax.ask.model = fields.string("adapter_id").value_or("");
  const std::string source = fields.string("adapter_source").value_or("local");
  if (source != "local") {
    fields.fail(Code::kUnsupported, "adapter_source",
                "other than \"local\" is not supported: this server's adapters are the folders under --adapters");
  }
  fields.ignore({"api_token"});  // a token for a hub; there is none here, and it is never logged
  const auto count = fields.integer("best_of", 1, kIntMax);
  lorax.ask.best_of = static_cast<int32_t>(count.value_or(1));
}

void parse_parameters(Fields& fields, const ServeOptions& options, LoraxAsk& lorax) {
  Ask& ask = lorax.ask;
  parse_adapter(fields, lorax);
  parse_sampling(fields, lorax);
  if (const auto most = fields.integer("max_new_tokens", 1, kIntMax)) ask.max_tokens = static_cast<int32_t>(*most);
  ask.ignore_eos = fields.boolean("ignore_eos_token").value_or(false);
  lorax.full_text = fields.boolean("return_full_text").value_or(false);
  ask.stops = fields.strings("stop", stop_limits(options.request));
  if (const auto last = fields.integer("truncate", 1, kIntMax)) ask.truncate = static_cast<int32_t>(*last);
  lorax.details = fields.boolean("details").value_or(false);
  lorax.prefill_details = fields.boolean("decoder_input_details").value_or(false);
  lorax.alternatives =
      static_cast<int32_t>(fields.integer("return_k_alternatives", 1, options.request.logprobs_max).value_or(0));
  if (fields.boolean("apply_chat_template").value_or(false)) {
    ChatInput chat;
    chat.messages = Json::array({{{"role", "user"}, {"content", std::get<std::string>(ask.prompts[0])}}});
    ask.chat = std::move(chat);
    ask.chat_anyway = !fields.boolean("template").value_or(true);
  }
  const Json* format = fields.find("response_format");
  if (format != nullptr && !(format->is_object() && format->contains("type") && (*format)["type"] == "text")) {
    fields.fail(Code::kUnsupported, "response_format", "is not supported by this server yet; leave it out");
  }
  fields.refuse({"merged_adapters", "watermark", "grammar", "schema", "guided_json", "guided_regex", "tools"},
                "is not supported by this server; leave it out");
}

void check_combinations(Fields& fields, const ServeOptions& options, const LoraxAsk& lorax) {
  const Ask& ask = lorax.ask;
  if (ask.best_of > options.request.best_of_max)
    fields.fail("best_of", "must be at most " + std::to_string(options.request.best_of_max));
  if (ask.best_of > 1 && !lorax.sampled)
    fields.fail("best_of", "larger than 1 needs sampling: set do_sample, temperature, top_k, top_p or typical_p");
  if (ask.best_of > 1 && ask.seeded) fields.fail("best_of", "larger than 1 can't be used with a seed");
  if (ask.best_of > 1 && ask.stream) fields.fail("best_of", "larger than 1 can't be streamed");
  if (lorax.prefill_details && ask.stream) fields.fail("decoder_input_details", "can't be streamed");
}

}  // namespace

Outcome<LoraxAsk> parse_lorax(const Json& body, LoraxStream stream_by_route, const ServeOptions& options) {
  LoraxAsk lorax;
  Ask& ask = lorax.ask;
  ask.prompt_field = "inputs";
  ask.max_tokens_field = "parameters.max_new_tokens";
  ask.include_stop = true;
  Fields top(body);
  const std::optional<std::string> inputs = top.string("inputs");
  if (!inputs)
    top.fail("inputs", "is missing");
  else if (inputs->empty())
    top.fail("inputs", "is empty");
  const bool stream = top.boolean("stream").value_or(false);
  ask.stream = stream_by_route == LoraxStream::kAlways || (stream_by_route == LoraxStream::kField && stream);
  static const Json kNone = Json::object();
  const Json* found = top.find("parameters");
  if (found != nullptr && !found->is_object())
    top.fail("parameters", std::string("must be an object, not ") + type_name(*found));
  if (!top.ok()) return Refusal{.status = top.status(), .field = top.param()};
  ask.prompts.emplace_back(*inputs);
  Fields fields(found == nullptr ? kNone : *found, "parameters.");
  parse_parameters(fields, options, lorax);
  check_combinations(fields, options, lorax);
  if (!fields.ok()) return Refusal{.status = fields.status(), .field = fields.param()};
  ask.logprobs = lorax.alternatives;  // every token event of LoRAX carries its logprob
  if (lorax.prefill_details) ask.prompt_logprobs = 0;
  lorax.unknown_fields = top.unknown();
  for (std::string& name : fields.unknown()) lorax.unknown_fields.push_back(std::move(name));
  return lorax;
}

}  // namespace umbel::serve
