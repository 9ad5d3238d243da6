#!/usr/bin/env python3
"""Records what torch and bitsandbytes make of a few optimizer steps, for src/train/optim/optimizer_test.cc: values and gradients are
formulas that both sides compute, so the file holds results only.

  tools/record_optimizer_goldens.py > tests/goldens/optimizers.json      (needs torch, bitsandbytes; its CPU backend)"""
import json
import numpy as np
import torch, bitsandbytes
import bitsandbytes.functional as F

COUNT, STEPS, RATE = 8192, 8, 1e-2


def noise(i, stream):
    """In [-1, 1): a multiplicative hash of (i, stream), exact in f32."""
    x = (i.astype(np.uint64) * np.uint64(2654435761) + np.uint64(stream) * np.uint64(40503) + np.uint64(12345)) % np.uint64(1 << 32)
    x = (x ^ (x >> np.uint64(15))) * np.uint64(2246822519) % np.uint64(1 << 32)
    x = (x ^ (x >> np.uint64(13))) >> np.uint64(8)
    return (x.astype(np.float64) / (1 << 23) - 1.0).astype(np.float32)


def start():
    return torch.from_numpy(noise(np.arange(COUNT), 0).copy())


def gradient(step):
    """Of two sizes. bitsandbytes' CPU code rounds what is below 2e-5 of a block's largest value up to that; so none is."""
    i = np.arange(COUNT)
    return torch.from_numpy(((np.sign(noise(i, step)) * np.float32(0.3) + noise(i, step)) * (np.float32(0.25) + (i % 64 == 0))).astype(np.float32))


def run(make):
    parameter = torch.nn.Parameter(start())
    optimizer = make([parameter])
    for step in range(1, STEPS + 1):
        parameter.grad = gradient(step)
        optimizer.step()
    return parameter.detach().numpy(), optimizer.state[parameter]


def sample(values):
    return [float(x) for x in values[::127]]


adamw, _ = run(lambda p: torch.optim.AdamW(p, lr=RATE, weight_decay=0.1))
sgd, _ = run(lambda p: torch.optim.SGD(p, lr=RATE, weight_decay=0.1, momentum=0.9))
plain, _ = run(lambda p: torch.optim.SGD(p, lr=RATE))
eight, state = run(lambda p: bitsandbytes.optim.AdamW8bit(p, lr=RATE, weight_decay=0.0))
print(json.dumps({
    "versions": {"torch": torch.__version__, "bitsandbytes": bitsandbytes.__version__},
    "count": COUNT, "steps": STEPS, "rate": RATE,
    "adamw": sample(adamw), "sgd_momentum": sample(sgd), "sgd": sample(plain), "adamw8bit": sample(eight),
    "signed_map": [float(x) for x in F.create_dynamic_map(True)], "unsigned_map": [float(x) for x in F.create_dynamic_map(False)],
    "m_absmax": [float(x) for x in state["absmax1"]], "v_absmax": [float(x) for x in state["absmax2"]],
    "m_codes": [int(x) for x in state["state1"][:512]], "v_codes": [int(x) for x in state["state2"][:512]]}))
