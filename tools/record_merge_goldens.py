#!/usr/bin/env python3
"""Records what PEFT makes of several LoRA adapters of one base: add_weighted_adapter with linear, cat and ties.

    python tools/record_merge_goldens.py [--out tests/goldens/merge]

Needs torch, transformers and peft (used only here; their versions stand in goldens.json). Input are small LoRA adapters on a
tiny random base, written as PEFT saves them; for every case the folder of the merged adapter, as PEFT saves it. DARE draws
random masks inside torch, so there is nothing of PEFT's to compare with: its tests use a scalar reference.
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
from peft import LoraConfig, get_peft_model

warnings.simplefilter("ignore")

ADAPTERS = {
    "one": dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]),
    "two": dict(r=4, lora_alpha=2, use_rslora=True, target_modules=["q_proj", "down_proj"]),
    "three": dict(r=6, lora_alpha=3, target_modules=["v_proj", "embed_tokens"]),
    "patterns": dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], rank_pattern={"v_proj": 2}, alpha_pattern={"v_proj": 6}),
}
CASES = {
    "linear": dict(adapters=["one", "two"], weights=[0.5, 0.5], method="linear"),
    "linear_negative": dict(adapters=["one", "two"], weights=[1.25, -0.5], method="linear"),
    "cat": dict(adapters=["one", "two"], weights=[0.7, 0.3], method="cat"),
    "cat_ranks": dict(adapters=["one", "three", "patterns"], weights=[0.7, -0.3, 2.0], method="cat"),
    "ties": dict(adapters=["one", "two"], weights=[0.5, 0.5], method="ties", density=0.5),
    "ties_sparse": dict(adapters=["one", "two"], weights=[1.0, 0.4], method="ties", density=0.21),
    "ties_frequency": dict(adapters=["one", "two"], weights=[1.0, -0.4], method="ties", density=0.7, majority_sign="frequency"),
}


def make_model():
    config = transformers.LlamaConfig(
        hidden_size=24, intermediate_size=40, num_hidden_layers=1, num_attention_heads=3, num_key_value_heads=1, vocab_size=32,
        max_position_embeddings=32, tie_word_embeddings=False)
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(config).eval()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default="tests/goldens/merge")
    out = pathlib.Path(parser.parse_args().out)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    model = None
    for number, (name, fields) in enumerate(ADAPTERS.items()):
        config = LoraConfig(task_type="CAUSAL_LM", **fields)
        if model is None:
            model = get_peft_model(make_model(), config, adapter_name=name)
        else:
            model.add_adapter(name, config)
        torch.manual_seed(100 + number)
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if f".{name}" in key and "lora_" in key:
                    parameter.copy_(torch.randn(parameter.shape))
    cases = []
    for name, case in CASES.items():
        extra = {"density": case["density"]} if "density" in case else {}
        if "majority_sign" in case:
            extra["majority_sign_method"] = case["majority_sign"]
        model.add_weighted_adapter(case["adapters"], case["weights"], f"merged_{name}", combination_type=case["method"], **extra)
        cases.append({"name": f"merged_{name}", **case})
    for name in [*ADAPTERS, *(case["name"] for case in cases)]:
        model.save_pretrained(str(out), selected_adapters=[name], save_embedding_layers=False)
        (out / name / "README.md").unlink(missing_ok=True)
        config = json.loads((out / name / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = "tiny"
        (out / name / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    (out / "README.md").unlink(missing_ok=True)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    (out / "goldens.json").write_text(json.dumps({"versions": versions, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
