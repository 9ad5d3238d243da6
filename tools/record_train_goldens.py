#!/usr/bin/env python3
"""Records what torch + PEFT compute in training, f32. FLoRA is a plain torch expression.

  train.json                     loss and gradients of the first step and the losses of ten AdamW steps, from adapters in assets/
                                 on rows of assets/tasks (src/train/step/trainer_test.cc)
  train_kinds.json, .safetensors every kind on a tiny base of tests/goldens/adapters: the adapter at the start, all gradients of
                                 the first step, weights and losses of 50 SGD and of 50 AdamW steps (src/train/step/trainable_golden_test.cc)

  tools/record_train_goldens.py [--kinds-only | --add-kinds]      (--add-kinds: only the cases that are not there yet; needs torch, transformers, peft, safetensors)"""
import json, pathlib, sys
import torch, transformers, peft, peft.optimizers
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDENS = ROOT / "tests/goldens"
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
    folder = ROOT / "tests/goldens/peft_adapters" / name
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


# ---- every kind: 50 SGD and 50 AdamW steps on a tiny base -------------------------------------------------------------
# `job` is what the test makes a JobSpec of; the initial adapter is perturbed so that every gradient is non-zero.
KIND_STEPS = 50
SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
KINDS = [
    {"name": "lora", "kind": "lora", "rank": 3, "alpha": 6, "targets": SEVEN + ["embed_tokens", "lm_head"]},
    {"name": "lora_tied", "base": "base_tied", "kind": "lora", "rank": 2, "alpha": 4, "targets": ["q_proj", "up_proj", "embed_tokens", "lm_head"]},
    {"name": "rslora", "kind": "rslora", "rank": 2, "alpha": 4, "target_regex": r".*\.(q|v|down)_proj", "rank_pattern": {"q_proj": 4},
     "alpha_pattern": {r"layers\.1\.mlp\.down_proj": 3}},
    {"name": "lora_plus", "kind": "lora-plus", "rank": 2, "alpha": 4, "targets": ["q_proj", "v_proj"], "layers": [1], "lora_plus_ratio": 4},
    {"name": "dora", "kind": "dora", "rank": 3, "alpha": 6, "all_linear": True},
    {"name": "ia3", "kind": "ia3", "targets": ["k_proj", "v_proj", "down_proj"]},
    {"name": "vera", "kind": "vera", "rank": 6, "all_linear": True},
    {"name": "loha", "kind": "loha", "rank": 3, "alpha": 6, "targets": SEVEN, "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 4}},
    {"name": "miss", "kind": "miss", "rank": 5, "all_linear": True},
    {"name": "flora", "kind": "flora", "rank": 3, "targets": SEVEN},
    {"name": "flora_residual", "kind": "flora-residual", "rank": 2, "targets": SEVEN},
]
# Rates at which 50 steps are no amplifier of rounding: torch in f64 must end within NOISE of torch in f32 (SGD at ten times these rates
# jumps about on this base, and two runs that differ by one rounding part ways).
RATES = {"sgd": {"vera": 0.05, "ia3": 0.1, "miss": 5e-3, "lora": 2e-3, "lora_tied": 2e-3, "dora": 5e-3}, "adamw": {}}
NOISE = {"sgd": 3e-5, "adamw": 1e-4}
CLIP = {"rslora": 0.5}


class HadamardLinear(torch.nn.Module):
    """y = W0 o (s B A) x + c, or W0 o (1 + s B A), s = 1/r."""

    def __init__(self, base, rank, residual, key):
        super().__init__()
        out, wide = base.weight.shape
        noise = torch.Generator().manual_seed(key)
        self.base, self.residual = base, residual
        start = 0.0 if residual else 1.0
        self.flora_A = torch.nn.Parameter(1.0 + 0.2 * torch.randn(rank, wide, generator=noise))
        self.flora_B = torch.nn.Parameter(start + 0.2 * torch.randn(out, rank, generator=noise))

    def forward(self, x):
        factor = self.flora_B @ self.flora_A / self.flora_A.shape[0]
        return torch.nn.functional.linear(x, self.base.weight * (1 + factor if self.residual else factor), self.base.bias)


def peft_config(job):
    targets = "all-linear" if job.get("all_linear") else job.get("target_regex", job.get("targets"))
    common = dict(target_modules=targets, task_type="CAUSAL_LM")
    if job["kind"] == "ia3":
        return peft.IA3Config(feedforward_modules=["down_proj"], **common)
    if job["kind"] == "vera":
        return peft.VeraConfig(r=job["rank"], projection_prng_key=5, save_projection=True, **common)
    if job["kind"] == "loha":
        return peft.LoHaConfig(r=job["rank"], alpha=job["alpha"], rank_pattern=job.get("rank_pattern", {}),
                               alpha_pattern=job.get("alpha_pattern", {}), **common)
    if job["kind"] == "miss":
        return peft.MissConfig(r=job["rank"], **common)
    return peft.LoraConfig(r=job["rank"], lora_alpha=job["alpha"], use_rslora=job["kind"] == "rslora", use_dora=job["kind"] == "dora",
                           rank_pattern=job.get("rank_pattern", {}), alpha_pattern=job.get("alpha_pattern", {}),
                           layers_to_transform=job.get("layers"), **common)


def file_name(parameter):
    """The name that PEFT gives a parameter in adapter_model.safetensors."""
    return parameter.replace(".default", "").replace("lora_magnitude_vector.weight", "lora_magnitude_vector")


def kind_model(job):
    base = ROOT / "tests/goldens/adapters" / job.get("base", "base_untied")
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    if job["kind"].startswith("flora"):
        model.requires_grad_(False)
        named = {}
        for key, path in enumerate(sorted(n for n, m in model.named_modules() if n.rsplit(".", 1)[-1] in job["targets"])):
            parent, leaf = path.rsplit(".", 1)
            layer = HadamardLinear(model.get_submodule(path), job["rank"], job["kind"] == "flora-residual", key)
            setattr(model.get_submodule(parent), leaf, layer)
            for side in ("flora_A", "flora_B"):
                named[f"base_model.model.{path}.{side}"] = getattr(layer, side)
        return model, named, {}
    torch.manual_seed(7)
    wrapped = peft.get_peft_model(model, peft_config(job))
    named = {file_name(n): p for n, p in wrapped.named_parameters() if p.requires_grad}
    noise = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in named.values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
    frozen = {n: t for n, t in peft.get_peft_model_state_dict(wrapped, save_embedding_layers=False).items() if n not in named}
    return wrapped, named, frozen


def kind_rows():
    noise = torch.Generator().manual_seed(3)
    rows = []
    for length, start in ((9, 4), (14, 5), (6, 2), (19, 11), (4, 1)):
        rows.append((torch.randint(3, 48, (length,), generator=noise).tolist(), start))
    return rows


def make_optimizer(kind, job, model, named, rate):
    if kind == "sgd":
        return torch.optim.SGD(named.values(), lr=rate)
    if job["kind"] == "lora-plus":
        return peft.optimizers.create_loraplus_optimizer(model, torch.optim.AdamW, lr=rate, loraplus_lr_ratio=job["lora_plus_ratio"],
                                                         weight_decay=0.0)
    return torch.optim.AdamW(named.values(), lr=rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)


def largest_difference(named, reference):
    return max(((named[n] - p).abs().max() / p.abs().max()).item() for n, p in reference.items())


def weights_in_double(kind, job, rows, rate):
    """The weights after the same steps with f64 numbers (softmax and norms of transformers stay f32)."""
    model, named, _ = kind_model(job)
    model.double()
    optimizer = make_optimizer(kind, job, model, named, rate)
    for _ in range(KIND_STEPS):
        optimizer.zero_grad()
        loss_of(model, rows).backward()
        if job["name"] in CLIP:
            torch.nn.utils.clip_grad_norm_(list(named.values()), CLIP[job["name"]])
        optimizer.step()
    return named


def record_kind(job, rows, tensors):
    case = {"job": job, "learning_rate": {}, "losses": {}}
    for kind in ("sgd", "adamw"):
        if kind == "sgd" and job["kind"] == "lora-plus":
            continue
        model, named, frozen = kind_model(job)
        rate = RATES[kind].get(job["name"], 0.02 if kind == "sgd" else 2e-3)
        optimizer = make_optimizer(kind, job, model, named, rate)
        losses = []
        for step in range(KIND_STEPS):
            optimizer.zero_grad()
            loss = loss_of(model, rows)
            loss.backward()
            losses.append(loss.item())
            if step == 0 and kind == "adamw":
                for name, parameter in named.items():
                    tensors[f"{job['name']}/start/{name}"] = parameter.detach().clone()
                    tensors[f"{job['name']}/gradient/{name}"] = parameter.grad.clone()
                for name, tensor in frozen.items():
                    tensors[f"{job['name']}/start/{name}"] = tensor.detach().clone()
            if job["name"] in CLIP:
                torch.nn.utils.clip_grad_norm_(list(named.values()), CLIP[job["name"]])
            optimizer.step()
        for name, parameter in named.items():
            tensors[f"{job['name']}/{kind}/{name}"] = parameter.detach().clone()
        noise = largest_difference(named, weights_in_double(kind, job, rows, rate))
        print(f"{job['name']:15s} {kind:6s} loss {losses[0]:.3f} to {losses[-1]:.3f}, torch's f32 from its f64 {noise:.1e}", file=sys.stderr)
        if noise > NOISE[kind]:
            sys.exit(f"{job['name']}: 50 steps at this rate amplify rounding; take a smaller one")
        case["learning_rate"][kind], case["losses"][kind] = rate, losses
    case["clip"] = CLIP.get(job["name"], 0)
    return case


def record_kinds(versions, add):
    old = json.loads((GOLDENS / "train_kinds.json").read_text()) if add else {"cases": []}
    tensors = load_file(GOLDENS / "train_kinds.safetensors") if add else {}
    there = {case["job"]["name"] for case in old["cases"]}
    rows = kind_rows()
    out = {"versions": versions, "rows": [{"ids": ids, "start": start} for ids, start in rows],
           "cases": old["cases"] + [record_kind(job, rows, tensors) for job in KINDS if job["name"] not in there]}
    (GOLDENS / "train_kinds.json").write_text(json.dumps(out))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, GOLDENS / "train_kinds.safetensors")


def main():
    torch.set_num_threads(1)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    add = "--add-kinds" in sys.argv
    record_kinds(versions, add)
    if add or "--kinds-only" in sys.argv:
        return
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(ROOT / "assets/seedling/tokenizer.json"))
    out = {"versions": versions, "cases": [record(name, task, tokenizer) for name, task in CASES]}
    (GOLDENS / "train.json").write_text(json.dumps(out))


main()
