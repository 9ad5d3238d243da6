#!/usr/bin/env python3
"""Records what transformers' logits processors make of random logits, for src/engine/sampler_test.cc.

Usage: python tools/record_sampler_goldens.py > tests/goldens/engine/sampler.json    (needs torch and transformers)

Each case: logits, prompt, answer so far, parameters, and the probabilities that are left, by token id.
"""
import json
import random

import torch
import transformers
from transformers import generation

VOCAB = 40


def make_params(chance):
    params = {"temperature": round(chance.uniform(0.3, 1.8), 3)}
    maybe = lambda: chance.random() < 0.4
    if maybe():
        params["logit_bias"] = [[chance.randrange(VOCAB), round(chance.uniform(-4, 4), 3)] for _ in range(3)]
        params["logit_bias"] = [list(pair) for pair in dict(params["logit_bias"]).items()]
    if maybe():
        params["repetition_penalty"] = round(chance.uniform(0.7, 1.6), 3)
    if maybe():
        params["banned"] = chance.sample(range(VOCAB), 2)
    if maybe():
        params["top_k"] = chance.randrange(1, VOCAB)
    if maybe():
        params["top_p"] = round(chance.uniform(0.1, 0.99), 3)
    if maybe():
        params["min_p"] = round(chance.uniform(0.01, 0.4), 3)
    if maybe():
        params["typical_p"] = round(chance.uniform(0.1, 0.95), 3)
    return params


def processors(params, prompt_length):
    """In the order in which GenerationMixin builds its list."""
    steps = []
    if "logit_bias" in params:
        bias = {(token,): value for token, value in params["logit_bias"]}
        steps.append(generation.SequenceBiasLogitsProcessor(sequence_bias=bias))
    if "repetition_penalty" in params:
        steps.append(generation.RepetitionPenaltyLogitsProcessor(params["repetition_penalty"]))
    if "banned" in params:
        steps.append(generation.MinNewTokensLengthLogitsProcessor(prompt_length, 1000, params["banned"], device="cpu"))
    steps.append(generation.TemperatureLogitsWarper(params["temperature"]))
    if "top_k" in params:
        steps.append(generation.TopKLogitsWarper(params["top_k"]))
    if "top_p" in params:
        steps.append(generation.TopPLogitsWarper(params["top_p"]))
    if "min_p" in params:
        steps.append(generation.MinPLogitsWarper(params["min_p"]))
    if "typical_p" in params:
        steps.append(generation.TypicalLogitsWarper(params["typical_p"]))
    return steps


def make_case(chance):
    logits = [round(chance.gauss(0, 2.5), 3) for _ in range(VOCAB)]
    if chance.random() < 0.2:  # ties
        logits = [float(round(value)) for value in logits]
    prompt = [chance.randrange(VOCAB) for _ in range(chance.randrange(1, 12))]
    answer = [chance.randrange(VOCAB) for _ in range(chance.randrange(0, 12))]
    params = make_params(chance)
    if logits == [float(round(value)) for value in logits]:
        params.pop("top_p", None)  # which of equal tokens top-p drops is left to the sort in transformers
    scores = torch.tensor([logits])
    for step in processors(params, len(prompt)):
        scores = step(torch.tensor([prompt + answer]), scores)
    probabilities = torch.softmax(scores.double(), -1)[0]
    left = {str(token): round(p.item(), 8) for token, p in enumerate(probabilities) if p > 0}
    return {"logits": logits, "prompt": prompt, "answer": answer, "params": params, "left": left}


def main():
    chance = random.Random(20)
    cases = [make_case(chance) for _ in range(80)]
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps({"versions": versions, "vocab": VOCAB, "cases": cases}, separators=(",", ":")))


main()
