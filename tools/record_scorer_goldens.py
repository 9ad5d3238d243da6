#!/usr/bin/env python3
"""Records what other people's scorers say of rows that are made here, for src/eval/scorers/goldens_test.cc.

usage: tools/record_scorer_goldens.py OUT.json

Sources: torchmetrics (ROUGE), rouge_score, sacreBLEU (BLEU, chrF), seqeval, torchmetrics' SQuAD, scikit-learn (macro-F1, confusion), scipy
(correlations). The rules of LoRA Land's published scorers are written down below, from their description, with Python's own str, float, int
and re, which is what their figures hang on.
Needs: torchmetrics, rouge_score, sacrebleu, seqeval, scikit-learn, scipy, nltk.
"""
import json
import random
import re
import sys
import unicodedata

import numpy
import sacrebleu
import sacrebleu.metrics
from rouge_score import rouge_scorer
from scipy import stats
from seqeval.metrics import f1_score, precision_score, recall_score
from sklearn.metrics import confusion_matrix
from sklearn.metrics import f1_score as class_f1
from torchmetrics.functional.text import squad
from torchmetrics.functional.text.rouge import rouge_score as torch_rouge

# --- rules of LoRA Land, by their description ---


def core(answer, wanted):
    if str(answer).strip(".").lower() == str(wanted).strip(".").lower():
        return 1
    try:
        return int(str(float(answer)) == str(wanted).strip())
    except (ValueError, TypeError, OverflowError):
        return 0


def truth(text):
    text = str(text)
    for digit, value in (("1", True), ("0", False)):
        if digit in text:
            return value
    for word, value in (("yes", 1), ("no", 0), ("true", 1), ("false", 0), ("positive", 1), ("negative", 0)):
        if word in text.lower():
            return bool(value)
    return None


def binary(answer, wanted):
    both = truth(answer), truth(wanted)
    return int(None not in both and both[0] == both[1])


def digits_of(digits):
    return lambda answer, wanted: core(answer, wanted) or int(any(d in str(answer) and d in str(wanted) for d in digits))


def number_of(text):
    found = re.search(r"\d{1,3}(?:,\d{3})*(?:\.\d+)?", str(text))
    return found and found.group(0)


def mmlu(answer, wanted):
    return core(answer, wanted) or int(number_of(answer) == number_of(wanted))


def support(answer, wanted):
    return core(answer, wanted) or int(str(wanted).lower() in str(answer).lower())


def similarity(text):
    try:
        return float(text)
    except ValueError:
        found = number_of(text)
        try:
            return float(found) if found is not None and 0 <= float(found) <= 5 else None
        except ValueError:
            return None


def stsb(answer, wanted):
    value = similarity(answer)
    if value is None or not numpy.isfinite(value):
        return 0
    return 1 - abs(value - similarity(wanted)) / 5


def amount(text):
    found = ["".join(groups) for groups in re.findall("(-?[$0-9.,]{2,})|(-?[0-9]+)", text)]
    try:
        return float(found[-1].strip("$.").replace(",", "")) if found else None
    except ValueError:
        return None


def gsm8k(answer, wanted):
    both = amount(answer), amount(wanted)
    return int(None not in both and both[0] == both[1])


def rouge_l(answer, wanted):
    return float(torch_rouge(answer, wanted, rouge_keys="rougeL")["rougeL_fmeasure"])


CLASSES = ["Company", "EducationalInstitution", "Artist", "Athlete", "OfficeHolder", "MeanOfTransportation", "Building", "NaturalPlace",
           "Village", "Animal", "Plant", "Album", "Film", "WrittenWork"]


def dbpedia(answer, wanted):
    try:
        index = int(answer)
    except ValueError:
        return rouge_l(answer, wanted)
    return rouge_l(CLASSES[index], wanted) if -len(CLASSES) <= index < len(CLASSES) else 0


# --- rows ---

PAIRS = [
    ["", ""], ["", "yes"], ["yes", ""], [".", "..."], ["Yes.", "yes"], ["..YES..", "yes"], [" yes", "yes"], ["yes ", "yes"], ["1.0", "1"],
    ["1", "1.0"], ["1", "1.0 "], ["01", "1.0"], ["1e3", "1000.0"], ["1_0", "10.0"], ["inf", "inf"], ["nan", "nan"], ["-Infinity", "-inf"],
    ["1e16", "1e+16"], ["0.0001", "0.0001"], ["0.00001", "1e-05"], ["\u0661", "1.0"], ["\uff11", "1"], ["\u0967\u0968", "12.0"], ["  2  ", "2.0"],
    ["\u00a02\u2003", "2.0"], ["\x1f3", "3.0"], ["NO", "0"], ["not yes", "no"], ["I know", "no"], ["10", "0"], ["01", "1"], ["TRUE", "positive"],
    ["negative", "False"], ["maybe", "maybe"], ["label 1", "1"], ["The answer is 2, not 1", "2"], ["0", "0."], ["012", "2"], ["3", "0"],
    ["Answer: 1,234.50 dollars", "1,234.50"], ["1,23", "1"], ["1234", "123"], ["no number", "none here"], ["no number", "3"], ["4.", "4"],
    ["It costs $1,000.", "#### 1000"], ["18 ...", "18"], ["-5", "5"], ["- 5", "5"], ["a-5", "-5"], ["3.50", "3.5"], ["$$", "0"], ["5-3", "-3"],
    ["x = 1.2.3", "1.2.3"], ["..", "2"], ["total 7 and 8", "8"], ["8,", "8"], ["$-4", "-4"], ["12 345", "345"], ["\u0663\u0664", "34"],
    ["The caller wants TO PAY a bill", "pay a bill"], ["stra\u00dfe", "STRASSE"], ["\u0130stanbul", "i\u0307stanbul"], ["\u03a3\u03a3", "\u03c3\u03c2"],
    ["\u212aelvin 300 \u212a", "kelvin 300 k"], ["na\u00efve caf\u00e9", "naive cafe"], ["caf\u00e9", "CAF\u00c9"], ["\U0001f680 to the moon", "to the moon \U0001f680"],
    ["\u6771\u4eac\u306f\u65e5\u672c", "\u6771\u4eac"], ["the the the", "the"], ["a b c d e", "e d c b a"], ["a an the", ""], ["The cat's hat", "cats hat"],
    ["x\ny\n\nz", "x y z"], ["foo_bar the_end", "foo bar end"], ["word\u00a0word", "word word"], ["e\u0301 the \u00e9", "\u00e9"], ["the\u00e9 a", "the\u00e9"],
    ["Police killed the gunman", "The gunman police killed"], ["police killed the gunman.", "Police killed the gunman"],
    ["It is a guide to action which ensures that the military always obeys the commands of the party.",
     "It is a guide to action that ensures that the military will forever heed Party commands."],
    ["Prices rose 3.5% -- to $1,200.00 (about 1,000-1,100 euros), he said: &quot;fine&quot; &amp; left...",
     "Prices rose by 3.5% to $1,200 (about 1,000 euros); he said \"fine\" and left."],
    ["A state-of-the-art 10-year plan, 1999-2000.", "A state of the art ten-year plan, 1999 - 2000."], ["<skipped>hello-\nworld", "helloworld"],
    ["{x} [y] `z` ~w |v| ^u", "{x} [y] z"], ["Hello, World!", "hello world"], ["\"Quoted\" (text)", "quoted text"], ["!", "?"], ["(hi)", "hi"],
    ["x.y,z", "x . y , z"], ["\u00e9.\u00e9,\u00e9", "\u00e9 . \u00e9"], ["one two three four", "one two three four"], ["one two three", "one two three"],
    ["7", "Animal"], ["9", "Animal"], ["-1", "WrittenWork"], ["14", "Film"], ["-15", "Film"], ["1_0", "Plant"], ["\uff19", "Animal"],
    ["Natural Place", "NaturalPlace"], ["naturalplace", "NaturalPlace"], ["9.0", "Animal"], ["Mean Of Transportation", "MeanOfTransportation"],
]
SIMILARITIES = [["5", "5.000"], ["7", "2.5"], ["-1", "0"], ["about 4.5 of 5", "3"], ["score: 9", "1"], ["none", "2.5"], ["1,234", "1"], ["2,5", "2"],
                ["nan", "1"], ["inf", "1"], ["\u0663", "3"], ["1e0", "1"], ["", "4"], ["3.", "3.2"], ["0.25", "0"]]
TAGS = ["O", "O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC", "I-ORG", "E-PER", "S-LOC", "B-x-y", "I-x-y"]
KINDS = ["a", "b", "c", "d"]


def all_pairs(draw):
    words = "the cat sat on a mat in Paris , 3.5 % of 1,000 - no yes . ! state-of-the-art (not) caf\u00e9 \u6771\u4eac 10 2".split()
    pairs = [list(pair) for pair in PAIRS]
    for _ in range(40):
        base = [draw.choice(words) for _ in range(draw.randint(1, 14))]
        other = [word for word in base if draw.random() > 0.25]
        for _ in range(draw.randint(0, 3)):
            other.insert(draw.randint(0, len(other)), draw.choice(words))
        pairs.append([" ".join(base), " ".join(other)])
    return pairs


def text_scorers(pairs):
    rules = {"accuracy": core, "binary_accuracy_flex": binary, "mrpc_accuracy": digits_of("12"), "mnli_accuracy": digits_of("012"),
             "hellaswag_accuracy": digits_of("0123"), "mmlu_accuracy": mmlu, "customer_support_accuracy": support, "gsm8k_regex": gsm8k,
             "rouge": rouge_l, "dbpedia": dbpedia}
    out = {name: [rule(a, b) for a, b in pairs] for name, rule in rules.items()}
    google = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
    for key in ("rouge1", "rouge2", "rougeL"):
        out[key] = [google.score(b, a)[key].fmeasure for a, b in pairs]
        ours = [float(torch_rouge(a, b, rouge_keys=key)[key + "_fmeasure"]) for a, b in pairs]
        assert numpy.allclose(out[key], ours, atol=1e-6), key
    for name, key in (("exact_match", "exact_match"), ("token_f1", "f1")):
        out[name] = [float(squad([{"prediction_text": a, "id": "0"}], [{"answers": {"text": [b], "answer_start": [0]}, "id": "0"}])[key]) / 100
                     for a, b in pairs]
    answers, wanted = [a for a, _ in pairs], [[b] for _, b in pairs]
    metrics = {"bleu": sacrebleu.metrics.BLEU(effective_order=True), "chrf": sacrebleu.metrics.CHRF(), "chrf++": sacrebleu.metrics.CHRF(word_order=2)}
    corpus = {"bleu": sacrebleu.metrics.BLEU()}
    scorers = []
    for name, scores in out.items():
        scorers.append({"scorer": name, "scores": scores, "summary": {}})
    for name, metric in metrics.items():
        whole = corpus.get(name, metric).corpus_score(answers, [[one[0] for one in wanted]]).score
        scorers.append({"scorer": name, "scores": [metric.sentence_score(a, b).score for a, b in zip(answers, wanted)], "summary": {"corpus": whole}})
    return scorers


def several_references():
    rows = [["the cat sat on the mat", ["a cat sat on a mat", "the cat is on the mat", "there is a cat on the mat"]],
            ["Hello there , General", ["hello there", "Hello there General Kenobi , sir"]], ["", ["x", "y z"]],
            ["one two three four five", ["five four three two one", "one two three four five six"]]]
    out = []
    streams = [[refs[i] if i < len(refs) else None for _, refs in rows] for i in range(3)]
    for name, metric, corpus in (("bleu", sacrebleu.metrics.BLEU(effective_order=True), sacrebleu.metrics.BLEU()),
                                 ("chrf", sacrebleu.metrics.CHRF(), sacrebleu.metrics.CHRF())):
        out.append({"scorer": name, "rows": rows, "scores": [metric.sentence_score(a, b).score for a, b in rows],
                    "summary": {"corpus": corpus.corpus_score([a for a, _ in rows], streams).score}})
    return out


def entities(draw):
    rows = []
    for _ in range(40):
        length = draw.randint(0, 9)
        wanted = [draw.choice(TAGS) for _ in range(length)]
        rows.append([[tag if draw.random() > 0.3 else draw.choice(TAGS) for tag in wanted], wanted])
    answers, wanted = [a for a, _ in rows], [b for _, b in rows]
    figures = {"precision": precision_score(wanted, answers), "recall": recall_score(wanted, answers), "f1": f1_score(wanted, answers),
               "macro_f1": f1_score(wanted, answers, average="macro"), "weighted_f1": f1_score(wanted, answers, average="weighted")}
    return {"scorer": "entity_f1", "rows": rows, "scores": None, "summary": figures}


def classes(draw):
    rows = [[draw.choice(KINDS + ["z"]), draw.choice(KINDS[:3])] for _ in range(60)] + [[" A\n", "a"], ["b.", "b"]]
    clean = [[a.strip().lower(), b.strip().lower()] for a, b in rows]
    answers, wanted = [a for a, _ in clean], [b for _, b in clean]
    names = sorted(set(answers) | set(wanted))
    return {"scorer": "class_accuracy", "rows": rows, "scores": [int(a == b) for a, b in clean],
            "summary": {"macro_f1": class_f1(wanted, answers, average="macro", zero_division=0)},
            "confusion": {"classes": names, "rows": confusion_matrix(wanted, answers, labels=names).tolist()}}


def errors(draw):
    rows = [[str(draw.randint(0, 10) / 2), str(draw.randint(0, 10) / 2)] for _ in range(40)]
    answers, wanted = [float(a) for a, _ in rows], [float(b) for _, b in rows]
    return {"scorer": "mae", "rows": rows, "scores": [abs(a - b) for a, b in zip(answers, wanted)],
            "summary": {"pearson": stats.pearsonr(answers, wanted)[0], "spearman": stats.spearmanr(answers, wanted)[0]}}


def main():
    draw = random.Random(12)
    pairs = all_pairs(draw)
    out = {"made_with": {"sacrebleu": sacrebleu.__version__, "unicode": unicodedata.unidata_version}, "pairs": pairs, "of_pairs": text_scorers(pairs),
           "others": several_references() + [entities(draw), classes(draw), errors(draw)]}
    out["others"].append({"scorer": "stsb", "rows": SIMILARITIES, "scores": [stsb(a, b) for a, b in SIMILARITIES], "summary": {}})
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(out, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
