// Any JSON as config.json: a validated configuration with sizes that make sense, or a refusal with a reason.
#include "fuzz.h"
#include "models/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace umbel;
  const Result<Json> json = parse_json(fuzz::text_of(data, size), "config.json");
  if (!json.ok()) return 0;
  const Result<ModelConfig> config = parse_model_config(*json);
  if (!config.ok()) {
    fuzz::check_refusal(config.status());
    return 0;
  }
  CHECK(config->layers > 0 && config->hidden_size > 0 && config->vocab_size > 0, "sizes are positive");
  CHECK(config->heads > 0 && config->kv_heads > 0 && config->heads % config->kv_heads == 0, "heads share key heads evenly");
  CHECK(config->head_dim > 0 && config->head_dim % 2 == 0, "RoPE turns pairs");
  return 0;
}
