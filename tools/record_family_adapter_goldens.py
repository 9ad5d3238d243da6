#!/usr/bin/env python3
"""Records what transformers + PEFT compute for an adapter of every kind on every model family, for src/models/family_adapters_test.cc.

  tools/record_family_adapter_goldens.py > tests/goldens/family_adapters.json      (needs torch, transformers, peft)

Bases are those of record_model_goldens.py. The adapters' numbers are a formula of the tensor's name, which the test computes too, so only
adapter_config.json, the names and shapes of the tensors and the logits of the last prompt positions are stored."""
import json
import math
import os
import sys
import warnings

if os.environ.get("PYTHONHASHSEED") != "0":  # PEFT saves sets as lists
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0", "HF_HUB_OFFLINE": "1"})

import numpy as np
import peft
import torch
import transformers
from peft import IA3Config, LoraConfig, VeraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

import record_model_goldens as models

warnings.simplefilter("ignore")
ROWS = 3
# Base -> its norm at the end, its embedding, and IA3's feed-forward module.
BASES = {
    "gpt2": ("ln_f", "wte", "mlp.c_proj"), "gpt_bigcode": ("ln_f", "wte", "mlp.c_proj"), "gpt_bigcode_heads": ("ln_f", "wte", "mlp.c_proj"),
    "gemma": ("model.norm", "embed_tokens", "down_proj"), "gemma2": ("model.norm", "embed_tokens", "down_proj"),
    "gemma3": ("model.norm", "embed_tokens", "down_proj"), "phi": ("final_layernorm", "embed_tokens", "fc2"),
    "phi3": ("model.norm", "embed_tokens", "down_proj"), "starcoder2": ("model.norm", "embed_tokens", "c_proj"),
    "gpt_neox": ("final_layer_norm", "embed_in", "dense_4h_to_h"), "granite": ("model.norm", "embed_tokens", "down_proj"),
    "olmo2": ("model.norm", "embed_tokens", "down_proj"), "smollm3": ("model.norm", "embed_tokens", "down_proj"),
}
# What PEFT's table has no entry for.
TARGETS = {"phi3": ["qkv_proj"], "starcoder2": ["q_proj", "v_proj"], "granite": ["q_proj", "v_proj"], "olmo2": ["q_proj", "v_proj"],
           "smollm3": ["q_proj", "v_proj"]}


def value(name, shape):
    noise = models.weight("noise." + name, (int(np.prod(shape)),) + (1,)).flatten()[: int(np.prod(shape))] / 2.0
    center = 1.0 if "ia3_l" in name or "magnitude" in name or (len(shape) == 1 and name.endswith(".weight")) else 0.0
    return (center + 0.25 * noise).reshape(shape).to(torch.float32)


def cases(base):
    norm, embedding, feedforward = BASES[base]
    family = models.MODELS[base]["model_type"]
    usual = TARGETS.get(family)
    yield "lora", LoraConfig(r=2, lora_alpha=3, target_modules="all-linear", task_type="CAUSAL_LM")
    yield "lora_default", LoraConfig(r=3, lora_alpha=6, use_rslora=True, bias="lora_only", target_modules=usual, task_type="CAUSAL_LM")
    yield "dora", LoraConfig(r=2, lora_alpha=4, use_dora=True, target_modules="all-linear", task_type="CAUSAL_LM")
    yield "lora_embedding", LoraConfig(r=2, lora_alpha=4, target_modules=[embedding], modules_to_save=[norm], task_type="CAUSAL_LM")
    yield "lora_head", LoraConfig(r=2, lora_alpha=4, target_modules=["lm_head"], task_type="CAUSAL_LM")
    if usual is None:
        yield "ia3", IA3Config(task_type="CAUSAL_LM")
    else:
        yield "ia3", IA3Config(target_modules=usual + [feedforward], feedforward_modules=[feedforward], task_type="CAUSAL_LM")
    yield "vera", VeraConfig(r=4, target_modules=usual, task_type="CAUSAL_LM")


def plain(config):
    fields = {key: sorted(field) if isinstance(field, set) else field for key, field in config.to_dict().items()}
    return {key: field for key, field in fields.items() if field not in (None, {}, [], False) or key in ("lora_dropout", "save_projection")}


def record(base, name, config):
    model, _ = models.make_model(models.MODELS[base])
    wrapped = get_peft_model(model, config).eval()
    state = get_peft_model_state_dict(wrapped)
    # PEFT keeps the base's own embedding or head beside an adapter at it: copies, which must stay what they are.
    trained_biases = getattr(config, "bias", "none") != "none"
    copied = [key for key in state if ".base_layer." in key and not (trained_biases and key.endswith(".bias"))]
    saved = {key: tensor if key in copied else value(key, tuple(tensor.shape)) for key, tensor in state.items()}
    set_peft_model_state_dict(wrapped, saved)
    with torch.no_grad():
        logits = wrapped(input_ids=torch.tensor([prompt(base)])).logits[0, -ROWS:]
    fields = plain(wrapped.peft_config["default"])
    fields["base_model_name_or_path"] = "tiny"
    return {"base": base, "name": name, "config": json.loads(json.dumps(fields, default=str)),
            "tensors": {key: list(tensor.shape) for key, tensor in saved.items()},
            "copied": copied,
            "logits": [models.rounded(row.tolist()) for row in logits]}


def prompt(base):
    return [int(token) for token in np.random.default_rng(len(base)).integers(3, 64, 9)]


def main():
    torch.manual_seed(0)
    recorded = []
    for base in sys.argv[1:] or BASES:
        for name, config in cases(base):
            try:
                recorded.append(record(base, name, config))
            except Exception as error:  # what PEFT itself does not do is left out, and said
                print(f"{base} {name}: {type(error).__name__}: {str(error)[:150]}", file=sys.stderr)
    golden = {"versions": {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__},
              "prompts": {base: prompt(base) for base in BASES}, "cases": recorded}
    json.dump(golden, sys.stdout, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()
