// The fields of PEFT's LORA type, read once for everybody who needs them. Private to adapters/.
#pragma once

#include "adapters/config_fields.h"

namespace umbel {

struct LoraFields {
  double alpha = 8;
  bool rslora = false;
  bool dora = false;
  bool bias = false;
  bool ensure_weight_tying = false;
  const OrderedJson* token_indices = nullptr;
};

// Active fields that are not computed here stay unread, so that fields.finish() refuses them.
Result<LoraFields> read_lora_fields(Fields& fields);

}  // namespace umbel
