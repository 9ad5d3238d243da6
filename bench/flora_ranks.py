#!/usr/bin/env python3
"""FLoRA as in its paper, small: LoRA, IA3 and FLoRA of ranks 1, 2, 4, 8 on one real task and one budget, all by umbel on seedling.

    python3 bench/flora_ranks.py [--task restaurant8k] [--epochs 2] [--sweep-rows 1500] [--umbel build/release/umbel] [--work DIR]

First every kind's learning rate: a sweep over five rates on the first --sweep-rows rows, one epoch, judged by the loss of 300 held-out training rows
(FLoRA's at rank 1 and 4; rank 2 takes the former's, rank 8 the latter's). Then every arm alone, in a process of its own, over the whole training file; its test
rows are answered greedily (recipes/score.py). Printed: a table in Markdown with held-out loss, exact match, trained numbers, what the plan and the process say
of memory, seconds; and the quotient of the best rates. "A tape would hold" is computed, not measured: the expanded inputs and outputs, rank x (in + out)
floats a token and module, that an autograd tape over the expanded product keeps for one pass beside the module's own input.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
RATES = {"lora": [3e-4, 1e-3, 3e-3, 1e-2, 3e-2], "ia3": [3e-3, 1e-2, 3e-2, 1e-1, 3e-1], "flora": [3e-3, 1e-2, 3e-2, 1e-1, 3e-1]}
ARMS = [("lora-r8", "lora", 8, "lora-r8"), ("ia3", "ia3", 0, "ia3"), ("flora-r1", "flora", 1, "flora-r1"), ("flora-r2", "flora", 2, "flora-r1"),
        ("flora-r4", "flora", 4, "flora-r4"), ("flora-r8", "flora", 8, "flora-r4")]
COMMON = {"eval_rows": 300, "length_max": 512, "batch": 64, "seed": 1, "keep_best": False}


def job_of(name, kind, rank, data, **more):
    job = {"name": name, "kind": kind, "data": str(data), **COMMON, **more}
    if kind != "ia3":
        job.update(rank=rank, targets=SEVEN)
    return job


def train(options, folder, jobs):
    config = {"base": "seedling", "dtype": options.dtype, "out": str(folder), "jobs": jobs}
    path = folder.parent / (folder.name + ".yaml")
    path.write_text(json.dumps(config))  # JSON is YAML
    done = subprocess.run([options.umbel, "train", path, "--json"], stdout=subprocess.PIPE, text=True)
    if done.returncode not in (0, 2):
        sys.exit("umbel train failed")
    return json.loads(done.stdout)


def sweep(options, work, data):
    """Best rate by arm that has a sweep of its own, with the held-out loss of every rate."""
    few = work / "few.jsonl"
    few.write_text("\n".join(data.read_text(encoding="utf-8").splitlines()[:options.sweep_rows + 300]) + "\n")
    jobs = [job_of(name, kind, rank, few, epochs=1, learning_rate=RATES[kind], sweep={"halve_at": []}, worse_than_base_fails=False)
            for name, kind, rank, of in ARMS if name == of]
    losses = {}
    for outcome in train(options, work / "sweep", jobs)["jobs"]:
        rate = float(outcome["name"].removeprefix(outcome["sweep"] + "-lr"))  # an arm is named after its values
        losses.setdefault(outcome["sweep"], {})[rate] = outcome.get("eval_loss")
    return {arm: (min((r for r in of if of[r] is not None), key=lambda r: of[r]), of) for arm, of in losses.items()}


def score(options, folder):
    done = subprocess.run([sys.executable, ROOT / "recipes/score.py", "--umbel", options.umbel, "--adapters", folder, "--tasks", options.tasks,
                           "--rows", str(options.rows)], stdout=subprocess.PIPE, check=True, text=True)
    return next(iter(json.loads(done.stdout).values()))


def tape_bytes(rank, pass_rows):
    config = json.loads((ROOT / "assets/seedling/config.json").read_text())
    hidden, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    key_value = config["num_key_value_heads"] * head
    shapes = [(hidden, hidden), (hidden, key_value), (hidden, key_value), (hidden, hidden), (hidden, inner), (hidden, inner), (inner, hidden)]
    return 4 * config["num_hidden_layers"] * pass_rows * rank * sum(a + b for a, b in shapes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--umbel", default=str(ROOT / "build/release/umbel"))
    parser.add_argument("--tasks", default=ROOT.parent / "shared/data/tasks", type=pathlib.Path)
    parser.add_argument("--task", default="restaurant8k")
    parser.add_argument("--dtype", default="f32")
    parser.add_argument("--epochs", default=2, type=int)
    parser.add_argument("--sweep-rows", default=1500, type=int)
    parser.add_argument("--rows", default=1000, type=int, help="test rows")
    parser.add_argument("--work", default=None, type=pathlib.Path)
    options = parser.parse_args()
    work = options.work or pathlib.Path(tempfile.mkdtemp(prefix="flora-ranks-"))
    work.mkdir(parents=True, exist_ok=True)
    data = options.tasks / f"{options.task}.train.jsonl"
    best = sweep(options, work, data)
    for arm, (rate, losses) in best.items():
        print(f"{arm}: best rate {rate:g}; held-out losses " + ", ".join(f"{r:g}: {loss}" for r, loss in losses.items()))
    print("\n| arm | rate | held-out loss | exact match | trained | adapter + activations + scratch (plan) | a tape would hold | peak of the process | time |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, kind, rank, of in ARMS:
        folder = work / f"arm-{name}"
        job = job_of(f"{options.task}-{name}", kind, rank, data, epochs=options.epochs, learning_rate=best[of][0])
        summary = train(options, folder, [{**job, "out": str(folder / "adapters" / job["name"])}])
        outcome, memory = summary["jobs"][0], summary["memory"]
        result = score(options, folder / "adapters")
        value = result.get("exact_match", result.get("nll"))
        plan = sum(memory[key] for key in ("adapters_bytes", "activations_bytes", "scratch_bytes"))
        tape = f"{tape_bytes(rank, 1024) / 1e6:.0f} MB" if kind == "flora" else "-"
        print(f"| {name} | {best[of][0]:g} | {outcome['eval_loss']:.4f} | {value:.3f} | {trained(folder / 'adapters' / job['name'])} | {plan / 1e6:.0f} MB | {tape} | "
              f"{summary['peak_bytes'] / 1e6:.0f} MB | {summary['seconds']:.0f} s |", flush=True)
    print(f"\nbest rate of FLoRA rank 1 over LoRA's: {best['flora-r1'][0] / best['lora-r8'][0]:.0f}; of rank 4: {best['flora-r4'][0] / best['lora-r8'][0]:.0f}; "
          f"of IA3: {best['ia3'][0] / best['lora-r8'][0]:.0f}")


def trained(folder):
    """Numbers in the adapter's file."""
    with open(folder / "adapter_model.safetensors", "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    count = 0
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        elements = 1
        for size in tensor["shape"]:
            elements *= size
        count += elements
    return count


if __name__ == "__main__":
    main()
