// The helper process that renders strangers' chat templates, and the messages between it and TemplateWorkers.
//
// It keeps nothing from one order to the next: each is compiled, rendered and dropped before it is answered, and a process
// that has grown by it ends itself after the answer. So what one template does, no other one meets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "text/chat_template.h"

namespace umbel {

// The first message; answered by an empty one.
struct TemplateWorkerLimits {
  size_t memory_bytes = size_t{256} << 20;      // address space beyond what the process begins with
  size_t output_bytes_max = size_t{16} << 20;   // of rendered text
  Duration cpu_max = from_seconds(1.0);         // of one order; kept to the second (the parent looks at the clock)
};

struct RenderOrder {
  std::string_view source;
  std::string_view special_tokens;  // a JSON object
  std::string_view input;           // CompiledTemplate's input
};

struct RenderAnswer {
  // Not ok: the template's own words, kInvalidArgument. kDataLoss: it is no template.
  Status status;
  ChatText text;
  Duration cost{};  // CPU time
};

std::string encode(const TemplateWorkerLimits& limits);
std::string encode(const RenderOrder& order);
std::string encode(const RenderAnswer& answer);
// kDataLoss for anything that encode() did not write. A decoded order borrows from the message.
Result<TemplateWorkerLimits> decode_limits(std::string_view message);
Result<RenderOrder> decode_order(std::string_view message);
Result<RenderAnswer> decode_answer(std::string_view message);

// The verb of the program behind it ("umbel template-worker"); TemplateWorkers starts it by this name.
inline constexpr const char* kTemplateWorkerVerb = "template-worker";
// Serves orders until the other side closes. The process's exit status.
int run_template_worker();

}  // namespace umbel
