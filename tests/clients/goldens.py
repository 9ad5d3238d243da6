"""What Hugging Face and PEFT generate with seedling and each of its adapters (tests/goldens/peft_adapters/golden_peft.json), and
the list of models that a server over them must have."""

import json
import os

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BASE = "seedling"
EOS = 2
# Rows closer than this may be decided by rounding.
GAP = 1e-3


def rows(per_model=2):
    """[(model, prompt_ids, greedy_ids)]: per_model rows of the base and of each adapter, clear ones only."""
    with open(os.path.join(ROOT, "tests/goldens/peft_adapters/golden_peft.json"), encoding="utf-8") as file:
        goldens = json.load(file)
    found = []
    for name, entries in goldens.items():
        clear = [entry for entry in entries if entry["smallest_gap"] > GAP][:per_model]
        found += [(BASE if name == "base" else name, entry["prompt_ids"], entry["greedy_ids"]) for entry in clear]
    return found


def models():
    return sorted({row[0] for row in rows(1)})
