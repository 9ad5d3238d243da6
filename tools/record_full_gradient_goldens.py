#!/usr/bin/env python3
"""Records loss and gradients of every weight of tiny models of every family, in double, for src/train/step/trainable_full_test.cc. Weights
are a formula that the test computes too.

  tools/record_full_gradient_goldens.py > tests/goldens/full_gradients.json      (needs torch, transformers)"""
import json, pathlib, sys, tempfile
import numpy as np
import torch, transformers
import record_model_goldens

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
# Of tools/record_model_goldens.py: one of every shape that a block can have.
FAMILIES = ["gpt2_inverse_layer", "gpt2_unscaled_untied", "gpt_bigcode", "gpt_bigcode_heads", "gemma_old", "gemma_untied", "gemma2", "gemma3_capped",
            "phi", "phi_old", "phi3", "phi3_longrope", "starcoder2", "gpt_neox", "gpt_neox_serial_old", "granite", "olmo2", "smollm3_layers"]
ROWS = [[(7 * i * i + 3 * i + 5 + 11 * r) % 61 for i in range(length)] for r, length in enumerate((13, 4, 21))]


VALUES = 6  # about, of every tensor


def rounded(value):
    return float(f"{value.item():.8g}")


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
    gain = len(shape) == 1 and name.endswith(".weight")
    return (values + np.float32(1) if gain else values).astype(np.float32).reshape(shape)


def record_family(name):
    fields = {**record_model_goldens.MODELS[name], "reorder_and_upcast_attn": False}  # which needs f32
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "config.json").write_text(json.dumps(fields))
        config = transformers.AutoConfig.from_pretrained(folder)
    return record_config(config, fields)


def record(config_class, options):
    config = getattr(transformers, config_class)(**SHAPE, **options)
    written = json.loads(config.to_json_string(use_diff=False))
    written["dtype"] = "float32"  # what the test stores; the numbers here are computed in double
    written["architectures"] = [config_class.replace("Config", "ForCausalLM")]
    return record_config(config, written)


def record_config(config, written):
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float64, attn_implementation="eager")
    model.eval()  # without dropout, which some families have by default
    model.get_input_embeddings().padding_idx = None  # torch leaves that row's gradient out; it is a token like any other here
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
        values = flat[:: max(1, len(flat) // VALUES)]
        gradients[name] = {"shape": list(parameter.shape), "norm": rounded(flat.norm()), "largest": rounded(flat.abs().max()),
                           "values": [rounded(value) for value in values]}
    return {"config": written, "loss": loss.item(), "gradients": gradients}


json.dump({"versions": {"torch": torch.__version__, "transformers": transformers.__version__}, "rows": ROWS,
           "cases": {name: record(*case) for name, case in CASES.items()} | {name: record_family(name) for name in FAMILIES}}, sys.stdout, separators=(",", ":"))
print()
