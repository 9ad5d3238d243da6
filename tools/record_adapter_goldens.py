#!/usr/bin/env python3
"""Records what transformers + PEFT compute for tiny random models with an adapter of every kind and field.

    python tools/record_adapter_goldens.py [--out tests/goldens/adapters] [--add]      (--add: only the cases that are not there yet)

Needs torch, transformers and peft (used only here; their versions stand in goldens.json). Two bases are written (one tied without
biases, one untied with biases; weights are bf16 numbers, computed in f32), then one folder per case, as PEFT itself saves
it, and the f32 logits of a few tokens. Every folder is loaded again by PEFT, and must give the same logits. FLoRA has no
implementation in PEFT: its logits come from the dense weight W o (s B A), written into the base.
"""

import argparse
import json
import os
import pathlib
import shutil
import sys
import warnings

if os.environ.get("PYTHONHASHSEED") != "0":  # PEFT saves sets as lists: fixed order, or files would differ from run to run
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0", "HF_HUB_OFFLINE": "1"})

import peft
import torch
import transformers
from peft import HiraConfig, IA3Config, LoHaConfig, LoraConfig, MissConfig, PeftModel, VeraConfig, get_peft_model
from safetensors.torch import load_file, save_file

warnings.simplefilter("ignore")

HIDDEN, FFN, VOCAB = 24, 40, 48
TOKENS = [1, 5, 9, 46, 3, 33, 5]
ROWS = 4  # logits of the last positions are stored
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
SEVEN = ATTENTION + ["gate_proj", "up_proj", "down_proj"]


def seeded(text):
    return torch.Generator().manual_seed(sum((i + 1) * ord(c) for i, c in enumerate(text)))


def make_base(tied):
    config = transformers.LlamaConfig(
        hidden_size=HIDDEN, intermediate_size=FFN, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1,
        vocab_size=VOCAB, max_position_embeddings=64, tie_word_embeddings=tied, attention_bias=not tied, mlp_bias=not tied,
        bos_token_id=1, eos_token_id=2, pad_token_id=0)
    model = transformers.LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=seeded(name))
            value = 1 + 0.1 * noise if name.endswith("norm.weight") else 0.3 * noise
            parameter.copy_(value.bfloat16().float())
    model.name_or_path = model.config._name_or_path = ""
    return model


def logits_of(model):
    with torch.no_grad():
        return model(torch.tensor([TOKENS])).logits[0, -ROWS:].float()


def saved_base(out, name, tied):
    folder = out / name
    folder.mkdir()
    model = make_base(tied)
    config = {key: value for key, value in model.config.to_dict().items() if not key.startswith("_")}
    config["architectures"] = ["LlamaForCausalLM"]
    config["dtype"] = "bfloat16"
    config.pop("transformers_version", None)
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    save_file({key: value.bfloat16() for key, value in model.named_parameters()}, folder / "model.safetensors",
              metadata={"format": "pt"})
    return logits_of(model)


def randomise(model, name):
    generator = seeded(name)
    with torch.no_grad():
        for _, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.add_(0.25 * torch.randn(parameter.shape, generator=generator))


def save_peft(model, folder):
    model.peft_config["default"].base_model_name_or_path = "tiny"
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)


def record_peft(out, name, tied, config):
    model = get_peft_model(make_base(tied), config)
    model.eval()
    randomise(model, name)
    logits = logits_of(model)
    save_peft(model, out / name)
    again = PeftModel.from_pretrained(make_base(tied), out / name).eval()
    assert torch.equal(logits_of(again), logits), f"{name}: PEFT does not read back what it saved"
    return logits


def lora(r=3, alpha=6, targets=("q_proj", "v_proj"), **fields):
    return LoraConfig(r=r, lora_alpha=alpha, target_modules=targets if isinstance(targets, str) else list(targets), **fields)


EMBED, HEAD = "embed_tokens", "lm_head"
BOTH = [EMBED, HEAD]

# name -> (tied base?, configuration)
PEFT_CASES = {
    # LoRA and its fields
    "lora": (False, lora()),
    "lora_rank1": (False, lora(r=1, alpha=2)),
    "lora_rank33": (True, lora(r=33, alpha=16, targets=["k_proj"])),
    "lora_all_linear": (False, lora(r=2, targets="all-linear")),
    "lora_regex": (False, lora(targets=r"model\.layers\.1\.(self_attn\.(q|k)_proj|mlp\.down_proj)")),
    "lora_exclude": (False, lora(r=2, targets=ATTENTION, exclude_modules=["layers.0.self_attn.q_proj", "o_proj"])),
    "lora_exclude_regex": (False, lora(r=2, targets=ATTENTION, exclude_modules=r".*layers\.0.*")),
    "lora_layer": (False, lora(targets=["q_proj", "down_proj"], layers_to_transform=1)),
    "lora_layers_pattern": (False, lora(targets=["q_proj"], layers_to_transform=[0], layers_pattern="layers")),
    "lora_patterns": (False, lora(r=2, targets=["q_proj", "v_proj", "down_proj"], rank_pattern={"down_proj": 4, r"layers\.1\..*q_proj": 1},
                                  alpha_pattern={"v_proj": 11, "model.layers.0.mlp.down_proj": 3})),
    "rslora": (False, lora(r=4, use_rslora=True)),
    "rslora_patterns": (True, lora(r=4, use_rslora=True, rank_pattern={"q_proj": 2}, alpha_pattern={"v_proj": 3})),
    "lora_gaussian": (True, lora(init_lora_weights="gaussian")),
    "lora_orthogonal": (True, lora(r=2, init_lora_weights="orthogonal")),
    "lora_bias_only": (False, lora(bias="lora_only", targets=["q_proj", "down_proj"])),
    "lora_bias_all": (False, lora(bias="all", r=2)),
    "lora_lora_bias": (False, lora(lora_bias=True)),
    "lora_lora_bias_bias_only": (False, lora(lora_bias=True, bias="lora_only", use_rslora=True)),
    "lora_saved_norms": (False, lora(modules_to_save=["norm"])),
    "lora_saved_linear": (False, lora(r=2, targets=["q_proj"], modules_to_save=["layers.1.self_attn.v_proj"])),
    "lora_saved_mlp": (True, lora(r=2, targets="all-linear", modules_to_save=["layers.0.mlp"])),
    # DoRA
    "dora": (False, lora(use_dora=True)),
    "dora_rs_patterns": (False, lora(r=2, targets=["k_proj", "down_proj"], use_dora=True, use_rslora=True, rank_pattern={"down_proj": 5})),
    "dora_bias_only": (False, lora(use_dora=True, bias="lora_only")),
    "dora_embed_tied": (True, lora(use_dora=True, targets=[EMBED])),
    "dora_head_tied": (True, lora(use_dora=True, targets=[HEAD])),
    "dora_both": (False, lora(r=2, use_dora=True, targets=BOTH)),
    # embedding and head, untied and tied
    "lora_embed": (False, lora(targets=[EMBED, "q_proj"])),
    "lora_head": (False, lora(targets=[HEAD])),
    "saved_both": (False, lora(r=1, targets=["q_proj"], modules_to_save=BOTH)),
    "tokens": (False, lora(targets=["q_proj"], trainable_token_indices=[46, 5, 9])),
    "tokens_both": (False, lora(targets=["q_proj"], trainable_token_indices={EMBED: [5, 9], HEAD: [5, 33]})),
    "tied_embed": (True, lora(targets=[EMBED, "q_proj"])),
    "tied_head": (True, lora(targets=[HEAD, "q_proj"])),
    "tied_both": (True, lora(targets=BOTH)),
    "tied_embed_ensure": (True, lora(targets=[EMBED, "q_proj"], ensure_weight_tying=True)),
    "tied_head_ensure": (True, lora(targets=[HEAD, "q_proj"], ensure_weight_tying=True)),
    "tied_both_ensure_rs": (True, lora(targets=BOTH, ensure_weight_tying=True, use_rslora=True)),
    "tied_regex_ensure": (True, lora(targets=r".*(embed_tokens|q_proj)", ensure_weight_tying=True)),
    "tied_saved_embed": (True, lora(r=1, targets=["q_proj"], modules_to_save=[EMBED])),
    "tied_saved_head": (True, lora(r=1, targets=["q_proj"], modules_to_save=[HEAD])),
    "tied_saved_both": (True, lora(r=1, targets=["q_proj"], modules_to_save=BOTH)),
    "tied_saved_embed_ensure": (True, lora(r=1, targets=["q_proj"], modules_to_save=[EMBED], ensure_weight_tying=True)),
    "tied_saved_head_ensure": (True, lora(r=1, targets=["q_proj"], modules_to_save=[HEAD], ensure_weight_tying=True)),
    "tied_tokens": (True, lora(targets=["q_proj"], trainable_token_indices=[46, 5, 9])),
    "tied_tokens_many": (True, lora(targets=["q_proj"], trainable_token_indices=[46, 5, 9, 1, 33, 47, 0])),
    "tied_tokens_embed": (True, lora(targets=["q_proj"], trainable_token_indices={EMBED: [5, 9]})),
    "tied_tokens_head": (True, lora(targets=["q_proj"], trainable_token_indices={HEAD: [5, 9]})),
    "tied_tokens_same": (True, lora(targets=["q_proj"], trainable_token_indices={EMBED: [5, 9], HEAD: [5, 9]})),
    "tied_tokens_differ": (True, lora(targets=["q_proj"], trainable_token_indices={EMBED: [5, 9], HEAD: [46]})),
    "tied_tokens_ensure": (True, lora(targets=["q_proj"], trainable_token_indices=[9], ensure_weight_tying=True)),
    "tied_tokens_lora_head": (True, lora(targets=["q_proj", HEAD], trainable_token_indices=[5, 9])),
    # IA3
    "ia3": (False, IA3Config(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"])),
    "ia3_outputs": (False, IA3Config(target_modules=SEVEN, feedforward_modules=[])),
    "ia3_regex": (True, IA3Config(target_modules=r".*layers\.1\..*_proj", feedforward_modules=r".*mlp.*")),
    "ia3_head": (True, IA3Config(target_modules=["q_proj", HEAD], feedforward_modules=[HEAD])),
    "ia3_saved": (False, IA3Config(target_modules=["k_proj"], feedforward_modules=[], modules_to_save=["model.norm"])),
    # VeRA
    "vera": (False, VeraConfig(r=8, target_modules=["q_proj", "v_proj"])),
    "vera_shapes": (False, VeraConfig(r=5, target_modules=["k_proj", "up_proj", "down_proj"], layers_to_transform=[1])),
    "vera_bias": (False, VeraConfig(r=4, target_modules=["q_proj"], bias="vera_only")),
    # HiRA
    "hira": (False, HiraConfig(r=3, target_modules=["q_proj", "down_proj"])),
    "hira_pattern": (True, HiraConfig(r=2, target_modules=["k_proj", "o_proj"], rank_pattern={"o_proj": 4})),
    "hira_embed": (True, HiraConfig(r=2, target_modules=[EMBED, "q_proj"])),
    # LoHa
    "loha": (False, LoHaConfig(r=3, alpha=6, target_modules=["q_proj", "down_proj"])),
    "loha_rank1": (True, LoHaConfig(r=1, alpha=2, target_modules=["v_proj"])),
    "loha_patterns": (False, LoHaConfig(r=2, alpha=4, target_modules=["q_proj", "v_proj", "down_proj"], rank_pattern={"down_proj": 4},
                                        alpha_pattern={"v_proj": 11})),
    "loha_head": (True, LoHaConfig(r=2, alpha=3, target_modules=[HEAD, "k_proj"], layers_to_transform=[0])),
    # MiSS: inputs of 24 and 40 in blocks of 4 (whole), 7 and 9 (the last block is shorter)
    "miss": (False, MissConfig(r=4, target_modules=["q_proj", "down_proj"])),
    "miss_uneven": (True, MissConfig(r=7, target_modules="all-linear")),
    "miss_bias": (False, MissConfig(r=9, target_modules=["k_proj"], bias="all")),
    "miss_mini": (False, MissConfig(r=5, mini_r=6, init_weights="mini", target_modules=["q_proj", "o_proj"])),
}

# Saved by PEFT, but not computed here: the field that the refusal has to name.
REFUSED_CASES = {
    "refused_alora": ("alora_invocation_tokens", True, lambda: lora(task_type="CAUSAL_LM", alora_invocation_tokens=[5])),
    "refused_layer_replication": ("layer_replication", True, lambda: lora(r=1, layer_replication=[[0, 2], [1, 2]])),
    "refused_pissa": ("init_lora_weights", True, lambda: lora(init_lora_weights="pissa")),
    "refused_olora": ("init_lora_weights", True, lambda: lora(init_lora_weights="olora")),
    "refused_bdlora": ("use_bdlora", True, lambda: lora(use_bdlora=peft.tuners.lora.config.BdLoraConfig(
        target_modules_bd_a=["q_proj"], nblocks=1, match_strict=False))),
    "refused_kasa": ("kasa_config", True, lambda: lora(kasa_config=peft.tuners.lora.config.KasaConfig())),
    "refused_velora": ("velora_config", True, lambda: lora(velora_config=peft.tuners.lora.config.VeloraConfig(num_groups=8))),
    "refused_miss_bat": ("init_weights", True, lambda: MissConfig(r=4, init_weights="bat", target_modules=["q_proj"])),
    "refused_vera_projection": ("save_projection", True, lambda: VeraConfig(r=2, target_modules=["q_proj"], save_projection=False)),
}


def flora_config(r, targets, **fields):
    config = {
        "peft_type": "FLORA", "flora_format": 1, "base_model_name_or_path": "tiny", "revision": None,
        "task_type": "CAUSAL_LM", "inference_mode": True, "r": r, "flora_alpha": None, "reduction": "mean",
        "form": "multiplicative", "scale_bias": False, "flora_dropout": 0.0, "init_flora_weights": "identity_lora",
        "init_scale": 0.01, "store_offset": False, "target_modules": targets, "exclude_modules": None,
        "fan_in_fan_out": False, "bias": "none", "modules_to_save": None, "layers_to_transform": None,
        "layers_pattern": None, "rank_pattern": {}, "alpha_pattern": {}}
    unknown = set(fields) - set(config) - {"missing"}
    assert not unknown, unknown
    return {**config, **{key: value for key, value in fields.items() if key != "missing"}}, fields.get("missing")


FLORA_CASES = {
    "flora_rank1": (False, flora_config(1, SEVEN)),
    "flora_mean": (False, flora_config(4, ["q_proj", "down_proj"])),
    "flora_sum": (False, flora_config(2, ["q_proj", "v_proj"], reduction="sum")),
    "flora_alpha": (True, flora_config(3, ["k_proj", "up_proj"], flora_alpha=4)),
    "flora_residual": (False, flora_config(3, ["q_proj", "down_proj"], form="residual")),
    "flora_residual_scale_bias": (False, flora_config(2, ["q_proj"], form="residual", scale_bias=True)),
    "flora_scale_bias": (False, flora_config(2, ["k_proj", "o_proj"], scale_bias=True)),
    "flora_offset": (True, flora_config(2, ["q_proj", "gate_proj"], store_offset=True)),
    "flora_without_a": (False, flora_config(1, ["k_proj"], missing="A", scale_bias=True)),  # IA3's output side
    "flora_without_b": (True, flora_config(2, ["down_proj"], missing="B")),
    "flora_patterns": (True, flora_config(2, ["q_proj", "v_proj"], rank_pattern={"v_proj": 3}, alpha_pattern={"v_proj": 2})),
    "flora_embed": (True, flora_config(2, ["embed_tokens", "q_proj"])),
    "flora_head": (True, flora_config(2, ["lm_head"], form="residual")),
}


def record_flora(out, name, tied, case):
    config, missing = case
    model = make_base(tied)
    generator = seeded(name)
    tensors = {}
    if tied and any(t in BOTH for t in config["target_modules"]):  # the two sides are changed apart
        model.config.tie_word_embeddings = False
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    for path, module in list(model.named_modules()):
        leaf = path.split(".")[-1]
        if leaf not in config["target_modules"]:
            continue
        rank = config["rank_pattern"].get(leaf, config["r"])
        scale = 1 / rank if config["reduction"] == "mean" else 1.0
        alpha = config["alpha_pattern"].get(leaf, config["flora_alpha"])
        scale = alpha / rank if alpha is not None else scale
        embedding = isinstance(module, torch.nn.Embedding)
        sizes = (VOCAB, HIDDEN) if embedding else (module.in_features, module.out_features)
        center = 0.0 if config["store_offset"] else 1.0
        a = center + 0.4 * torch.randn(rank, sizes[0], generator=generator)
        b = center + 0.4 * torch.randn(sizes[1], rank, generator=generator)
        infix = "flora_embedding_" if embedding else "flora_"
        if missing != "A":
            tensors[f"base_model.model.{path}.{infix}A"] = a
        if missing != "B":
            tensors[f"base_model.model.{path}.{infix}B"] = b
        if config["store_offset"]:
            a, b = a + 1, b + 1
        a = torch.ones_like(a) if missing == "A" else a
        b = torch.ones_like(b) if missing == "B" else b
        factor = scale * (b @ a) + (1.0 if config["form"] == "residual" else 0.0)
        with torch.no_grad():
            module.weight.mul_(factor.T if embedding else factor)
            if config["scale_bias"] and module.bias is not None:
                module.bias.mul_(scale * b.sum(1) + (1.0 if config["form"] == "residual" else 0.0))
    folder = out / name
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    save_file(tensors, folder / "adapter_model.safetensors",
              metadata={"format": "pt", "flora_format": "1", "paper_names": "A=B_i^T,B=A_i^T"})
    return logits_of(model)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/goldens/adapters"))
    parser.add_argument("--add", action="store_true")
    args = parser.parse_args()
    out = args.out
    rounded = lambda logits: [round(float(value), 5) for value in logits.flatten()]
    if args.add:
        old = json.loads((out / "goldens.json").read_text())
        cases, refused = old["cases"], old["refused"]
        bases = {tied: logits_of(make_base(tied)) for tied in (False, True)}
    else:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        bases = {False: saved_base(out, "base_untied", False), True: saved_base(out, "base_tied", True)}
        cases = [{"name": "", "base": "base_tied" if tied else "base_untied", "logits": rounded(bases[tied])} for tied in bases]
        refused = []
    there = {case["name"] for case in cases + refused}

    def add(name, tied, logits):
        change = (logits - bases[tied]).abs().max().item()
        assert change > 0.01, f"{name} changes nothing"
        cases.append({"name": name, "base": "base_tied" if tied else "base_untied", "logits": rounded(logits)})

    for name, (tied, config) in PEFT_CASES.items():
        if name in there:
            continue
        add(name, tied, record_peft(out, name, tied, config))
    for name, (tied, case) in FLORA_CASES.items():
        if name in there:
            continue
        add(name, tied, record_flora(out, name, tied, case))
    for name, (field, tied, config) in REFUSED_CASES.items():
        if name in there:
            continue
        model = get_peft_model(make_base(tied), config())
        save_peft(model, out / name)
        assert load_file(out / name / "adapter_model.safetensors")
        refused.append({"name": name, "base": "base_tied" if tied else "base_untied", "field": field})
    golden = {"versions": {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__},
              "tokens": TOKENS, "rows": ROWS, "cases": cases, "refused": refused}
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    golden_text = json.dumps({**golden, "cases": "@"}).replace('"@"', "[\n" + lines + "\n]")
    (out / "goldens.json").write_text(golden_text + "\n")
    print(f"{len(cases)} cases, {len(refused)} refusals, {sum(f.stat().st_size for f in out.rglob('*') if f.is_file()) >> 10} KB")


if __name__ == "__main__":
    main()
