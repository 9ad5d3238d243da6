#!/usr/bin/env python3
"""Random-weight inputs for the serving benchmarks: a Llama-shaped checkpoint and LoRA adapters on it, as Hugging Face and
PEFT lay them out. Needs numpy only.

  bench/make_inputs.py OUT --tokenizer DIR [--adapters 16] [--rank 16] [--targets q,k,v,o]

OUT/base gets config.json, model.safetensors (bf16, 1.1B parameters: hidden 2048, 22 layers, 32/4 heads, ffn 5632, vocab
32000) and DIR's tokenizer files; OUT/adapters/a00, a01, ... get one adapter each, f32 factors with B not zero."""
import argparse, json, pathlib, shutil, struct
import numpy as np

SHAPE = dict(hidden=2048, layers=22, heads=32, kv_heads=4, ffn=5632, vocab=32000, context=2048)


def bf16(array):
    bits = np.ascontiguousarray(array, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def write_safetensors(path, tensors):
    """tensors: name -> (dtype name, shape, function that gives the bytes), written one at a time."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    sizes = {"BF16": 2, "F32": 4}
    for name, (dtype, shape, _) in tensors.items():
        size = int(np.prod(shape)) * sizes[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, (_, _, make) in tensors.items():
            file.write(make())


def normal(rng, shape, scale):
    return rng.standard_normal(shape, dtype=np.float32) * scale


def make_base(out, tokenizer, rng):
    s = SHAPE
    head_dim = s["hidden"] // s["heads"]
    weight = lambda o, i, scale=0.02: ("BF16", (o, i), lambda: bf16(normal(rng, (o, i), scale)).tobytes())
    ones = lambda n: ("BF16", (n,), lambda: bf16(np.ones(n)).tobytes())
    output = 0.02 / np.sqrt(2 * s["layers"])

    def head():
        rows = normal(rng, (s["vocab"], s["hidden"]), 0.02)
        rows[:259] = 0  # control and byte tokens of the Llama vocabulary are never the best
        return bf16(rows).tobytes()

    tensors = {"model.embed_tokens.weight": weight(s["vocab"], s["hidden"])}
    for layer in range(s["layers"]):
        p = f"model.layers.{layer}."
        tensors[p + "input_layernorm.weight"] = ones(s["hidden"])
        tensors[p + "self_attn.q_proj.weight"] = weight(s["hidden"], s["hidden"])
        tensors[p + "self_attn.k_proj.weight"] = weight(s["kv_heads"] * head_dim, s["hidden"])
        tensors[p + "self_attn.v_proj.weight"] = weight(s["kv_heads"] * head_dim, s["hidden"])
        tensors[p + "self_attn.o_proj.weight"] = weight(s["hidden"], s["hidden"], output)
        tensors[p + "post_attention_layernorm.weight"] = ones(s["hidden"])
        tensors[p + "mlp.gate_proj.weight"] = weight(s["ffn"], s["hidden"])
        tensors[p + "mlp.up_proj.weight"] = weight(s["ffn"], s["hidden"])
        tensors[p + "mlp.down_proj.weight"] = weight(s["hidden"], s["ffn"], output)
    tensors["model.norm.weight"] = ones(s["hidden"])
    tensors["lm_head.weight"] = ("BF16", (s["vocab"], s["hidden"]), head)
    out.mkdir(parents=True, exist_ok=True)
    write_safetensors(out / "model.safetensors", tensors)
    config = dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=s["hidden"],
                  intermediate_size=s["ffn"], num_hidden_layers=s["layers"], num_attention_heads=s["heads"],
                  num_key_value_heads=s["kv_heads"], vocab_size=s["vocab"], max_position_embeddings=s["context"],
                  rms_norm_eps=1e-5, rope_theta=10000.0, hidden_act="silu", tie_word_embeddings=False, bos_token_id=1,
                  eos_token_id=2, torch_dtype="bfloat16")
    (out / "config.json").write_text(json.dumps(config, indent=1))
    for file in pathlib.Path(tokenizer).iterdir():
        if file.name.startswith(("tokenizer", "special_tokens")):
            shutil.copy(file, out / file.name)


def make_adapter(out, rank, targets, rng):
    s = SHAPE
    kv = s["kv_heads"] * (s["hidden"] // s["heads"])
    widths = dict(q=(s["hidden"], s["hidden"]), k=(s["hidden"], kv), v=(s["hidden"], kv), o=(s["hidden"], s["hidden"]))
    tensors = {}
    for layer in range(s["layers"]):
        for target in targets:
            inputs, outputs = widths[target]
            p = f"base_model.model.model.layers.{layer}.self_attn.{target}_proj."
            a = normal(rng, (rank, inputs), 0.02)
            b = normal(rng, (outputs, rank), 0.02)
            tensors[p + "lora_A.weight"] = ("F32", (rank, inputs), lambda a=a: a.tobytes())
            tensors[p + "lora_B.weight"] = ("F32", (outputs, rank), lambda b=b: b.tobytes())
    out.mkdir(parents=True, exist_ok=True)
    write_safetensors(out / "adapter_model.safetensors", tensors)
    config = dict(peft_type="LORA", task_type="CAUSAL_LM", base_model_name_or_path="base", r=rank, lora_alpha=2 * rank,
                  target_modules=[t + "_proj" for t in targets], bias="none", inference_mode=True)
    (out / "adapter_config.json").write_text(json.dumps(config, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--adapters", type=int, default=16)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--targets", default="q,k,v,o")
    args = parser.parse_args()
    make_base(args.out / "base", args.tokenizer, np.random.default_rng(1))
    for index in range(args.adapters):
        make_adapter(args.out / "adapters" / f"a{index:02}", args.rank, args.targets.split(","), np.random.default_rng(100 + index))


main()
