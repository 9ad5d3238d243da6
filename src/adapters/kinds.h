// The build functions of all kinds; each reads its own fields and adds the terms of the selected modules.
// Private to adapters/.
#pragma once

#include "adapters/builder.h"

namespace umbel {

Status build_lora(Builder& builder);  // LoRA, rsLoRA, DoRA
Status build_ia3(Builder& builder);
Status build_vera(Builder& builder);
Status build_flora(Builder& builder);  // the format of docs/flora-format.md
Status build_hira(Builder& builder);   // PEFT's residual, Hadamard form
Status build_loha(Builder& builder);
Status build_miss(Builder& builder);

}  // namespace umbel
