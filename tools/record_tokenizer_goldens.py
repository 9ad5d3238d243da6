#!/usr/bin/env python3
"""Records what transformers makes of tokenizers, for src/text/tokenizer_test.cc.

usage: tools/record_tokenizer_goldens.py DATA_DIR SEEDLING_DIR OUT_DIR

Two kinds of tokenizers:
- real ones under DATA_DIR (not ours, not copied) and the seedling's: OUT_DIR/tokenizers_real.json holds ids and texts;
- tiny ones of every construction found on the Hub, trained here on a few sentences and written to OUT_DIR/tokenizers/
  as folders' files NAME.json (tokenizer.json) and NAME.config.json (tokenizer_config.json), with what transformers makes
  of them in OUT_DIR/tokenizers_tiny.json.

Every tokenizer is loaded as transformers' TokenizersBackend: tokenizer.json as it stands plus the rules of
tokenizer_config.json. Where AutoTokenizer picks a class that rebuilds the tokenizer and gets other ids, the row says so
("auto_differs"). Needs: transformers, tokenizers.
"""
import json
import pathlib
import random
import shutil
import sys
import tempfile

import tokenizers
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXTS = [
    "", " ", "  ", "   ", "\t", "\n", "\n\n", "\t\n", "\r\n", "Hello world", " Hello world", "Hello World!",
    "Hello, world!", " this is a test of 1234567 and 3.14, isn't it?", "I'll, you've, we're, DON'T, can't",
    "ied 4 ½ months", "Führer naïve café Ångström", "нещо на Български 798", "កាន់តែពិសេសអាចខលចេញ",
    "🚀 (normal) 😶‍🌫️ (multiple emojis) ✅", "東京は日本の首都です。中文测试", "שלום عليكم", "e\u0301 vs \u00e9 ﬁ ① ｆｕｌｌ",
    "a\u0000b\u0007c", "\u200b\ufeff\u00a0x\u3000y", "def f(x):\n    return x ** 2  # ok\n\n\n", "x" * 40, " " * 17 + "end",
    "trailing space ", "line one\nline two\r\nline three", "https://example.org/a?b=c&d=%20#e", "<s>", "</s>", "<s>Hello</s>",
    "a<s>b</s> c", "<unk> <pad> <mask>", "<|endoftext|> after", "before<|im_start|>user\nhi<|im_end|>\n", "▁lower ▁ one",
    "<0x41>", "\U0001F1E9\U0001F1EA\U0001F468\u200D\U0001F469", "Mixed ΑΒΓ αβγ ДЕЖ 012 ٣٤٥ ⅣⅨ",
]

CORPUS = [
    "The quick brown fox jumps over the lazy dog. Hello world, this is a test of the tokenizer!",
    "It isn't easy to learn what you've seen: 1234567 numbers, 3.14 and naïve café words.",
    "def f(x):\n    return x ** 2\n\nfor i in range(10):\n\tprint(i)\n",
    "Once upon a time there was a little girl who lived in a house near the river and the river was wide.",
    "Привет мир, это тест. 東京は日本の首都です。", "hello hello world world the the and and of of in in to to",
] * 4


def bytes_bpe(split, vocab=340, normalizer=None, prefix_space=False, special=("<|endoftext|>",)):
    tokenizer = Tokenizer(models.BPE())
    if normalizer:
        tokenizer.normalizer = normalizer
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space, use_regex=split is None)
    tokenizer.pre_tokenizer = byte_level if split is None else pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(split), behavior="isolated"), byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(vocab_size=vocab, special_tokens=list(special), show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def spm_bpe(vocab, prepend, strip):
    """SentencePiece BPE with byte fallback as converted for Llama-2 (prepend, strip) or Gemma (neither)."""
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    scratch = Tokenizer(models.BPE())
    scratch.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    ascii_corpus = [text.encode("ascii", "ignore").decode() for text in CORPUS]
    scratch.train_from_iterator(ascii_corpus, trainers.BpeTrainer(vocab_size=vocab, show_progress=False))
    model = json.loads(scratch.to_str())["model"]
    names = {piece: index for index, piece in enumerate(pieces)}
    for piece in sorted(model["vocab"], key=model["vocab"].get):
        names.setdefault(piece, len(names))
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Tokenizer(models.BPE(names, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    steps = [normalizers.Replace(" ", "▁")]
    tokenizer.normalizer = normalizers.Sequence(([normalizers.Prepend("▁")] if prepend else []) + steps)
    tail = [decoders.Strip(" ", 1, 0)] if strip else []
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()] + tail)
    tokenizer.add_special_tokens([AddedToken(name, normalized=False) for name in ("<unk>", "<s>", "</s>")])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
    return tokenizer


def unigram(vocab):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=vocab, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>",
                                      show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))])
    return tokenizer


def word_piece(vocab):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=vocab, special_tokens=names, show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return tokenizer


LLAMA3_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
                r"|\s+(?!\S)|\s+")
QWEN_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")


def tiny_tokenizers():
    """name -> (tokenizer, tokenizer_config)"""
    llama3 = bytes_bpe(LLAMA3_SPLIT, special=("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"))
    llama3.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|> $B",
                                      special_tokens=[("<|begin_of_text|>", 0)])])
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    old_style = {name: {"__type": "AddedToken", "content": text, "lstrip": False, "normalized": True, "rstrip": False,
                        "single_word": False} for name, text in names.items()}
    added = {"content": "<|im_start|>", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
             "special": True}
    return {
        "gpt2": (bytes_bpe(None), {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}),
        "gpt2_prefix": (bytes_bpe(None, prefix_space=True), {"eos_token": "<|endoftext|>", "add_bos_token": False}),
        "llama3": (llama3, {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}),
        "llama3_no_bos": (llama3, {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "add_bos_token": False}),
        "qwen": (bytes_bpe(QWEN_SPLIT, normalizer=normalizers.NFC()),
                 {"bos_token": None, "eos_token": "<|endoftext|>", "add_bos_token": False,
                  "added_tokens_decoder": {"341": added},
                  "additional_special_tokens": ["<|im_start|>", "<|im_end|>"]}),
        "llama2": (spm_bpe(500, True, True), {**names, "add_bos_token": True, "add_eos_token": False}),
        "llama2_eos": (spm_bpe(500, True, True), {**old_style, "add_bos_token": True, "add_eos_token": True}),
        "llama2_neither": (spm_bpe(500, True, True), {**names, "add_bos_token": False, "add_eos_token": False}),
        "llama2_silent": (spm_bpe(500, True, True), names),
        "gemma": (spm_bpe(500, False, False), {**names, "pad_token": "<pad>"}),
        "t5": (unigram(300), {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}),
        "bert": (word_piece(300), {"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}),
    }


def real_folders(data, seedling):
    """name -> (files to put together as a folder, path for the test relative to UMBEL_DATA or @seedling)"""
    whisper = data / "tokenizers/whisper"
    return {
        "seedling": ("@seedling", {name: seedling / name for name in ("tokenizer.json", "tokenizer_config.json")}),
        **{name: (f"models/{name}/hf", {file: data / f"models/{name}/hf" / file
                                        for file in ("tokenizer.json", "tokenizer_config.json")})
           for name in ("stories260K", "aidreams260K")},
        **{name: (f"tokenizers/{name}", {path.name: path for path in (data / "tokenizers" / name).iterdir()
                                         if path.name.endswith(".json")})
           for name in ("llama2", "gpt2", "phi2", "t5-small")},
        "whisper": ("tokenizers/whisper/large-v3_", {"tokenizer.json": whisper / "large-v3_tokenizer.json",
                                                     "tokenizer_config.json": whisper / "large-v3_tokenizer_config.json"}),
    }


def repair_merges(path):
    """The Llama-2 file at hand writes merges of pieces that contain spaces as one string; the pair form is unambiguous."""
    parsed = json.loads(path.read_text(encoding="utf-8"))
    model = parsed["model"]
    merges = model.get("merges") or []
    if all(isinstance(merge, list) or merge.count(" ") == 1 for merge in merges):
        return

    def split(merge):
        for at in (index for index, c in enumerate(merge) if c == " "):
            parts = merge[:at], merge[at + 1:]
            if all(part in model["vocab"] for part in (*parts, "".join(parts))):
                return parts
        raise ValueError(f"merge {merge!r}")

    model["merges"] = [merge if isinstance(merge, list) else split(merge) for merge in merges]
    path.write_text(json.dumps(parsed), encoding="utf-8")


def load(folder):
    repair_merges(folder / "tokenizer.json")
    if (folder / "tokenizer_config.json").exists():
        return transformers.TokenizersBackend.from_pretrained(folder)
    return transformers.TokenizersBackend(tokenizer_file=str(folder / "tokenizer.json"))


def decode_both(tokenizer, ids, special):
    """Decoded with and without special tokens (special: id -> content). Where the configuration calls special tokens
    normalized, transformers 5 renames them ("▁<s>") and fails to skip them: such texts are left out."""
    kept = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    skipped = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    forgets = any(index in special and special[index] in skipped for index in ids)
    renamed = any(index in special and tokenizer.convert_ids_to_tokens(index) != special[index] for index in ids[1:])
    return {"decoded": None if renamed else kept, "decoded_skip": None if forgets else skipped}


def observe(folder, texts, sequences):
    tokenizer = load(folder)
    special = {token["id"]: token["content"]
               for token in json.loads((folder / "tokenizer.json").read_text())["added_tokens"] if token["special"]}
    auto = None
    if (folder / "tokenizer_config.json").exists():
        try:
            auto = transformers.AutoTokenizer.from_pretrained(folder)
        except Exception:
            auto = None
    rows = []
    for text in texts:
        encoded = tokenizer(text, return_offsets_mapping=True)
        row = {"text": text, "ids": encoded["input_ids"], "plain": tokenizer.encode(text, add_special_tokens=False)}
        row.update(decode_both(tokenizer, row["ids"], special))
        if auto is not None and auto.encode(text) != row["ids"]:
            row["auto_differs"] = True
        rows.append(row)
    rng = random.Random(7)
    size = len(tokenizer)
    known = [index for index in range(size) if tokenizer.convert_ids_to_tokens(index) is not None]
    randoms = []
    for _ in range(sequences):
        ids = [rng.choice(known) for _ in range(rng.randint(1, 14))]
        randoms.append({"ids": ids, **decode_both(tokenizer, ids, special)})
    return {"vocab_size": size, "bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id,
            "special": sorted(tokenizer.all_special_ids)[:20], "rows": rows, "random": randoms}


def dump(path, value):
    path.write_text(json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace('{"text"', '\n{"text"') + "\n")


def main():
    data, seedling, out = map(pathlib.Path, sys.argv[1:4])
    head = {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__}
    tiny = {}
    for name, (tokenizer, config) in tiny_tokenizers().items():
        written = json.loads(tokenizer.to_str())
        (out / "tokenizers" / f"{name}.json").write_text(
            json.dumps(written, ensure_ascii=True, separators=(",", ":")) + "\n")
        (out / "tokenizers" / f"{name}.config.json").write_text(json.dumps(config) + "\n")
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch)
            shutil.copy(out / "tokenizers" / f"{name}.json", folder / "tokenizer.json")
            shutil.copy(out / "tokenizers" / f"{name}.config.json", folder / "tokenizer_config.json")
            tiny[name] = observe(folder, TEXTS, 12)
    dump(out / "tokenizers_tiny.json", {**head, "tokenizers": tiny})
    real = {}
    for name, (place, files) in real_folders(data, seedling).items():
        with tempfile.TemporaryDirectory() as scratch:
            for file, path in files.items():
                shutil.copy(path, pathlib.Path(scratch) / file)
            real[name] = {"place": place, **observe(pathlib.Path(scratch), TEXTS, 20)}
    dump(out / "tokenizers_real.json", {**head, "tokenizers": real})


if __name__ == "__main__":
    main()
