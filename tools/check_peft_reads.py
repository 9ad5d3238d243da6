#!/usr/bin/env python3
"""Trains an adapter of every kind with `umbel train` on seedling and compares what `umbel score` and PEFT make of the written
folders: log-likelihoods of held-out completions, f32. PEFT has no FLoRA: there the weights W o (s B A) are formed in torch.

  tools/check_peft_reads.py build/release/umbel      (needs torch, transformers, peft, safetensors)

Prints a line per adapter with the largest relative difference; leaves with 1 when one is above 1e-4."""
import json, pathlib, subprocess, sys, tempfile, warnings
import peft, torch, transformers
from safetensors.torch import load_file

warnings.simplefilter("ignore")
ROOT = pathlib.Path(__file__).resolve().parent.parent
BASE, TASK, ROWS, TOLERANCE = ROOT / "assets/seedling", ROOT / "assets/tasks/banking77.test.jsonl", 12, 1e-4
SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
JOBS = [
    {"name": "lora", "kind": "lora", "rank": 4, "targets": ["q_proj", "v_proj", "embed_tokens", "lm_head"], "dropout": 0.1},
    {"name": "lora_layers", "kind": "lora", "rank": 4, "targets": SEVEN, "layers": [1, 2], "exclude": ["up_proj"]},
    {"name": "rslora", "kind": "rslora", "rank": 4, "target_regex": r".*\.(q|v|down)_proj", "rank_pattern": {"q_proj": 6},
     "alpha_pattern": {r"layers\.1\.self_attn\.v_proj": 5}},
    {"name": "lora_plus", "kind": "lora-plus", "rank": 4, "learning_rate": 5e-4},
    {"name": "dora", "kind": "dora", "rank": 4, "all_linear": True},
    {"name": "loha", "kind": "loha", "rank": 6, "all_linear": True},
    {"name": "miss", "kind": "miss", "rank": 24, "all_linear": True, "dropout": 0.05},
    {"name": "vera", "kind": "vera", "rank": 32, "all_linear": True, "dropout": 0.05, "learning_rate": 3e-2},
    {"name": "ia3", "kind": "ia3", "learning_rate": 5e-2},
    {"name": "ia3_layers", "kind": "ia3", "layers": [0, 3], "learning_rate": 5e-2},
    {"name": "ia3_all_linear", "kind": "ia3", "all_linear": True, "learning_rate": 2e-2},
    {"name": "flora", "kind": "flora", "rank": 4, "learning_rate": 2e-2},
    {"name": "flora_residual", "kind": "flora-residual", "rank": 2, "learning_rate": 2e-2},
]


def train(program, folder):
    rows = TASK.read_text().splitlines()
    (folder / "rows.jsonl").write_text("\n".join(rows[ROWS:ROWS + 64]) + "\n")
    (folder / "held_out.jsonl").write_text("\n".join(rows[:ROWS]) + "\n")
    config = {"base": str(BASE), "dtype": "f32", "out": str(folder / "run"), "jobs": [
        {**job, "data": str(folder / "rows.jsonl"), "out": str(folder / job["name"]), "batch": 16, "epochs": 2} for job in JOBS]}
    (folder / "run.yaml").write_text(json.dumps(config))  # JSON is YAML
    subprocess.run([program, "train", folder / "run.yaml"], check=True)


def scores_of_umbel(program, folder, name):
    out = subprocess.run([program, "score", BASE, "--dtype", "f32", "--adapter", folder / name, "--rows", folder / "held_out.jsonl", "--eos", "--json"],
                         check=True, capture_output=True, text=True).stdout
    return torch.tensor([json.loads(line)["log_likelihood"] for line in out.splitlines()], dtype=torch.float64)


def with_flora(model, folder, config):
    tensors = load_file(folder / "adapter_model.safetensors")
    for key in {k.rsplit(".", 1)[0] for k in tensors}:
        a, b = tensors[key + ".flora_A"], tensors[key + ".flora_B"]
        weight = model.get_submodule(key.removeprefix("base_model.model.")).weight
        weight.data *= b @ a / a.shape[0] + (1.0 if config["form"] == "residual" else 0.0)
    return model


def with_adapter(folder):
    model = transformers.AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    config = json.loads((folder / "adapter_config.json").read_text())
    if config["peft_type"] == "FLORA":
        return with_flora(model, folder, config)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*missing adapter keys.*")
        return peft.PeftModel.from_pretrained(model, folder)


def scores_of_torch(model, tokenizer, rows):
    scores = []
    for row in rows:
        prompt = [1] + tokenizer.encode(row["prompt"], add_special_tokens=False)
        ids = torch.tensor([prompt + tokenizer.encode(row["completion"], add_special_tokens=False) + [2]])
        with torch.no_grad():
            losses = torch.nn.functional.cross_entropy(model.eval()(ids).logits[0, len(prompt) - 1:-1], ids[0, len(prompt):], reduction="none")
        scores.append(-losses.double().sum())
    return torch.stack(scores)


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(BASE / "tokenizer.json"))
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}")
    failed = False
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        train(program, folder)
        rows = [json.loads(line) for line in (folder / "held_out.jsonl").read_text().splitlines()]
        base = scores_of_torch(transformers.AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32), tokenizer, rows)
        for job in JOBS:
            ours = scores_of_umbel(program, folder, job["name"])
            theirs = scores_of_torch(with_adapter(folder / job["name"]), tokenizer, rows)
            difference = ((ours - theirs).abs().max() / theirs.abs().max()).item()
            moved = ((base - theirs).abs().max() / theirs.abs().max()).item()
            failed |= difference > TOLERANCE or moved < 10 * TOLERANCE
            print(f"{job['name']:15s} largest relative difference {difference:.1e} (to the base {moved:.1e})")
    sys.exit(1 if failed else 0)


main()
