#!/usr/bin/env python3
"""Records a plain torch pre-training run for src/train/step/pretrain_test.cc: seedling's shape, f32, AdamW 0.9/0.95, weight decay 0.1 on
everything, clip 1.0, rate 3e-3 with warm-up and cosine; 100 steps of 8 windows of 256 tokens. The batches are the public-domain books
of the corpus, joined with </s>, cut into windows of 257. Initial weights are a formula that the test computes too.

  tools/record_pretrain_goldens.py CORPUS_FOLDER > tests/goldens/pretrain.json      (needs torch, transformers)"""
import gzip, json, math, pathlib, sys
import numpy as np
import torch, transformers

ROOT = pathlib.Path(__file__).resolve().parent.parent
STEPS, BATCH, LENGTH, RATE, WARMUP, FLOOR = 100, 8, 256, 3e-3, 20, 0.05
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def noise(count, name):
    """In [-1, 1): a multiplicative hash of (index, name), exact in f32."""
    stream = 0
    for character in name.encode():
        stream = (stream * 31 + character) % (1 << 32)
    x = (np.arange(count, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(stream)) % np.uint64(1 << 32)
    for multiplier in (2246822519, 3266489917):
        x = (x ^ (x >> np.uint64(15))) * np.uint64(multiplier) % np.uint64(1 << 32)
    x = (x ^ (x >> np.uint64(13))) >> np.uint64(8)
    return (x.astype(np.float64) / (1 << 23) - 1.0).astype(np.float32)


def windows(folder):
    tokenizer = transformers.AutoTokenizer.from_pretrained(ROOT / "assets/seedling")
    ids, wanted = [], STEPS * BATCH * (LENGTH + 1)
    with gzip.open(pathlib.Path(folder) / "train-00.jsonl.gz", "rt") as lines:
        for line in lines:
            document = json.loads(line)
            if not document["source"].startswith("classic-books"):
                continue
            ids += tokenizer.encode(document["text"], add_special_tokens=False) + [2]
            if len(ids) >= wanted:
                break
    return np.array(ids[:wanted]).reshape(STEPS, BATCH, LENGTH + 1)


def factor(step):
    return min(1.0, (step + 1) / WARMUP) * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * step / STEPS)))


def run(batches, dtype):
    """dtype bfloat16: f32 masters, the arithmetic under autocast."""
    config = transformers.AutoConfig.from_pretrained(ROOT / "assets/seedling")
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.fill_(1.0)
            else:
                parameter.copy_(torch.from_numpy(noise(parameter.numel(), name) * np.float32(0.0346410162)).view(parameter.shape))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    losses, norms = [], []
    for step, batch in enumerate(torch.from_numpy(batches)):
        for group in optimizer.param_groups:
            group["lr"] = RATE * factor(step)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            logits = model(batch[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item())
        optimizer.step()
        losses.append(loss.item())
        print(step, losses[-1], file=sys.stderr, flush=True)
    return losses, norms


batches = windows(sys.argv[1])
losses, norms = run(batches, torch.float32)
json.dump({"versions": {"torch": torch.__version__, "transformers": transformers.__version__},
           "steps": STEPS, "batch": BATCH, "length": LENGTH, "rate": RATE, "warmup_share": WARMUP / STEPS, "floor": FLOOR,
           "losses": losses, "gradient_norms": norms, "losses_bf16": run(batches, torch.bfloat16)[0] if "--bf16" in sys.argv else None,
           "ids": "".join(ALPHABET[i >> 6] + ALPHABET[i & 63] for i in batches.flatten().tolist())}, sys.stdout)
print()
