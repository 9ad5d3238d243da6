#!/usr/bin/env python3
"""Records what bitsandbytes' CPU backend makes of three tensors that both sides can compute from a formula.

    python tools/record_nf4_goldens.py [--out tests/goldens/models/nf4]

Needs torch and bitsandbytes (used only here; their versions stand in nf4.json). Stored per tensor: an FNV-1a hash of every 32
rows' codes (one byte a value) and of the numbers that bitsandbytes dequantises them to in f32, without nested statistics;
for one tensor also codes and absmax themselves (the stored form of a checkpoint); and of the doubly quantised form the code of
every absmax, the largest differences, the mean and the 256 levels.
"""

import argparse
import json
import pathlib

import bitsandbytes
import bitsandbytes.functional as bnb
import numpy as np
import torch

ROWS_PER_HASH = 32
TENSORS = [  # name, out, in, stored type
    ("bell", 1024, 2048, "f32"),
    ("bell", 1024, 2048, "bf16"),
    ("tails", 512, 2048, "f32"),
    ("ties", 64, 1024, "f32"),
]


def noise(count, key):
    """SplitMix64 words."""
    with np.errstate(over="ignore"):
        z = np.uint64(key) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def values(name, out, width):
    """Exact in f32 up to one multiplication by a row's scale, rounded as every IEEE machine does."""
    words = noise(out * width, len(name))
    parts = [((words >> np.uint64(16 * i)) & np.uint64(0xFFFF)).astype(np.int64) for i in range(4)]
    row = np.repeat(np.arange(out, dtype=np.int64), width)
    if name == "bell":  # a sum of four uniform numbers; rows differ in scale
        whole = (parts[0] + parts[1] + parts[2] + parts[3] - 131070).astype(np.float32) * np.float32(2.0**-17)
        return whole * ((row % 37 + 3).astype(np.float32) / np.float32(1000.0))
    if name == "tails":  # products of uniform numbers, a few blocks of zeros
        whole = ((parts[0] - 32768) * (parts[1] >> 8) * (parts[2] >> 15)).astype(np.float32) * np.float32(2.0**-24)
        block = np.arange(out * width) // 64
        return np.where(block % 101 == 7, np.float32(0), whole)
    # On, just below and just above the middle of two levels, in blocks whose absmax is 1.
    levels = bnb.get_4bit_type("nf4", device="cpu").numpy()
    middles = ((levels[1:].astype(np.float64) + levels[:-1]) / 2).astype(np.float32)
    chosen = middles[parts[0] % 15]
    moved = np.where(parts[1] % 3 == 0, np.nextafter(chosen, np.float32(-2)),
                     np.where(parts[1] % 3 == 1, chosen, np.nextafter(chosen, np.float32(2)))).astype(np.float32)
    moved[::64] = 1.0
    return moved


def fnv(data):
    """FNV-1a over 64-bit words, of whole rows: hashes[i] of rows 32 i .. 32 i + 31."""
    with np.errstate(over="ignore"):
        state = np.full(data.shape[0], 0xCBF29CE484222325, dtype=np.uint64)
        for column in range(data.shape[1]):
            state = (state ^ data[:, column]) * np.uint64(0x100000001B3)
    return [format(int(word), "016x") for word in state]


def hashes(array, out):
    return fnv(array.reshape(out // ROWS_PER_HASH, -1).astype(np.uint64))


def record(name, out, width, stored, folder):
    tensor = torch.from_numpy(values(name, out, width)).reshape(out, width)
    if stored == "bf16":
        tensor = tensor.bfloat16()
    packed, state = bnb.quantize_4bit(tensor, blocksize=64, quant_type="nf4")
    codes = np.stack([packed.numpy().ravel() >> 4, packed.numpy().ravel() & 15], axis=1).ravel()
    wide = torch.ops.bitsandbytes.dequantize_4bit.default(packed, state.absmax, 64, "nf4", tensor.shape, torch.float32)
    _, nested = bnb.quantize_4bit(tensor, blocksize=64, quant_type="nf4", compress_statistics=True)
    stem = f"{name}_{stored}"
    (folder / f"{stem}_absmax_codes.bin").write_bytes(nested.absmax.numpy().astype(np.uint8).tobytes())
    entry = {
        "name": name, "out": out, "in": width, "stored": stored,
        "codes": hashes(codes, out),
        "wide": hashes(wide.numpy().view(np.uint32), out),
        "absmax_largest": nested.state2.absmax.tolist(),
        "absmax_mean": float(nested.offset),
    }
    if name == "ties":
        (folder / f"{stem}_packed.bin").write_bytes(packed.numpy().tobytes())
        (folder / f"{stem}_absmax.bin").write_bytes(state.absmax.numpy().astype("<f4").tobytes())
    return entry


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/goldens/models/nf4"))
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    golden = {
        "versions": {"bitsandbytes": bitsandbytes.__version__, "torch": torch.__version__},
        "rows_per_hash": ROWS_PER_HASH,
        "absmax_levels": bnb.create_dynamic_map().tolist(),
        "tensors": [record(*tensor, folder) for tensor in TENSORS],
    }
    (folder / "nf4.json").write_text(json.dumps(golden, indent=0) + "\n")


if __name__ == "__main__":
    main()
