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


def plain(model_type, architecture, **fields):
    """Without BASE: families whose fields have other names or defaults of their own."""
    return {"model_type": model_type, "architectures": [architecture], **fields}


def gpt2(**fields):
    return plain("gpt2", "GPT2LMHeadModel", **{"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 48,
                                               "layer_norm_epsilon": 1e-5, "bos_token_id": 1, "eos_token_id": 2, "dtype": "float32", **fields})


def gpt_bigcode(**fields):
    return gpt2(**fields) | {"model_type": "gpt_bigcode", "architectures": ["GPTBigCodeForCausalLM"]}


def like(model_type, architecture, drop=("hidden_act", "rms_norm_eps", "tie_word_embeddings"), **fields):
    return config(model_type, architecture, drop=drop, **fields)


def gemma(**fields):
    return like("gemma", "GemmaForCausalLM", drop=("hidden_act", "tie_word_embeddings"), **{"head_dim": 16, **fields})


def gemma2(**fields):
    return like("gemma2", "Gemma2ForCausalLM", drop=("hidden_act", "tie_word_embeddings"), **{"head_dim": 16, "sliding_window": 6, **fields})


def gemma3(**fields):
    return like("gemma3_text", "Gemma3ForCausalLM", drop=("hidden_act", "tie_word_embeddings"),
                **{"head_dim": 16, "sliding_window": 6, "query_pre_attn_scalar": 16, **fields})


def phi(**fields):
    return like("phi", "PhiForCausalLM", **fields)


def phi3(**fields):
    return like("phi3", "Phi3ForCausalLM", drop=("tie_word_embeddings",), **{"pad_token_id": 0, **fields})


def starcoder2(**fields):
    return like("starcoder2", "Starcoder2ForCausalLM", **fields)


def gpt_neox(**fields):
    return like("gpt_neox", "GPTNeoXForCausalLM", drop=("hidden_act", "rms_norm_eps", "tie_word_embeddings", "num_key_value_heads"), **fields)


def granite(**fields):
    return config("granite", "GraniteForCausalLM", **fields)


def olmo2(**fields):
    return like("olmo2", "Olmo2ForCausalLM", drop=("tie_word_embeddings",), **{"pad_token_id": 0, **fields})


def smollm3(**fields):
    return like("smollm3", "SmolLM3ForCausalLM", drop=("tie_word_embeddings",), **{"pad_token_id": 0, "num_hidden_layers": 5, **fields})


def factors(count, low, high):
    return [round(low + (high - low) * i / max(1, count - 1), 3) for i in range(count)]


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
    "gpt2": gpt2(),
    "gpt2_inverse_layer": gpt2(n_layer=3, scale_attn_by_inverse_layer_idx=True, reorder_and_upcast_attn=True, n_head=2),
    "gpt2_unscaled_untied": gpt2(scale_attn_weights=False, tie_word_embeddings=False, activation_function="gelu", n_inner=40, n_head=1),
    "gpt_bigcode": gpt_bigcode(),
    "gpt_bigcode_heads": gpt_bigcode(multi_query=False, n_layer=3, tie_word_embeddings=False, activation_function="relu"),
    "gemma": gemma(num_key_value_heads=1, **rope("default")),
    "gemma_old": gemma(num_key_value_heads=4, head_dim=12, hidden_act="gelu", num_hidden_layers=3, **old_rope()),
    "gemma_untied": gemma(tie_word_embeddings=False, attention_bias=True, **rope("linear", factor=2.0)),
    "gemma2": gemma2(query_pre_attn_scalar=24, num_hidden_layers=3, attn_logit_softcapping=4.0, final_logit_softcapping=9.0, **rope("default")),
    "gemma2_old": gemma2(query_pre_attn_scalar=16, num_hidden_layers=4, num_key_value_heads=1, **old_rope()),
    "gemma2_uncapped": gemma2(attn_logit_softcapping=None, final_logit_softcapping=None, head_dim=8,
                              layer_types=["full_attention", "sliding_attention"], **rope("default")),
    "gemma3": gemma3(num_hidden_layers=7, **{"dtype": "float32", "rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}}),
    "gemma3_old": gemma3(num_hidden_layers=4, sliding_window_pattern=2, num_key_value_heads=1, head_dim=12, rope_theta=500000.0,
                         rope_local_base_freq=5000.0, rope_scaling={"rope_type": "linear", "factor": 2.0}, torch_dtype="float32"),
    "gemma3_capped": gemma3(num_hidden_layers=2, final_logit_softcapping=12.0, attention_bias=True, tie_word_embeddings=False,
                            layer_types=["full_attention", "sliding_attention"], dtype="float32"),
    "phi": phi(num_key_value_heads=4, **rope("default", partial_rotary_factor=0.5)),
    "phi_old": phi(num_hidden_layers=3, num_key_value_heads=1, partial_rotary_factor=0.25, tie_word_embeddings=True, hidden_act="gelu", **old_rope()),
    "phi_scaled": phi(hidden_size=40, num_attention_heads=4, num_key_value_heads=2, **rope("linear", factor=2.0, partial_rotary_factor=0.4)),
    "phi3": phi3(**rope("default")),
    "phi3_window_old": phi3(num_key_value_heads=4, sliding_window=7, num_hidden_layers=3, **old_rope()),
    "phi3_longrope": phi3(max_position_embeddings=64, original_max_position_embeddings=16, tie_word_embeddings=True, hidden_size=64,
                          **rope("longrope", short_factor=factors(6, 1.0, 1.4), long_factor=factors(6, 1.5, 6.0), partial_rotary_factor=0.75,
                                 original_max_position_embeddings=16)),
    "phi3_longrope_short_old": phi3(max_position_embeddings=96, original_max_position_embeddings=40,
                                    **old_rope(scaling={"type": "longrope", "short_factor": factors(4, 1.0, 1.2), "long_factor": factors(4, 2.0, 5.0)})),
    "starcoder2": starcoder2(sliding_window=7, **rope("default", theta=100000.0)),
    "starcoder2_old": starcoder2(use_bias=False, num_key_value_heads=1, norm_epsilon=1e-4, num_hidden_layers=3, tie_word_embeddings=False,
                                 hidden_act="gelu", sliding_window=None, **old_rope(1000000.0)),
    "gpt_neox": gpt_neox(**rope("default", partial_rotary_factor=0.25)),
    "gpt_neox_serial_old": gpt_neox(use_parallel_residual=False, num_hidden_layers=3, rotary_pct=1.0, rotary_emb_base=5000, torch_dtype="float32",
                                    num_attention_heads=2),
    "gpt_neox_unbiased": gpt_neox(attention_bias=False, tie_word_embeddings=True, hidden_act="gelu_fast", hidden_size=48, num_attention_heads=3,
                                  rotary_pct=0.5, torch_dtype="float32"),
    "granite": granite(embedding_multiplier=6.0, residual_multiplier=0.35, attention_multiplier=0.21, logits_scaling=2.5, mlp_bias=True,
                       attention_bias=True, **rope("default")),
    "granite_tied_old": granite(tie_word_embeddings=True, attention_multiplier=0.4, num_hidden_layers=3, **old_rope(50000.0)),
    "olmo2": olmo2(**rope("default", theta=500000.0)),
    "olmo2_old": olmo2(num_key_value_heads=4, num_hidden_layers=3, attention_bias=True, tie_word_embeddings=True, **old_rope(500000.0)),
    "smollm3": smollm3(**rope("default", theta=2000000.0)),
    "smollm3_layers": smollm3(no_rope_layers=[1, 0, 1, 1, 0], use_sliding_window=True, sliding_window=7, tie_word_embeddings=False,
                              attention_bias=True, **rope("default", theta=10000.0)),
}


def name_key(name):
    """FNV-1a, 64 bits."""
    key = 0xCBF29CE484222325
    for byte in name.encode():
        key = ((key ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return key


def amplitude_and_center(name, shape):
    if len(shape) == 1 and name.endswith(".weight"):  # norms
        return 0.4, 1.0
    if name.endswith(".bias"):
        return 0.5, 0.0
    if any(part in name for part in ("embed_tokens", "wte", "embed_in")):
        return 1.5, 0.0
    if "wpe" in name:
        return 0.5, 0.0
    sharp = ("q_proj", "k_proj", "lm_head", "c_attn", "query_key_value", "qkv_proj")
    gain = 4.0 if any(part in name for part in sharp) else 2.0
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
