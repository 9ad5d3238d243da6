#!/usr/bin/env python3
"""Records loss and gradients of every weight of tiny models of every family, in double, for src/train/trainable_full_test.cc. Weights
are a formula that the test computes too.

  tools/record_full_gradient_goldens.py > tests/goldens/full_gradients.json      (needs torch, transformers)"""
import json, sys
import numpy as np
import torch, transformers

SHAPE = dict(vocab_size=61, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             head_dim=8, max_position_embeddings=64, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2)
CASES = {
    "llama-tied": ("LlamaConfig", dict(tie_word_embeddings=True)),
    "llama-biases": ("LlamaConfig", dict(tie_word_embeddings=False, attention_bias=True, mlp_bias=True)),
    "mistral-window": ("MistralConfig", dict(tie_word_embeddings=False, sliding_window=5)),
    "qwen2-tied": ("Qwen2Config", dict(tie_word_embeddings=True)),
    "qwen3-untied": ("Qwen3Config", dict(tie_word_embeddings=False)),
    "qwen3-tied": ("Qwen3Config", dict(tie_word_embeddings=True)),
}
ROWS = [[(7 * i * i + 3 * i + 5 + 11 * r) % 61 for i in range(length)] for r, length in enumerate((13, 4, 21))]


def noise(count, name):
    """In [-1, 1): a multiplicative hash of (index, name), exact in f32 (as in record_pretrain_goldens.py)."""
    stream = 0
    for character in name.encode():
        stream = (stream * 31 + character) % (1 << 32)
    x = (np.arange(count, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(stream)) % np.uint64(1 << 32)
    for multiplier in (2246822519, 3266489917):
        x = (x ^ (x >> np.uint64(15))) * np.uint64(multiplier) % np.uint64(1 << 32)
    x = (x ^ (x >> np.uint64(13))) >> np.uint64(8)
    return (x.astype(np.float64) / (1 << 23) - 1.0).astype(np.float32)


def weight(name, shape):
    values = noise(int(np.prod(shape)), name) * np.float32(0.25)
    return (values + np.float32(1) if "norm" in name else values).astype(np.float32).reshape(shape)


def record(config_class, options):
    config = getattr(transformers, config_class)(**SHAPE, **options)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float64, attn_implementation="eager")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(weight(name, tuple(parameter.shape))))
    total, count = 0, sum(len(row) - 1 for row in ROWS)
    for row in ROWS:
        ids = torch.tensor([row])
        total = total + torch.nn.functional.cross_entropy(model(ids[:, :-1]).logits[0], ids[0, 1:], reduction="sum")
    loss = total / count
    loss.backward()
    gradients = {}
    for name, parameter in model.named_parameters():
        flat = parameter.grad.flatten()
        gradients[name] = {"norm": flat.norm().item(), "largest": flat.abs().max().item(), "values": flat[:: max(1, len(flat) // 12)].tolist()}
    written = json.loads(config.to_json_string(use_diff=False))
    written["dtype"] = "float32"  # what the test stores; the numbers here are computed in double
    written["architectures"] = [config_class.replace("Config", "ForCausalLM")]
    return {"config": written, "loss": loss.item(), "gradients": gradients}


json.dump({"versions": {"torch": torch.__version__, "transformers": transformers.__version__}, "rows": ROWS,
           "cases": {name: record(*case) for name, case in CASES.items()}}, sys.stdout)
print()
