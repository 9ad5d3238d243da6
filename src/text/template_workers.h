// TemplateWorkers: strangers' chat templates, rendered by helper processes that may die (template_worker.h), so that no
// template can crash, hang or fill this process. Two of them, started when first needed: one for templates that have been
// quick and well-behaved so far (template_record.h), one for all others; so a bad one does not keep a good one waiting.
//
// A template that dies, takes too long or eats too much is an error for whoever asked for it, and is refused for a while,
// longer each time. Any thread may render; it blocks for at most wait_max and render_max together.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "io/helper_process.h"
#include "text/chat_template.h"
#include "text/template_record.h"
#include "text/template_worker.h"
#include "text/tokenizer.h"

namespace umbel {

struct TemplateWorkersOptions {
  HelperCommand command = {.arguments = {kTemplateWorkerVerb}};
  TemplateWorkerLimits worker;
  TemplateRecordLimits record;
  Duration start_max = from_seconds(10.0);       // for a helper to be there
  Duration render_max = from_seconds(1.0);       // of one rendering, by the clock
  Duration wait_max = from_seconds(2.0);         // for a trusted template's turn...
  Duration wait_untrusted_max = from_seconds(0.25);  // ...and for another one's
  size_t waiting_max = 64;                       // on each of the two
};

class TemplateWorkers {
 public:
  static std::shared_ptr<TemplateWorkers> create(const TemplateWorkersOptions& options);
  virtual ~TemplateWorkers() = default;

  // A template that is compiled and rendered there. whose names it in errors ("adapter \"x\"'s"). A source that is no
  // template is found out by its first rendering: kDataLoss, as every death is; the template's own words are
  // kInvalidArgument. kUnavailable and kOverloaded: its turn did not come in time.
  virtual std::shared_ptr<const ChatTemplate> make(std::string whose, TemplateSources sources) = 0;

  // The template that an adapter's files hold, null when they hold none. BOS and EOS that they do not name are the base's.
  Result<std::shared_ptr<const ChatTemplate>> find(const std::string& whose, const TextFiles& files, const Tokenizer& base);
};

}  // namespace umbel
