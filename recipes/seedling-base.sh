#!/usr/bin/env bash
# A base of seedling's shape from nothing: tokenizer, then pre-training, by umbel alone.
#
#   recipes/seedling-base.sh CORPUS OUT [flags of umbel train, e.g. --epochs 2 --threads 2]
#
# CORPUS: a folder of train-*.jsonl.gz and valid.jsonl.gz with {"text"} rows. OUT/start gets config.json and the tokenizer, OUT/base the
# trained model. Documents are joined with </s> and cut into windows. What was given is the shape and the rates; weights start at random.
# UMBEL: the program (default: umbel on the path). ASSETS: the checkout's assets folder. ROWS, VALID_ROWS: documents used of the
# training and the validation files (default: all; ROWS takes every n-th, so all sources are there). docs/training.md shows an hour of it.
set -euo pipefail
corpus=$1 out=$2
shift 2
umbel=${UMBEL:-umbel}
assets=${ASSETS:-$(dirname "$0")/../assets}
mkdir -p "$out/start"

# n documents of standard input, evenly spread over all of it; all of them without n.
spread() {
  if [ -z "$1" ]; then cat; else awk -v n="$1" '{ row[NR] = $0 } END { for (i = 0; i < n && i < NR; ++i) print row[int(i * NR / (n < NR ? n : NR)) + 1] }'; fi
}
zcat "$corpus"/train-*.jsonl.gz | spread "${ROWS:-}" > "$out/train.jsonl"
zcat "$corpus"/valid.jsonl.gz | spread "${VALID_ROWS:-}" > "$out/valid.jsonl"
if [ ! -f "$out/start/tokenizer.json" ]; then
  head -n "${TOKENIZER_ROWS:-12000}" "$out/train.jsonl" > "$out/tokenizer.jsonl"
  "$umbel" tokenizer train "$out/tokenizer.jsonl" --vocab-size 4096 --out "$out/start/tokenizer.json"
  rm "$out/tokenizer.jsonl"
fi
cp "$assets"/seedling/{config.json,generation_config.json,tokenizer_config.json} "$out/start/"

"$umbel" train --base "$out/start" --dtype "${DTYPE:-bf16}" --kind full --init random --out "$out/base" \
  --data "$out/train.jsonl" --eval-data "$out/valid.jsonl" --join --max-length 257 --batch 32 --epochs 1 --lr 3e-3 --warmup 0.05 \
  --floor 0.02 --beta2 0.95 --weight-decay 0.1 --clip 1.0 --save-dtype bf16 "$@"
