// Any JSON as adapter_config.json, and when that is one, an adapter built from it and from the tensors of a good file of its kind
// (LoRA's for the kinds that have none here):
// an adapter, or a refusal with a reason.
#include <memory>

#include "adapters/registry.h"
#include "adapters/test_support.h"
#include "fuzz.h"
#include "store/peft_dir.h"

namespace {

using namespace umbel;

// A small base and the tensors of rank-2 adapters on all its q_proj and v_proj; made once.
struct World {
  testing::SmallBase base{{.hidden = 8, .kv = 4, .ffn = 12, .vocab = 10}};
  std::map<std::string, Tensor> tensors, loha, miss;

  World() {
    Random random(3);
    for (const char* module : {"layers.0.self_attn.q_proj", "layers.1.self_attn.q_proj", "layers.0.self_attn.v_proj",
                               "layers.1.self_attn.v_proj"}) {
      const Target& target = base.at(std::string("model.") + module);
      const std::string path = std::string("base_model.model.model.") + module;
      tensors[path + ".lora_A.weight"] = testing::random_tensor(random, {2, target.in});
      tensors[path + ".lora_B.weight"] = testing::random_tensor(random, {target.out, 2});
      for (const char* name : {".hada_w1_a", ".hada_w2_a"}) loha[path + name] = testing::random_tensor(random, {target.out, 2});
      for (const char* name : {".hada_w1_b", ".hada_w2_b"}) loha[path + name] = testing::random_tensor(random, {2, target.in});
      miss[path + ".miss_block"] = testing::random_tensor(random, {2, target.out});
    }
  }

  const std::map<std::string, Tensor>& of(const std::string& peft_type) const {
    return peft_type == "LOHA" ? loha : peft_type == "MISS" ? miss : tensors;
  }
};

void check_paths(const AdapterSpec& spec, const TargetTable& targets) {
  for (const Target& target : targets.targets()) {
    (void)spec.selects(target.path, target.kind).ok();
    (void)spec.rank_at(target.path, 8).ok();
    (void)spec.alpha_at(target.path, 1.0).ok();
    (void)spec.saves(target.path);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const World world;
  const Result<OrderedJson> json = parse_ordered_json(fuzz::text_of(data, size), "adapter_config.json");
  if (!json.ok() || !json->is_object()) return 0;
  Result<AdapterSpec> spec = parse_spec(*json);
  if (!spec.ok()) {
    fuzz::check_refusal(spec.status());
    return 0;
  }
  check_paths(*spec, world.base.targets());
  AdapterSource source{*std::move(spec), {}};
  for (const auto& [name, tensor] : world.of(source.spec.peft_type)) source.tensors.emplace(name, tensor.view());
  const auto adapter = build_adapter(source, world.base.targets(), {.rank_max = 64});
  if (!adapter.ok()) fuzz::check_refusal(adapter.status());
  return 0;
}
