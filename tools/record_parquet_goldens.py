#!/usr/bin/env python3
"""Records small Parquet files that pyarrow writes, with the rows that pyarrow reads from them, for src/data/parquet_source_test.cc.

Needs pyarrow (26.0.1 when the files were recorded). Run by hand: tools/record_parquet_goldens.py
"""
import datetime
import json
import os

import pyarrow
import pyarrow.parquet

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "goldens", "datasets")
CODECS = ["none", "snappy", "gzip", "brotli", "zstd", "lz4"]


def rows():
    made = []
    for i in range(40):
        made.append({
            "id": i * 7919 - 100000, "small": i % 100, "real": i / 7, "single": i / 10, "yes": i % 3 == 0,
            "text": None if i % 11 == 5 else f"row {i}: Grüße \n \"{i}\"", "label": ["no", "yes", "maybe"][i % 3],
            "answers": {"text": [f"a{k}" for k in range(i % 4)], "answer_start": [k * i for k in range(i % 4)]},
            "turns": None if i % 9 == 4 else [{"role": "user", "content": f"q{k}"} for k in range(i % 3)],
            "nested": [[i], [], [i + 1, None]] if i % 2 else [], "day": datetime.date(2020, 1, 1) + datetime.timedelta(days=i),
        })
    return made


def schema():
    pa = pyarrow
    return pa.schema([
        ("id", pa.int64()), ("small", pa.uint8()), ("real", pa.float64()), ("single", pa.float32()), ("yes", pa.bool_()), ("text", pa.string()),
        ("label", pa.large_string()), ("answers", pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int32()))])),
        ("turns", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))), ("nested", pa.list_(pa.list_(pa.int16()))),
        ("day", pa.date32()),
    ])


def main():
    os.makedirs(OUT, exist_ok=True)
    table = pyarrow.Table.from_pylist(rows(), schema=schema())
    for codec in CODECS:
        # Small pages and row groups: several of each.
        pyarrow.parquet.write_table(table, os.path.join(OUT, f"rows.{codec}.parquet"), compression=codec, row_group_size=16, data_page_size=256,
                                    data_page_version="2.0" if codec == "zstd" else "1.0", use_dictionary=codec != "gzip", write_statistics=False,
                                    store_schema=False)
    with open(os.path.join(OUT, "rows.jsonl"), "w", encoding="utf-8") as file:
        for row in pyarrow.parquet.read_table(os.path.join(OUT, "rows.none.parquet")).to_pylist():
            row["day"] = row["day"].isoformat()
            row["single"] = float(f"{row['single']:.7g}")
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
