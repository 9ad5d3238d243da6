// ChatTemplate: a Hugging Face chat template (Jinja) rendered by minijinja with the functions that transformers gives
// it: raise_exception, strftime_now, tojson, loop controls, {% generation %} spans. trim_blocks and lstrip_blocks are
// on. Messages are prepared as transformers 5 does it: null fields are dropped, reasoning_content and thinking stand
// for each other.
//
// Immutable after load; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/json.h"
#include "text/template_sources.h"

namespace umbel {

struct ChatInput {
  OrderedJson messages;             // array of {role, content, ...}; not empty
  OrderedJson tools = nullptr;      // array or null
  OrderedJson documents = nullptr;  // array or null
  bool add_generation_prompt = true;
  OrderedJson extra = OrderedJson::object();  // chat_template_kwargs: extra variables
  std::optional<int64_t> now;  // seconds since the epoch for strftime_now (local time); the real time when absent
};

struct ChatText {
  std::string text;
  // Byte ranges of text that {% generation %} blocks produced.
  struct Span {
    size_t begin;
    size_t end;
  };
  std::vector<Span> generation;
};

class ChatTemplate {
 public:
  // Compiled and rendered in this process: for templates of the operator's own. What strangers wrote: template_workers.h.
  static Result<std::shared_ptr<const ChatTemplate>> make(const TemplateSources& sources);
  // The one that read_template_sources() finds in a folder of the operator's.
  static Result<std::shared_ptr<const ChatTemplate>> load(const Path& dir);
  // special_tokens: {"bos_token": ..., "eos_token": ...} as strings.
  static Result<std::shared_ptr<const ChatTemplate>> from_source(std::string source, Json special_tokens);
  virtual ~ChatTemplate() = default;

  // A raise_exception or a template failure is kInvalidArgument with the template's own words.
  virtual Result<ChatText> render(const ChatInput& input) const = 0;
  virtual const std::string& source() const = 0;
  // SHA-256 over its sources and special tokens: equal digests render alike (but for the clock of strftime_now).
  virtual const std::string& digest() const = 0;
};

}  // namespace umbel
