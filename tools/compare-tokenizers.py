#!/usr/bin/env python3
"""Compares the speed of metallic's tokenizer with gigatoken's, on one core, with the same vocabulary and texts.

    pip install gguf==0.19.0 tokenizers==0.23.3 gigatoken==0.10.0
    cmake --preset release -DMETALLIC_BUILD_BENCH=ON && cmake --build build --target bench_tokenizer
    tools/compare-tokenizers.py QWEN2.gguf TEXT...

Prints MB/s of the first pass over each text (cold: no word of it seen before) and of the best of the later ones (warm), and the time to
load. The best of five rounds is shown.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

os.environ["RAYON_NUM_THREADS"] = "1"
import gigatoken
from gguf import GGUFReader
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

ROOT = pathlib.Path(__file__).resolve().parent.parent
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
ROUNDS = 5


def tokenizer_json(path, out):
    fields = GGUFReader(path).fields
    assert fields["tokenizer.ggml.pre"].contents() == "qwen2", "the vocabulary must be Qwen2's"
    vocab = {token: i for i, token in enumerate(fields["tokenizer.ggml.tokens"].contents())}
    merges = [tuple(line.split(" ")) for line in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN2), "isolated"),
                                                       pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.save(out)


def metallic(model, text):
    environment = os.environ | {"METALLIC_BENCH_MODEL": model, "METALLIC_BENCH_TEXT": text}
    run = subprocess.run([ROOT / "build/bench_tokenizer", "--benchmark_format=json", "--benchmark_min_time=0.3"], env=environment,
                         check=True, capture_output=True)
    result = {entry["name"].split("/")[0]: entry for entry in json.loads(run.stdout)["benchmarks"]}
    return (result["load"]["cpu_time"] / 1e3, *(result[name]["bytes_per_second"] / 1e6 for name in ("encode_cold", "encode_warm")))


def giga(path, text):
    start = time.process_time()
    tokenizer = gigatoken.Tokenizer(path)
    loaded = time.process_time() - start
    content = pathlib.Path(text).read_text()
    documents = [content[i:i + 10000] for i in range(0, len(content), 10000)]
    speeds = []
    for _ in range(20):
        start = time.process_time()
        for document in documents:
            tokenizer.encode(document)
        speeds.append(len(content.encode()) / 1e6 / (time.process_time() - start))
    return loaded, speeds[0], max(speeds[1:])


def main():
    model, *texts = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "tokenizer.json")
        tokenizer_json(model, path)
        print(f"{'text':24} {'':10} {'load s':>8} {'cold':>6} {'warm':>6}")
        for text in texts:
            for name, run in (("metallic", lambda: metallic(model, text)), ("gigatoken", lambda: giga(path, text))):
                rounds = [run() for _ in range(ROUNDS)]
                load, cold, warm = min(r[0] for r in rounds), max(r[1] for r in rounds), max(r[2] for r in rounds)
                print(f"{pathlib.Path(text).name:24} {name:10} {load:8.3f} {cold:6.0f} {warm:6.0f}")


if __name__ == "__main__":
    sys.exit(main())
