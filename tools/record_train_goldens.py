#!/usr/bin/env python3
"""Records what torch + PEFT compute in training, for tests/train_goldens_test.cc: loss and gradients of the first step and the
losses of ten AdamW steps, f32, from adapters in assets/ on rows of assets/tasks. FLoRA is a plain torch expression.

  tools/record_train_goldens.py > tests/goldens/train.json      (needs torch, transformers, peft, safetensors)"""
import json, pathlib, sys
import torch, transformers, peft
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROWS, STEPS, RATE = 6, 10, 1e-3
CASES = [("banking77-lora-r8", "banking77"), ("e2e_nlg-rslora-r16", "e2e_nlg"), ("clinc150-ia3", "clinc150"),
         ("restaurant8k-flora-r4", "restaurant8k"), ("banking77-flora-r1", "banking77")]


def rows_of(task, tokenizer):
    rows = []
    for line in (ROOT / f"assets/tasks/{task}.test.jsonl").read_text().splitlines()[:ROWS]:
        row = json.loads(line)
        prompt = [1] + tokenizer.encode(row["prompt"], add_special_tokens=False)
        completion = tokenizer.encode(row["completion"], add_special_tokens=False) + [2]
        rows.append((prompt + completion, len(prompt)))
    return rows


class Flora(torch.nn.Module):
    """y = W0 o (s B A) applied to x, s = 1/r (reduction "mean")."""

    def __init__(self, base, a, b):
        super().__init__()
        self.base, self.flora_A, self.flora_B = base, torch.nn.Parameter(a), torch.nn.Parameter(b)

    def forward(self, x):
        weight = self.base.weight * (self.flora_B @ self.flora_A) / self.flora_A.shape[0]
        return torch.nn.functional.linear(x, weight)


def with_adapter(name):
    model = transformers.AutoModelForCausalLM.from_pretrained(ROOT / "assets/seedling", dtype=torch.float32, attn_implementation="eager")
    folder = ROOT / "assets/adapters" / name
    config = json.loads((folder / "adapter_config.json").read_text())
    if config["peft_type"] != "FLORA":
        wrapped = peft.PeftModel.from_pretrained(model, folder, is_trainable=True)
        named = {n.replace(".default", ""): p for n, p in wrapped.named_parameters() if p.requires_grad}
        return wrapped, named
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    tensors = load_file(folder / "adapter_model.safetensors")
    named = {}
    for key in sorted({k.rsplit(".", 1)[0] for k in tensors}):
        path = key.removeprefix("base_model.model.")
        parent = model.get_submodule(path.rsplit(".", 1)[0])
        layer = Flora(model.get_submodule(path), tensors[key + ".flora_A"].clone(), tensors[key + ".flora_B"].clone())
        setattr(parent, path.rsplit(".", 1)[1], layer)
        named[key + ".flora_A"], named[key + ".flora_B"] = layer.flora_A, layer.flora_B
    return model, named


def loss_of(model, rows):
    total, count = 0.0, sum(len(ids) - start for ids, start in rows)
    for ids, start in rows:
        ids = torch.tensor([ids])
        logits = model(ids).logits[0]
        total = total + torch.nn.functional.cross_entropy(logits[start - 1:-1], ids[0, start:], reduction="sum")
    return total / count


def record(name, task, tokenizer):
    rows = rows_of(task, tokenizer)
    model, named = with_adapter(name)
    optimizer = torch.optim.AdamW(named.values(), lr=RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    losses, gradients = [], {}
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(model, rows)
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            for key, parameter in named.items():
                flat = parameter.grad.flatten()
                gradients[key] = {"norm": flat.norm().item(), "largest": flat.abs().max().item(), "first": flat[:6].tolist()}
        optimizer.step()
    kept = sorted(gradients)[:: max(1, len(gradients) // 24)]
    return {"adapter": name, "rows": [{"ids": ids, "start": start} for ids, start in rows], "losses": losses,
            "learning_rate": RATE, "gradients": {key: gradients[key] for key in kept}}


def main():
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(ROOT / "assets/seedling/tokenizer.json"))
    out = {"versions": {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__},
           "cases": [record(name, task, tokenizer) for name, task in CASES]}
    json.dump(out, sys.stdout)


main()
