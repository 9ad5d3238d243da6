#!/usr/bin/env python3
"""Scores adapters on the test rows of their tasks, by umbel alone: exact match of greedy answers (trimmed), or, for tasks of free text, the mean
negative log-likelihood of a completion token in nats, end token included (first 100 rows).

    recipes/score.py --adapters runs/adapters [--tasks ../shared/data/tasks] [--umbel build/release/umbel] [--rows 1000] [--names a,b] [--dtype f32]

An adapter's folder is named TASK-anything; TASK.test.jsonl has its rows. Prints a JSON object: {name: {"exact_match" or "nll", "test_rows"}}."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

FREE_TEXT = {"e2e_nlg", "shakespeare"}
LONG_ANSWERS = {"bc5cdr"}  # up to 64 new tokens, else 32


def read_rows(path, count):
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    return rows[:count]


def run(arguments, rows, flag):
    """umbel's answer to a file of rows: its JSON."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")
        file.flush()
        done = subprocess.run([*arguments, flag, file.name, "--json"], stdout=subprocess.PIPE, check=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("--umbel", default=root / "build/release/umbel")
    parser.add_argument("--base", default="seedling")
    parser.add_argument("--adapters", required=True, type=pathlib.Path)
    parser.add_argument("--tasks", default=root.parent / "shared/data/tasks", type=pathlib.Path)
    parser.add_argument("--rows", default=1000, type=int)
    parser.add_argument("--names", default="", help="only these, with commas between")
    parser.add_argument("--dtype", default="f32")
    options = parser.parse_args()
    names = sorted(path.parent.name for path in options.adapters.glob("*/adapter_config.json"))
    if options.names:
        names = [name for name in names if name in options.names.split(",")]
    common = ["--adapters", options.adapters, "--dtype", options.dtype]
    scores = {}
    for name in names:
        task = name.split("-")[0]
        if task in FREE_TEXT:
            rows = read_rows(options.tasks / f"{task}.test.jsonl", min(100, options.rows))
            answers = run([options.umbel, "score", options.base, *common, "--eos"], [{**row, "adapter": name} for row in rows], "--rows")
            total = sum(answer["log_likelihood"] for answer in answers)
            scores[name] = {"nll": round(-total / sum(answer["tokens"] for answer in answers), 4), "test_rows": len(rows)}
        else:
            rows = read_rows(options.tasks / f"{task}.test.jsonl", options.rows)
            longest = "64" if task in LONG_ANSWERS else "32"
            answers = run([options.umbel, "generate", options.base, *common, "--temperature", "0", "--max-tokens", longest],
                          [{**row, "adapter": name} for row in rows], "--batch")
            right = sum(answer["text"].strip() == row["completion"].strip() for answer, row in zip(answers, rows, strict=True))
            scores[name] = {"exact_match": right / len(rows), "test_rows": len(rows)}
        print(name, scores[name], file=sys.stderr)
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
