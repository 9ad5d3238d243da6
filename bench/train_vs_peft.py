#!/usr/bin/env python3
"""Training speed and memory of umbel and of torch + PEFT, run in turn on one machine.

    python3 bench/train_vs_peft.py --umbel build/release/umbel [--cases 125m,jobs] [--rounds 3]

Any Python with torch, transformers and peft will do; without them the script says so and ends with 0, since there is nothing to compare with.
Both sides: random weights of one Llama shape, a LoRA on all seven linear layers, rows of random tokens that are all trained, AdamW, no dropout, a
warm-up step outside the clock, as many threads as the machine has CPUs. A round is one run of each side, one after the other, each in a
process of its own; the ratio of a round is umbel's median tokens/s over the peer's. Printed: every round, then median and range of the ratios.
"Beyond the weights" is the peak resident size of the process less the bytes of the frozen weights, and for the peer also less what
the process held before the model was made (interpreter and libraries).
"""
import argparse
import json
import statistics
import subprocess
import sys
import time

SHAPES = {  # as kShapes of src/apps/bench_train.cc
    "10m": dict(hidden_size=256, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=8, intermediate_size=704, vocab_size=4096),
    "125m": dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, num_key_value_heads=12, intermediate_size=2048, vocab_size=32000),
    "1.1b": dict(hidden_size=2048, num_hidden_layers=22, num_attention_heads=32, num_key_value_heads=4, intermediate_size=5632, vocab_size=32000),
}
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# name: shape, dtype, jobs, rank, rows, length, steps; ours: what umbel runs in (its f32 stands against the peer's best of both types)
CASES = {
    "125m": ("125m", "f32", 1, 16, 1, 512, 4),
    "125m-bf16": ("125m", "bf16", 1, 16, 1, 512, 3),
    "1.1b": ("1.1b", "f32", 1, 16, 1, 512, 2),
    "1.1b-bf16": ("1.1b", "bf16", 1, 16, 1, 512, 2),
    "jobs-4x128": ("10m", "f32", 16, 8, 4, 128, 20),
    "jobs-8x24": ("10m", "f32", 16, 8, 8, 24, 20),
    "jobs-1x64": ("10m", "f32", 16, 8, 1, 64, 20),
}


def resident(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))


def peer(shape, dtype, jobs, rank, rows, length, steps):
    """One run of torch + PEFT in this process; prints a JSON line."""
    import torch
    import transformers
    import peft

    before = resident("VmRSS:")
    kind = {"f32": torch.float32, "bf16": torch.bfloat16}[dtype]
    torch.manual_seed(1)
    config = transformers.LlamaConfig(**SHAPES[shape], max_position_embeddings=2048, rms_norm_eps=1e-5, tie_word_embeddings=False)
    with transformers.initialization.no_init_weights() if hasattr(transformers, "initialization") else torch.no_grad():
        model = transformers.LlamaForCausalLM(config).to(kind)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.uniform_(-0.035, 0.035)
            else:
                parameter.fill_(1.0)
    model.config.use_cache = False
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    times = []
    total = 0.0
    for job in range(jobs):
        lora = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=LINEAR, lora_dropout=0.0)
        tuned = peft.get_peft_model(model, lora, autocast_adapter_dtype=False).train()
        optimizer = torch.optim.AdamW([p for p in tuned.parameters() if p.requires_grad], lr=1e-4, weight_decay=0.0)
        generator = torch.Generator().manual_seed(job)
        for step in range(steps + (1 if job == 0 else 0)):
            ids = torch.randint(10, config.vocab_size, (rows, length + 1), generator=generator)
            begin = time.perf_counter()
            inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
            loss = tuned(input_ids=inputs, labels=targets, shift_labels=targets).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            loss.item()
            if job > 0 or step > 0:
                times.append(time.perf_counter() - begin)
                total += times[-1]
        model = tuned.unload()
    tokens = rows * length
    print(json.dumps({"tokens_per_s": tokens / statistics.median(times), "mean_tokens_per_s": tokens * len(times) / total,
                      "beyond_weights": resident("VmHWM:") - before - weights, "loss": loss.item(), "torch": torch.__version__,
                      "transformers": transformers.__version__, "peft": peft.__version__, "threads": torch.get_num_threads()}))


def last_json(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def compare(umbel, name, rounds):
    shape, dtype, jobs, rank, rows, length, steps = CASES[name]
    ratios, memory = [], []
    for round_index in range(rounds):
        ours = last_json([umbel, "bench-train", "--shape", shape, "--dtype", dtype, "--jobs", str(jobs), "--rank", str(rank), "--rows", str(rows),
                          "--length", str(length), "--steps", str(steps), "--pass-rows", str(min(1024, jobs * rows * length)), "--json"])
        theirs = last_json([sys.executable, __file__, "--peer", name])
        ours_beyond = ours["peak_resident_bytes"] - ours["weight_bytes"]
        # Many jobs: all work over all time on both sides; one job: the median step.
        ours_speed = jobs * rows * length * steps / ours["seconds"] if jobs > 1 else ours["tokens_per_s"]
        theirs_speed = theirs["mean_tokens_per_s"] if jobs > 1 else theirs["tokens_per_s"]
        ratios.append(ours_speed / theirs_speed)
        memory.append(ours_beyond / theirs["beyond_weights"])
        print(f"{name} round {round_index + 1}: umbel {ours_speed:.0f} tokens/s, {ours_beyond / 1e6:.0f} MB beyond the weights; "
              f"PEFT {theirs_speed:.0f} tokens/s, {theirs['beyond_weights'] / 1e6:.0f} MB; x{ratios[-1]:.2f}, memory x{memory[-1]:.2f} "
              f"(torch {theirs['torch']}, peft {theirs['peft']}, {theirs['threads']} threads)", flush=True)
    print(f"{name}: speed x{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), memory x{statistics.median(memory):.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--umbel", default="build/release/umbel")
    parser.add_argument("--cases", default=",".join(CASES), help="any of " + ", ".join(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.peer:
        peer(*CASES[flags.peer])
        return
    try:
        import torch, transformers, peft  # noqa: F401
    except ImportError as error:
        print(f"nothing to compare with: {error}. Install torch, transformers and peft.")
        return
    for name in flags.cases.split(","):
        compare(flags.umbel, name, flags.rounds)


if __name__ == "__main__":
    main()
