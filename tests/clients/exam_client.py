"""lm-evaluation-harness, as published, over `umbel serve` and `umbel eval` on the same rows: the same scores, and the same log-likelihood of
every choice to 1e-4. Where the package is not installed, nothing is checked, and that is said.

Usage: exam_client.py BASE_URL API_KEY UMBEL_PROGRAM SOURCE_FOLDER"""

import importlib.util
import json
import os
import sqlite3
import subprocess
import sys
import tempfile

from checks import expect

ADAPTER = "banking77-lora-r8"
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lm_eval_choices")


def harness(url, key, source):
    """(scores, log-likelihoods of each row's choices)"""
    os.environ.update(OPENAI_API_KEY=key, HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
    import lm_eval
    from lm_eval.tasks import TaskManager
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(HERE, "choices.yaml"), encoding="utf-8") as file:
            task = file.read().replace("    test: rows.jsonl", "    test: " + os.path.join(HERE, "rows.jsonl"))
        with open(os.path.join(folder, "choices.yaml"), "w", encoding="utf-8") as file:
            file.write(task)
        model = {"model": ADAPTER, "base_url": url + "/v1/completions", "auth_token": key, "num_concurrent": 2,
                 # By the server's own routes the harness adds no BOS; with the base's tokenizer it does.
                 "tokenizer_backend": "huggingface", "tokenizer": os.path.join(source, "assets", "seedling"), "add_bos_token": True}
        results = lm_eval.simple_evaluate(model="local-completions", model_args=model, tasks=["umbel_choices"], log_samples=True,
                                          bootstrap_iters=0, task_manager=TaskManager(include_path=folder, include_defaults=False))
    scores = results["results"]["umbel_choices"]
    samples = sorted(results["samples"]["umbel_choices"], key=lambda sample: sample["doc_id"])
    return (scores["acc,none"], scores["acc_norm,none"]), [[float(one[0]) for one in sample["filtered_resps"]] for sample in samples]


def exam(program, source):
    with tempfile.TemporaryDirectory() as folder:
        ran = subprocess.run([program, "eval", os.path.join(source, "assets", "seedling"), "--adapters", os.path.join(source, "tests", "goldens", "peft_adapters"),
                              "--adapter", ADAPTER, "--tasks", os.path.join(HERE, "exam.yaml"), "--data-dir", HERE, "--dtype", "f32", "--out", folder, "--json"],
                             check=True, capture_output=True, text=True)
        database = sqlite3.connect(os.path.join(folder, "exam.sqlite"))
        answers = [json.loads(answer) for (answer,) in database.execute("SELECT answer FROM answer WHERE adapter = ? ORDER BY row", (ADAPTER,))]
        database.close()
    scores = {result["scorer"]: result["score"] for result in json.loads(ran.stdout)["results"] if result["adapter"] == ADAPTER}
    return (scores["acc"], scores["acc_norm"]), [answer["log_likelihoods"] for answer in answers]


def main():
    url, key, program, source = sys.argv[1:5]
    for module in ("lm_eval", "transformers"):
        if importlib.util.find_spec(module) is None:
            print(f"SKIP lm_eval's log-likelihoods: {module} is not installed")
            return
    theirs, their_rows = harness(url, key, source)
    ours, our_rows = exam(program, source)
    expect(len(our_rows) == len(their_rows) == 10, "an exam has the rows that the harness has")
    worst = 0.0
    for row, (mine, other) in enumerate(zip(our_rows, their_rows)):
        expect(len(mine) == len(other) == 4, f"row {row} has its four choices")
        worst = max([worst] + [abs(a - b) for a, b in zip(mine, other)])
    expect(worst <= 1e-4, f"log-likelihoods to 1e-4, not {worst}")
    expect(ours == theirs and ours[0] != ours[1], f"acc and acc_norm: {ours} here, {theirs} by the harness")
    print(f"lm_eval: acc {ours[0]:.3f}, acc_norm {ours[1]:.3f} as umbel eval's; log-likelihoods within {worst:.1e}")


main()
