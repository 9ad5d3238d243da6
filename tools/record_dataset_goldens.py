#!/usr/bin/env python3
"""Records what transformers makes of training rows, for src/data/row_format_test.cc.

usage: tools/record_dataset_goldens.py DATA_DIR SEEDLING_DIR OUT.json

Prompt/completion and text rows: ids of the prompt with special tokens, of prompt and completion as one text, and the end token, put
together here; for the tokenizers under DATA_DIR (not ours, not copied) and the seedling's. Conversations: apply_chat_template
with the assistant's mask from {% generation %} blocks, in templates written here, one of them the seedling's own with blocks.
Needs: transformers.
"""
import json
import pathlib
import shutil
import sys
import tempfile

import transformers

from record_tokenizer_goldens import repair_merges

PAIRS = [
    ["Customer: my card is lost\nIntent:", " lost or stolen card"], ["", "Once upon a time"], ["Q: 2 + 2?\nA: ", "4"],
    ["Translate: naïve café", " 東京は日本 🚀"], ["ends in a blank ", " begins with one"], ["x", ""], ["line\n", "\nline\n\n"],
]
TEXTS = ["A short story.\n\nThe end.", "1234567 and 3.14", " leading blank"]
EOS = {"seedling": "</s>", "gpt2": "<|endoftext|>", "llama2": "</s>", "phi2": "<|endoftext|>"}

TALKS = [
    [["user", "Hello"], ["assistant", "Good day to you."], ["user", "Bye, then"], ["assistant", "Farewell!"]],
    [["system", "Be kind."], ["user", "What is 2 + 2?"], ["assistant", "It is 4,\nof course."]],
]
SEEDLING = ("{{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|>' }}{% if m['role'] == 'assistant' %}"
            "{% generation %}{{ m['content'] | trim }}{{ eos_token }}{% endgeneration %}{% else %}{{ m['content'] | trim }}{% endif %}{% endfor %}")
# ChatML: the end of a turn is a text for tokenizers that do not know it.
CHATML = ("{% for m in messages %}{% if m['role'] == 'assistant' %}{{ '<|im_start|>assistant\n' }}{% generation %}"
          "{{ m['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}{% else %}"
          "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}")


def load(folder):
    with tempfile.TemporaryDirectory() as scratch:
        file = pathlib.Path(scratch) / "tokenizer.json"
        shutil.copyfile(folder / "tokenizer.json", file)
        repair_merges(file)
        return transformers.TokenizersBackend(tokenizer_file=str(file))


def main():
    data, seedling, out = (pathlib.Path(argument) for argument in sys.argv[1:4])
    record = {"transformers": transformers.__version__, "tokenizers": {}, "pairs": PAIRS, "texts": TEXTS, "talks": []}
    for name in EOS:
        tokenizer = load(seedling if name == "seedling" else data / "tokenizers" / name)
        eos = tokenizer.convert_tokens_to_ids(EOS[name])
        plain = lambda text, special: tokenizer(text, add_special_tokens=special)["input_ids"]
        record["tokenizers"][name] = {
            "eos": eos,
            "pairs": [{"prompt": plain(p, True), "whole": plain(p + c, True) + [eos]} for p, c in PAIRS],
            "texts": [plain(text, True) + [eos] for text in TEXTS],
        }
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(seedling))
    for name, template in (("seedling", SEEDLING), ("chatml", CHATML)):
        for talk in TALKS:
            messages = [{"role": role, "content": content} for role, content in talk]
            made = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=True, return_dict=True,
                                                 return_assistant_tokens_mask=True)
            record["talks"].append({"name": name, "template": template, "messages": messages, "ids": made["input_ids"],
                                    "trained": made["assistant_masks"]})
    out.write_text(json.dumps(record, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    print(out, out.stat().st_size, "bytes")


main()
