#!/usr/bin/env python3
"""Records what Hugging Face transformers computes for tiny random models of every family and feature of src/models.

    python tools/record_model_goldens.py [--out tests/goldens/models] [NAME ...]

Needs torch and transformers (used only here; their versions stand in every file). A golden holds the config.json, the names and
shapes of the tensors, a prompt, f32 logits at all prompt positions, greedy ids with a KV cache and the smallest gap between the
best two logits on the way. The weights are not stored: both sides compute them from the tensor's name (see weight() here and
golden_tensor() in src/models/golden_testing.h), so a file stays at a few KB.
"""

import argparse
import json
import math
import pathlib
import tempfile

import numpy as np
import torch
import transformers

PROMPT_TOKENS = 20
NEW_TOKENS = 14

BASE = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 56, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "hidden_act": "silu",
    "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2,
}


def config(model_type, architecture, drop=(), **fields):
    merged = {"model_type": model_type, "architectures": [architecture], **BASE, **fields}
    return {name: value for name, value in merged.items() if name not in drop}


def llama(**fields):
    return config("llama", "LlamaForCausalLM", **fields)


def mistral(**fields):
    return config("mistral", "MistralForCausalLM", **fields)


def qwen2(**fields):
    return config("qwen2", "Qwen2ForCausalLM", **fields)


def qwen3(**fields):
    return config("qwen3", "Qwen3ForCausalLM", **fields)


def rope(rope_type, theta=10000.0, **fields):
    """The dialect of transformers 5."""
    return {"dtype": "float32", "rope_parameters": {"rope_type": rope_type, "rope_theta": theta, **fields}}


def old_rope(theta=10000.0, scaling=None):
    """The dialect of older files."""
    return {"torch_dtype": "float32", "rope_theta": theta, "rope_scaling": scaling}


MODELS = {
    "llama_default": llama(**rope("default")),
    "llama_tied_old": llama(drop=("num_key_value_heads",), tie_word_embeddings=True, **old_rope(500000.0)),
    "llama_mqa": llama(num_key_value_heads=1, **rope("default")),
    "llama_biases": llama(attention_bias=True, mlp_bias=True, **rope("default")),
    "llama_head_dim": llama(head_dim=16, num_hidden_layers=3, **rope("default")),
    "llama_linear": llama(**rope("linear", factor=4.0)),
    "llama_linear_old": llama(**old_rope(scaling={"type": "linear", "factor": 2.0})),
    "llama_dynamic": llama(max_position_embeddings=16, **rope("dynamic", factor=4.0)),
    # The prompt fits; generation grows past the original length.
    "llama_dynamic_growing_old": llama(max_position_embeddings=24, head_dim=16,
                                       **old_rope(scaling={"type": "dynamic", "factor": 2.0})),
    "llama_yarn": llama(head_dim=16, max_position_embeddings=4096,
                        **rope("yarn", factor=4.0, original_max_position_embeddings=1024)),
    # The ramp's end lies past the last dimension; the ramp has no length.
    "llama_yarn_long_ramp": llama(head_dim=16, max_position_embeddings=8192,
                                  **rope("yarn", theta=10.0, factor=2.0, original_max_position_embeddings=4096)),
    "llama_yarn_no_ramp": llama(**rope("yarn", factor=4.0, original_max_position_embeddings=4)),
    "llama_yarn_fields": llama(head_dim=16, **rope("yarn", theta=1000.0, factor=8.0, original_max_position_embeddings=8,
                                                   beta_fast=4.0, beta_slow=0.5, truncate=False, mscale=1.0,
                                                   mscale_all_dim=0.7)),
    "llama_yarn_factor_old": llama(**old_rope(scaling={"rope_type": "yarn", "factor": 2.0, "attention_factor": 1.3,
                                                       "original_max_position_embeddings": 32})),
    "llama3": llama(head_dim=16, **rope("llama3", theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                        original_max_position_embeddings=32)),
    "llama3_tied_old": llama(head_dim=16, tie_word_embeddings=True,
                             **old_rope(500000.0, {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
                                                   "high_freq_factor": 4.0, "original_max_position_embeddings": 16})),
    "mistral_window": mistral(sliding_window=7, **rope("default")),
    "mistral_no_window_old": mistral(sliding_window=None, **old_rope(1000000.0)),
    "qwen2": qwen2(use_sliding_window=False, sliding_window=8, max_window_layers=1, **rope("default", theta=1000000.0)),
    "qwen2_window_old": qwen2(use_sliding_window=True, sliding_window=6, max_window_layers=1, num_hidden_layers=3,
                              tie_word_embeddings=True, **old_rope(1000000.0)),
    "qwen3": qwen3(head_dim=16, attention_bias=False, **rope("default", theta=1000000.0)),
    "qwen3_layer_types": qwen3(head_dim=12, tie_word_embeddings=True, attention_bias=True, use_sliding_window=True,
                               sliding_window=5, num_hidden_layers=3,
                               layer_types=["sliding_attention", "full_attention", "sliding_attention"],
                               **rope("yarn", theta=1000000.0, factor=4.0, original_max_position_embeddings=16)),
}


def name_key(name):
    """FNV-1a, 64 bits."""
    key = 0xCBF29CE484222325
    for byte in name.encode():
        key = ((key ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return key


def amplitude_and_center(name, shape):
    if name.endswith("norm.weight"):
        return 0.4, 1.0
    if name.endswith(".bias"):
        return 0.5, 0.0
    if "embed_tokens" in name:
        return 1.5, 0.0
    gain = 4.0 if ("q_proj" in name or "k_proj" in name or "lm_head" in name) else 2.0
    return gain / math.sqrt(shape[-1]), 0.0


def weight(name, shape):
    """center + amplitude * uniform(-1, 1), from SplitMix64 of the name's key and the element's index."""
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        z = np.uint64(name_key(name)) + (np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    unit = (z >> np.uint64(40)).astype(np.float64) / 2.0**24
    amplitude, center = amplitude_and_center(name, shape)
    return torch.from_numpy((center + amplitude * (2.0 * unit - 1.0)).astype(np.float32).reshape(shape))


def make_model(fields):
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "config.json").write_text(json.dumps(fields))
        parsed = transformers.AutoConfig.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_config(parsed, attn_implementation="eager", dtype=torch.float32).eval()
    tensors = {}
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # a tied head is listed once
            tensors[name] = list(parameter.shape)
            parameter.copy_(weight(name, parameter.shape))
    return model, tensors


def rounded(values):
    return [float(f"{value:.6g}") for value in values]


def record(name, fields):
    model, tensors = make_model(fields)
    prompt = [int(token) for token in np.random.default_rng(len(name)).integers(3, 64, PROMPT_TOKENS)]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt]), use_cache=False).logits[0]
        model, _ = make_model(fields)  # dynamic RoPE remembers the longest sequence it saw
        output = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, PROMPT_TOKENS, dtype=torch.long),
                                max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=False, use_cache=True,
                                eos_token_id=None, pad_token_id=0, output_logits=True, return_dict_in_generate=True)
    gaps = []
    for step in output.logits:
        best = torch.topk(step[0], 2).values
        gaps.append(float(best[0] - best[1]))
    return {
        "recorded_with": {"torch": torch.__version__, "transformers": transformers.__version__},
        "config": fields,
        "tensors": tensors,
        "prompt_ids": prompt,
        "logits": [rounded(row.tolist()) for row in logits],
        "greedy_ids": output.sequences[0, PROMPT_TOKENS:].tolist(),
        "smallest_gap": float(f"{min(gaps):.4g}"),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="tests/goldens/models")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    folder = pathlib.Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    for name in options.names or MODELS:
        golden = record(name, MODELS[name])
        (folder / f"{name}.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
        print(f"{name}: {len(golden['tensors'])} tensors, smallest gap {golden['smallest_gap']}")


if __name__ == "__main__":
    main()
